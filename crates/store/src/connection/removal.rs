//! Removing a connection: its people stay with the status they have, linked to nobody.

use lockstep_core::{ConnectionId, RecordId};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Actor, AuditEntry};
use crate::connection::ConnectionState;
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::sql::{Bind, Row, sql};

/// Rows in one transaction: a running worker waits no longer than for one of these.
const ROWS: i64 = 200;

const PAUSE: &str = "UPDATE connection SET state = $2, since = $3 WHERE id = $1";
const LINKED: &str = "SELECT id, entra_id FROM record WHERE connection_id = $1 LIMIT $2";
const MIRROR: [&str; 6] = [
    "DELETE FROM membership WHERE connection_id = $1 AND user_id IN
        (SELECT user_id FROM membership WHERE connection_id = $1 LIMIT $2)",
    "DELETE FROM directory_user WHERE connection_id = $1 AND user_id IN
        (SELECT user_id FROM directory_user WHERE connection_id = $1 LIMIT $2)",
    "DELETE FROM directory_group WHERE connection_id = $1 AND group_id IN
        (SELECT group_id FROM directory_group WHERE connection_id = $1 LIMIT $2)",
    "DELETE FROM group_edge WHERE connection_id = $1 AND parent_id IN
        (SELECT parent_id FROM group_edge WHERE connection_id = $1 LIMIT $2)",
    "DELETE FROM seen WHERE connection_id = $1 AND object_id IN
        (SELECT object_id FROM seen WHERE connection_id = $1 LIMIT $2)",
    "DELETE FROM due WHERE connection_id = $1 AND object_id IN
        (SELECT object_id FROM due WHERE connection_id = $1 LIMIT $2)",
];
const OWNED: [&str; 8] = [
    "DELETE FROM delta_link WHERE connection_id = $1",
    "DELETE FROM rule WHERE connection_id = $1",
    "DELETE FROM subscription WHERE connection_id = $1",
    "DELETE FROM task WHERE connection_id = $1",
    "DELETE FROM exemption WHERE connection_id = $1",
    "DELETE FROM people_count WHERE connection_id = $1",
    "UPDATE review SET state = 'obsolete' WHERE connection_id = $1 AND state = 'open'",
    "UPDATE event SET status = 'superseded', reason = 'the connection was removed'
        WHERE connection_id = $1 AND status IN ('in_work', 'waiting', 'held')",
];
const HOLDS: [&str; 2] = [
    "UPDATE hold_person SET state = 'back' WHERE connection_id = $1 AND state IN ('held', 'approved', 'kept')",
    "UPDATE hold SET state = 'emptied' WHERE connection_id = $1 AND state = 'open'",
];

impl Store {
    /// Removes a connection with its secrets, rules, mirror and pending work. Records keep their status and lose the link;
    /// the history keeps whom they were linked to. Runs in short transactions and may be run again after a crash.
    ///
    /// # Errors
    /// `NotFound` when it is gone already.
    pub async fn remove_connection(&self, id: ConnectionId) -> Result<(), StoreError> {
        let connection = self.get_connection(id).await?;
        // Paused first: nobody takes new work for it while it goes.
        self.write("remove_connection", sql(PAUSE).bind(id).bind(ConnectionState::Paused.as_str()).bind(self.now()))
            .await?;
        while self.unlink_some(id).await? {}
        for delete in MIRROR {
            while self.delete_some(delete, id).await? {}
        }
        let mut tx = self.begin("remove_connection").await?;
        for statement in OWNED.into_iter().chain(HOLDS) {
            tx.run(sql(statement).bind(id)).await?;
        }
        tx.run(sql("DELETE FROM brake WHERE scope = $1").bind(id.to_string())).await?;
        tx.run(sql("DELETE FROM connection WHERE id = $1").bind(id)).await?;
        tx.audit(AuditEntry {
            connection: Some(id),
            actor: Actor::Cli,
            action: "connection.remove",
            object_kind: "connection",
            object_id: id.to_string(),
            detail: json!({ "name": connection.name, "tenant_id": connection.tenant_id }),
        })
        .await?;
        tx.commit().await
    }

    async fn delete_some(&self, delete: &'static str, id: ConnectionId) -> Result<bool, StoreError> {
        let mut tx = self.begin("remove_connection").await?;
        let gone = tx.run(sql(delete).bind(id).bind(ROWS)).await?;
        tx.commit().await?;
        Ok(gone > 0)
    }

    async fn unlink_some(&self, id: ConnectionId) -> Result<bool, StoreError> {
        let mut tx = self.begin("remove_connection").await?;
        let linked = tx.all(sql(LINKED).bind(id).bind(ROWS)).await?;
        tx.unlink(id, &linked).await?;
        tx.commit().await?;
        Ok(!linked.is_empty())
    }
}

impl Tx {
    async fn unlink(&mut self, connection: ConnectionId, linked: &[Row]) -> Result<(), StoreError> {
        if linked.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut ids = Vec::new();
        let mut history: Vec<Vec<Bind>> = Vec::new();
        for row in linked {
            let (record, entra) = (RecordId(row.get("id")?), row.get::<Option<Uuid>>("entra_id")?);
            let changes = json!([
                { "field": "connection_id", "before": connection, "after": null },
                { "field": "entra_id", "before": entra, "after": null },
            ]);
            ids.push(record);
            history.push(vec![
                Uuid::now_v7().into(),
                connection.into(),
                record.into(),
                now.into(),
                "admin".into(),
                Bind::json(&changes),
                Bind::json(&json!({})),
            ]);
        }
        let insert = sql("INSERT INTO history (id, connection_id, record_id, at, trigger, changes, source) VALUES ");
        self.run(insert.rows(history)).await?;
        let unlink =
            sql("UPDATE record SET connection_id = NULL, entra_id = NULL, rule_group_id = NULL, updated_at = ");
        self.run(unlink.value(now).push(" WHERE id IN ").list(ids)).await?;
        Ok(())
    }
}
