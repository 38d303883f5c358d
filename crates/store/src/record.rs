//! Records as rows: what the decision sees of them, and who else holds an address.

use std::collections::BTreeMap;

use lockstep_core::field::{EMAIL, USERNAME};
use lockstep_core::matching::Candidate;
use lockstep_core::record::{Kind, Record, Status};
use lockstep_core::{ConnectionId, ObjectId, RecordId};
use uuid::Uuid;

use crate::connection::Connection;
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::sql::{IDS_PER_STATEMENT, Row, Sql, lock, sql};

pub(crate) const COLUMNS: &str =
    "id, connection_id, realm, kind, status, reasons, role, permissions, email, email_key, username,
    username_key, display_name, fields, entra_id, root, privileged, in_use, inactive_since, local_edits, by_hand_lifted,
    sessions_valid_from";

/// As stored.
pub(crate) const fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Employee => "employee",
        Kind::Contact => "contact",
    }
}

pub(crate) fn kind_from(word: &str) -> Option<Kind> {
    [Kind::Employee, Kind::Contact].into_iter().find(|kind| kind_word(*kind) == word)
}

/// As stored.
pub(crate) const fn status_word(status: Status) -> &'static str {
    match status {
        Status::Active => "active",
        Status::Inactive => "inactive",
        Status::Archived => "archived",
    }
}

pub(crate) fn status_from(word: &str) -> Option<Status> {
    [Status::Active, Status::Inactive, Status::Archived].into_iter().find(|status| status_word(*status) == word)
}

pub(crate) fn record_from(row: &Row) -> Result<Record, StoreError> {
    const T: &str = "record";
    Ok(Record {
        id: RecordId(row.get("id")?),
        connection: row.get::<Option<Uuid>>("connection_id")?.map(ConnectionId),
        realm: row.get("realm")?,
        kind: row.word(T, "kind", kind_from)?,
        status: row.word(T, "status", status_from)?,
        reasons: row.json(T, "reasons")?,
        role: row.get("role")?,
        permissions: row.json(T, "permissions")?,
        email: row.get("email")?,
        username: row.get("username")?,
        display_name: row.get("display_name")?,
        fields: row.json(T, "fields")?,
        entra_id: row.get::<Option<Uuid>>("entra_id")?.map(ObjectId),
        root: row.get("root")?,
        privileged: row.get("privileged")?,
        in_use: row.get("in_use")?,
        inactive_since: row.maybe_at("inactive_since")?,
        edits: row.json(T, "local_edits")?,
        by_hand_lifted: row.get("by_hand_lifted")?,
        sessions_valid_from: row.maybe_at("sessions_valid_from")?,
    })
}

/// As seen from this connection.
pub(crate) fn candidate_from(row: &Row, connection: ConnectionId) -> Result<Candidate, StoreError> {
    const T: &str = "record";
    let fields: serde_json::Map<String, serde_json::Value> = row.json(T, "fields")?;
    Ok(Candidate {
        reasons: row.json(T, "reasons")?,
        within_reach: row.get::<Option<Uuid>>("connection_id")?.is_none_or(|of| of == connection.0),
        employee_id: fields.get("employee_id").and_then(|id| id.as_str()).map(str::to_owned),
        id: RecordId(row.get("id")?),
        kind: row.word(T, "kind", kind_from)?,
        status: row.word(T, "status", status_from)?,
        entra_id: row.get::<Option<Uuid>>("entra_id")?.map(ObjectId),
        realm: row.get("realm")?,
        root: row.get("root")?,
        privileged: row.get("privileged")?,
        email_key: row.get("email_key")?,
        username_key: row.get("username_key")?,
    })
}

/// A live record of a directory user, and the group whose rule gave it its access last.
pub(crate) struct Linked {
    pub(crate) record: Record,
    pub(crate) rule_group: Option<ObjectId>,
    /// A hold names the record.
    pub(crate) held: bool,
    /// A confirmed rule plan names it.
    pub(crate) confirmed: bool,
    /// Somebody answered a review about the user.
    pub(crate) answered: bool,
    /// A review about the user is open.
    pub(crate) asked: bool,
}

// What few records have, so that only theirs is asked for.
const BESIDE: &str = "EXISTS (SELECT 1 FROM hold_person h WHERE h.record_id = record.id
        AND h.state IN ('held', 'approved', 'kept')) AS held,
    EXISTS (SELECT 1 FROM exemption x WHERE x.connection_id = record.connection_id AND x.record_id = record.id) AS confirmed,
    EXISTS (SELECT 1 FROM review v WHERE v.connection_id = record.connection_id AND v.entra_id = record.entra_id
        AND v.state = 'settled') AS answered,
    EXISTS (SELECT 1 FROM review q WHERE q.connection_id = record.connection_id AND q.entra_id = record.entra_id
        AND q.state = 'open') AS asked, ";

/// Whoever asks: a transaction that will write, or a preview that will not. The queries are the same.
pub(crate) enum Reader<'a> {
    Tx(&'a mut Tx),
    /// See [`Store::begin_reading`].
    Look(&'a mut Tx),
    Store(&'a Store),
}

impl<'a> Reader<'a> {
    /// Over a transaction that only reads, where there is one.
    pub(crate) fn looking(store: &'a Store, look: &'a mut Option<Tx>) -> Self {
        look.as_mut().map_or(Self::Store(store), Self::Look)
    }
}

impl Reader<'_> {
    pub(crate) async fn all(&mut self, query: Sql) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Tx(tx) | Self::Look(tx) => tx.all(query).await,
            Self::Store(store) => store.all("load_people", query).await,
        }
    }

    /// Rows that will be written again are locked in order; whoever only looks waits for nobody.
    pub(crate) fn locked(&self, query: Sql, order: &'static str) -> Sql {
        match self {
            Self::Tx(_) => in_order_locked(query, order),
            Self::Look(_) | Self::Store(_) => query,
        }
    }

    /// The live records linked to these users.
    pub(crate) async fn linked_records(
        &mut self,
        connection: ConnectionId,
        users: &[ObjectId],
    ) -> Result<BTreeMap<ObjectId, Linked>, StoreError> {
        let mut records = BTreeMap::new();
        for chunk in users.chunks(IDS_PER_STATEMENT) {
            let query = self.locked(linked(connection, chunk), lock_order(chunk));
            for row in self.all(query).await? {
                let record = record_from(&row)?;
                if let Some(user) = record.entra_id {
                    let linked = Linked {
                        record,
                        rule_group: row.get::<Option<Uuid>>("rule_group_id")?.map(ObjectId),
                        held: row.get("held")?,
                        confirmed: row.get("confirmed")?,
                        answered: row.get("answered")?,
                        asked: row.get("asked")?,
                    };
                    records.insert(user, linked);
                }
            }
        }
        Ok(records)
    }

    /// The root user of the realm: its address and username are reserved in either column (G-24).
    pub(crate) async fn root(&mut self, connection: &Connection) -> Result<Option<Candidate>, StoreError> {
        let query = sql("SELECT ").push(COLUMNS).push(" FROM record WHERE root AND realm = ");
        let query = query.value(connection.realm.as_str()).within_realm(connection.id, &connection.realm);
        self.all(query).await?.first().map(|row| candidate_from(row, connection.id)).transpose()
    }

    /// Records of the realm that hold one of these keys in that column.
    pub(crate) async fn holders(
        &mut self,
        connection: &Connection,
        column: KeyColumn,
        keys: &[String],
    ) -> Result<BTreeMap<String, Candidate>, StoreError> {
        let mut holders = BTreeMap::new();
        for chunk in keys.chunks(IDS_PER_STATEMENT) {
            let query = sql("SELECT ").push(COLUMNS).push(" FROM record WHERE realm = ");
            let query = query.value(connection.realm.as_str()).within_realm(connection.id, &connection.realm);
            let query = query.push(" AND ").push(column.as_str()).push(" IN ");
            for row in self.all(query.list(chunk.iter().map(String::as_str))).await? {
                holders.insert(row.get(column.as_str())?, candidate_from(&row, connection.id)?);
            }
        }
        Ok(holders)
    }
}

/// The live records linked to these users.
pub(crate) fn linked(connection: ConnectionId, users: &[ObjectId]) -> Sql {
    let query = sql("SELECT rule_group_id, ")
        .push(BESIDE)
        .push(COLUMNS)
        .push(" FROM record WHERE status <> 'archived' AND connection_id = ");
    query.value(connection).push(" AND entra_id IN ").list(users.iter().copied())
}

/// The order is that of the locks. SQLite has none, and to save the sorting it would walk everybody of the connection (T8).
pub(crate) fn in_order_locked(query: Sql, order: &'static str) -> Sql {
    query.on_postgres(order).on_postgres(lock::ROWS)
}

/// One user has one live record, and one needs no order: asked for it, PostgreSQL would walk everybody of the connection
/// in that order, as long as its statistics know of few.
fn lock_order(users: &[ObjectId]) -> &'static str {
    if users.len() > 1 { " ORDER BY id" } else { "" }
}

/// The two columns in which addresses and usernames are compared.
#[derive(Clone, Copy)]
pub(crate) enum KeyColumn {
    Email,
    Username,
}

impl KeyColumn {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email_key",
            Self::Username => "username_key",
        }
    }

    /// What another record holds in it.
    pub(crate) fn of(self, other: &Candidate) -> Option<&String> {
        match self {
            Self::Email => other.email_key.as_ref(),
            Self::Username => other.username_key.as_ref(),
        }
    }

    /// The field it is made of.
    pub(crate) const fn field(self) -> &'static str {
        match self {
            Self::Email => EMAIL,
            Self::Username => USERNAME,
        }
    }
}

impl Tx {
    /// Records by id, whoever they are linked to; locked, because they are to be linked.
    pub(crate) async fn records_by_id(&mut self, ids: &[RecordId]) -> Result<BTreeMap<RecordId, Record>, StoreError> {
        let mut records = BTreeMap::new();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let query = sql("SELECT ").push(COLUMNS).push(" FROM record WHERE id IN ").list(chunk.iter().copied());
            for row in self.all(query.push(" ORDER BY id").on_postgres(lock::ROWS)).await? {
                let record = record_from(&row)?;
                records.insert(record.id, record);
            }
        }
        Ok(records)
    }
}
