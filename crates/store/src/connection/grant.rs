//! What the rules of a connection may give (TH-10).

use lockstep_core::ConnectionId;
use lockstep_core::rule::Grantable;
use serde_json::json;

use crate::audit::{Actor, AuditEntry};
use crate::by_hand::Admin;
use crate::db::Store;
use crate::error::StoreError;
use crate::rule::{list_rules, rules_lock};
use crate::sql::{Bind, sql};

const SET: &str = "UPDATE connection SET grantable = $2 WHERE id = $1";

impl Store {
    /// Says what the rules of a connection may give from now on. The rules in force must keep to it already: nobody's role
    /// changes by it.
    ///
    /// # Errors
    /// `NotFound` when there is no such connection; `Refused` when a rule in force gives more.
    pub async fn set_grantable(&self, id: ConnectionId, grantable: &Grantable, by: &Admin) -> Result<(), StoreError> {
        let mut tx = self.begin("set_grantable").await?;
        tx.lock_name(rules_lock(id)).await?;
        let rules = list_rules(&mut tx, id).await?;
        grantable.check(&rules).map_err(|refused| StoreError::refused(refused.to_string()))?;
        if tx.run(sql(SET).bind(id).bind(Bind::json(grantable))).await? == 0 {
            return Err(StoreError::NotFound { what: "connection", id: id.to_string() });
        }
        tx.audit(AuditEntry {
            connection: Some(id),
            actor: Actor::Cli,
            action: "connection.grant",
            object_kind: "connection",
            object_id: id.to_string(),
            detail: json!({ "grantable": grantable, "by": by.name }),
        })
        .await?;
        tx.commit().await
    }
}
