//! Another credential in place of the one a connection has (C7).

use lockstep_core::ConnectionId;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::audit::{Actor, AuditEntry};
use crate::connection::credential::NewCredential;
use crate::db::Store;
use crate::error::StoreError;
use crate::secret::Place;
use crate::sql::sql;

/// Trouble with the old one is no reason to wait any longer.
const ROTATE: &str =
    "UPDATE connection SET credential = $2, credential_kind = $3, credential_expires_at = $4, credential_since = $5,
    next_try_at = CASE WHEN next_try_at > $5 THEN $5 ELSE next_try_at END WHERE id = $1";

impl Store {
    /// Keeps another credential, with which every process signs in from its next task on. Whether Microsoft takes it must
    /// have been checked.
    ///
    /// # Errors
    /// `NotFound` when there is no such connection.
    pub async fn rotate_credential(&self, id: ConnectionId, new: &NewCredential) -> Result<(), StoreError> {
        let mut tx = self.begin("rotate_credential").await?;
        let (row, now) = (id.to_string(), tx.now());
        let place = Place { table: "connection", row: &row, column: "credential" };
        let sealed = tx.keys().seal(&place, new.secret().expose_secret().as_bytes());
        let rotate = sql(ROTATE).bind(id).bind(sealed).bind(new.kind().as_str()).bind(new.expires_at()).bind(now);
        if tx.run(rotate).await? == 0 {
            return Err(StoreError::NotFound { what: "connection", id: row });
        }
        tx.audit(AuditEntry {
            connection: Some(id),
            actor: Actor::Cli,
            action: "connection.rotate",
            object_kind: "connection",
            object_id: row,
            detail: json!({ "kind": new.kind().as_str(), "expires_at": new.expires_at() }),
        })
        .await?;
        tx.commit().await
    }
}
