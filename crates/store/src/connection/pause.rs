//! Stopping a connection by hand, and letting it go on.

use lockstep_core::{ConnectionId, Timestamp};
use serde_json::json;

use crate::audit::{Actor, AuditEntry};
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::sql::{Sql, sql};

const PAUSE: &str = "UPDATE connection SET state = 'paused', since = $2 WHERE id = $1 AND state <> 'paused'";
// What was known before the pause or learnt during it decides; whatever waited for a time is tried at once. Nothing but
// notifications came in meanwhile, so the rest is caught up.
const RESUME: &str = "UPDATE connection SET
    state = CASE WHEN failures > 0 THEN 'degraded' WHEN checked_at IS NULL THEN 'new' ELSE 'active' END,
    since = $2, next_try_at = NULL,
    gap_since = CASE WHEN first_sync_at IS NULL THEN gap_since ELSE coalesce(gap_since, $2) END
    WHERE id = $1 AND state = 'paused'";

impl Store {
    /// Stops a connection: hints are still taken and wait, nothing else is done for it. `false`: it is paused already.
    ///
    /// # Errors
    /// `NotFound` when there is no such connection.
    pub async fn pause_connection(&self, id: ConnectionId) -> Result<bool, StoreError> {
        self.switch(id, "connection.pause", |now| sql(PAUSE).bind(id).bind(now)).await
    }

    /// Lets a paused connection go on: what waits is due at once, and what no notification told of is caught up.
    /// `false`: it was not paused.
    ///
    /// # Errors
    /// `NotFound` when there is no such connection.
    pub async fn resume_connection(&self, id: ConnectionId) -> Result<bool, StoreError> {
        self.switch(id, "connection.resume", |now| sql(RESUME).bind(id).bind(now)).await
    }

    async fn switch(
        &self,
        id: ConnectionId,
        action: &'static str,
        statement: impl FnOnce(Timestamp) -> Sql,
    ) -> Result<bool, StoreError> {
        let name = self.get_connection(id).await?.name;
        let mut tx = self.begin(action).await?;
        let switched = tx.run(statement(self.now())).await? > 0;
        if switched {
            tx.note_switch(id, action, &name).await?;
        }
        tx.commit().await?;
        Ok(switched)
    }
}

impl Tx {
    async fn note_switch(&mut self, id: ConnectionId, action: &'static str, name: &str) -> Result<(), StoreError> {
        self.audit(AuditEntry {
            connection: Some(id),
            actor: Actor::Cli,
            action,
            object_kind: "connection",
            object_id: id.to_string(),
            detail: json!({ "name": name }),
        })
        .await
    }
}
