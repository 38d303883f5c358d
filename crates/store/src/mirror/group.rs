//! The groups in scope: mapped ones, and those nested in them.

use lockstep_core::{ObjectId, Ticket, Timestamp};

use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::{Bind, ROWS_PER_STATEMENT, Row, sql};

const UPSERT: &str =
    "INSERT INTO directory_group (connection_id, group_id, name, created_in_entra_at, state, ticket, read_at, hidden)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (connection_id, group_id) DO UPDATE SET
    name = CASE WHEN excluded.state = 'deleted' THEN directory_group.name ELSE excluded.name END,
    created_in_entra_at = coalesce(excluded.created_in_entra_at, directory_group.created_in_entra_at),
    state = excluded.state, ticket = excluded.ticket, read_at = excluded.read_at, hidden = excluded.hidden
    WHERE excluded.ticket > directory_group.ticket";
const PARENTS: &str = "SELECT e.parent_id FROM group_edge e
    JOIN directory_group g ON g.connection_id = e.connection_id AND g.group_id = e.parent_id
    WHERE e.connection_id = $1 AND e.child_id = $2 AND g.state = 'present' ORDER BY e.parent_id";
const CLEAR_PARENTS: &str = "DELETE FROM group_edge WHERE connection_id = $1 AND child_id = $2";
const LISTED: &str = "UPDATE directory_group SET listed_at = $3 WHERE connection_id = $1 AND group_id = $2";
const IN_SCOPE: &str =
    "SELECT group_id, name, created_in_entra_at, state, ticket, read_at, listed_at, hidden FROM directory_group
    WHERE connection_id = $1 ORDER BY group_id";

/// A group in scope.
#[derive(Clone, Debug, PartialEq)]
pub struct MirroredGroup {
    /// Entra's id.
    pub id: ObjectId,
    /// `displayName`; empty until it was read.
    pub name: String,
    /// `createdDateTime`.
    pub created_at: Option<Timestamp>,
    /// `false`: a read by id answered 404.
    pub present: bool,
    /// Order of the read.
    pub ticket: Ticket,
    /// When it was read.
    pub read_at: Timestamp,
    /// When its members were last listed to the end.
    pub listed_at: Option<Timestamp>,
    /// Its members may not be read (`visibility`): what is not shown there is never absence.
    pub hidden: bool,
}

impl Tx {
    /// Keeps what a read of a group showed, unless a later read is there. The group is in scope from now on.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn mirror_group(&mut self, connection: &Connection, group: &MirroredGroup) -> Result<(), StoreError> {
        let state = if group.present { "present" } else { "deleted" };
        let upsert = sql(UPSERT).bind(connection.id).bind(group.id).bind(group.name.as_str()).bind(group.created_at);
        self.run(upsert.bind(state).bind(group.ticket).bind(group.read_at).bind(group.hidden)).await?;
        Ok(())
    }

    /// The groups in scope that this group stands directly in; replaces what was known.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn set_group_parents(
        &mut self,
        connection: &Connection,
        child: ObjectId,
        parents: &[ObjectId],
    ) -> Result<(), StoreError> {
        self.run(sql(CLEAR_PARENTS).bind(connection.id).bind(child)).await?;
        for chunk in parents.chunks(ROWS_PER_STATEMENT) {
            let rows =
                chunk.iter().map(|parent| -> Vec<Bind> { vec![connection.id.into(), (*parent).into(), child.into()] });
            let insert = sql("INSERT INTO group_edge (connection_id, parent_id, child_id) VALUES ").rows(rows);
            self.run(insert.push(" ON CONFLICT (connection_id, parent_id, child_id) DO NOTHING")).await?;
        }
        Ok(())
    }

    /// The groups in scope that this group stands directly in, as last read.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn group_parents(
        &mut self,
        connection: &Connection,
        child: ObjectId,
    ) -> Result<Vec<ObjectId>, StoreError> {
        let rows = self.all(sql(PARENTS).bind(connection.id).bind(child)).await?;
        rows.iter().map(|row| row.get("parent_id").map(ObjectId)).collect()
    }

    /// A group's members were listed to the end.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn mark_group_listed(
        &mut self,
        connection: &Connection,
        group: ObjectId,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.run(sql(LISTED).bind(connection.id).bind(group).bind(at)).await?;
        Ok(())
    }

    /// All groups in scope.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn groups_in_scope(&mut self, connection: &Connection) -> Result<Vec<MirroredGroup>, StoreError> {
        self.all(sql(IN_SCOPE).bind(connection.id)).await?.iter().map(group_from).collect()
    }
}

fn group_from(row: &Row) -> Result<MirroredGroup, StoreError> {
    Ok(MirroredGroup {
        id: ObjectId(row.get("group_id")?),
        name: row.get("name")?,
        created_at: row.maybe_at("created_in_entra_at")?,
        present: row.get::<String>("state")? == "present",
        ticket: Ticket(row.get("ticket")?),
        read_at: row.at("read_at")?,
        listed_at: row.maybe_at("listed_at")?,
        hidden: row.get("hidden")?,
    })
}
