//! The rules in force of each connection, read anew only when their version was raised.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_core::ConnectionId;
use lockstep_core::rule::RuleSet;
use lockstep_store::{Connection, Store, StoreError};

/// Rules of one version never change.
#[derive(Default)]
pub(crate) struct RuleSets(Mutex<BTreeMap<ConnectionId, Arc<RuleSet>>>);

impl RuleSets {
    /// The rules that came with these settings; `None`: by now others are in force.
    pub(crate) async fn get(&self, store: &Store, connection: &Connection) -> Result<Option<Arc<RuleSet>>, StoreError> {
        if let Some(rules) = self.lock().get(&connection.id).filter(|rules| rules.version == connection.rules_version) {
            return Ok(Some(Arc::clone(rules)));
        }
        let rules = Arc::new(store.rule_set(connection.id).await?);
        self.lock().insert(connection.id, Arc::clone(&rules));
        Ok(Some(rules).filter(|rules| rules.version == connection.rules_version))
    }

    /// For a connection that was removed.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnectionId, Arc<RuleSet>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
