//! Plans that were shown: what somebody saw is what they confirm. They stand in the audit trail.

use std::collections::BTreeSet;

use lockstep_core::{ConnectionId, RecordId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::{Actor, AuditEntry};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::sql;

const LATEST: &str =
    "SELECT detail FROM audit WHERE connection_id = $1 AND action = 'rule.plan' ORDER BY id DESC LIMIT 1";

/// A plan as it was shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownPlan {
    /// The content of the rules file it is about.
    pub file: Value,
    /// The rules it was made upon.
    pub planned_on: i64,
    /// Everyone who would lose access.
    pub leaving: BTreeSet<RecordId>,
    /// How many people are in which bucket.
    pub plan: Value,
}

impl Store {
    /// Keeps a plan that is shown now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_shown_plan(&self, connection: ConnectionId, shown: &ShownPlan) -> Result<(), StoreError> {
        let mut tx = self.begin("note_shown_plan").await?;
        tx.audit(AuditEntry {
            connection: Some(connection),
            actor: Actor::Cli,
            action: "rule.plan",
            object_kind: "connection",
            object_id: connection.to_string(),
            detail: serde_json::to_value(shown).unwrap_or_default(),
        })
        .await?;
        tx.commit().await
    }

    /// The plan that was shown last for this connection.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_shown_plan(&self, connection: ConnectionId) -> Result<Option<ShownPlan>, StoreError> {
        let row = self.one("lookup_shown_plan", sql(LATEST).bind(connection)).await?;
        row.map(|row| row.json("audit", "detail")).transpose()
    }
}
