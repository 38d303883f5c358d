//! Audit rows, written with the change they tell of; the sealer chains them afterwards (G-28).

pub(crate) mod chain;
pub(crate) mod seal;
pub(crate) mod verify;

use lockstep_core::{ConnectionId, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::{Bind, ROWS_PER_STATEMENT, sql};

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// Lockstep, following Microsoft.
    Sync,
    /// A person at the command line.
    Cli,
}

impl Actor {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Cli => "cli",
        }
    }
}

/// One entry. `detail` holds no secret.
pub(crate) struct AuditEntry {
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) actor: Actor,
    pub(crate) action: &'static str,
    pub(crate) object_kind: &'static str,
    pub(crate) object_id: String,
    pub(crate) detail: Value,
}

impl AuditEntry {
    fn row(&self, at: Timestamp) -> Vec<Bind> {
        vec![
            Uuid::now_v7().into(),
            at.into(),
            self.connection.into(),
            self.actor.as_str().into(),
            self.action.into(),
            self.object_kind.into(),
            self.object_id.clone().into(),
            Bind::json(&self.detail),
        ]
    }
}

impl Tx {
    pub(crate) async fn audit(&mut self, entry: AuditEntry) -> Result<(), StoreError> {
        self.audit_all(&[entry]).await
    }

    pub(crate) async fn audit_all(&mut self, entries: &[AuditEntry]) -> Result<(), StoreError> {
        let now = self.now();
        for chunk in entries.chunks(ROWS_PER_STATEMENT) {
            let insert =
                sql("INSERT INTO audit (id, at, connection_id, actor, action, object_kind, object_id, detail) VALUES ");
            self.run(insert.rows(chunk.iter().map(|entry| entry.row(now)))).await?;
        }
        Ok(())
    }
}
