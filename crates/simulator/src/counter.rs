//! What the simulator was asked for: requests and resource units by route.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::Serialize;

use crate::sync::lock;

/// Requests and resource units (graph-contract.md, section 8) since the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// HTTP requests by route, the token endpoint included (`POST token`); a batch is one.
    pub requests: BTreeMap<String, u64>,
    /// Requests inside batches, by route.
    pub inner: BTreeMap<String, u64>,
    /// Resource units by route; a batch costs nothing itself, what is in it costs as outside.
    pub units: BTreeMap<String, u64>,
    /// All HTTP requests, token requests included.
    pub total_requests: u64,
    /// All requests inside batches.
    pub total_inner: u64,
    /// All resource units.
    pub total_units: u64,
    /// What the notification sender did.
    pub notifications: NotificationCounters,
}

/// What the notification sender did since the last reset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NotificationCounters {
    /// POSTs sent, retries included.
    pub posts: u64,
    /// POSTs that were not answered by 2xx in time.
    pub failed_posts: u64,
    /// Notification items answered by 2xx.
    pub delivered: u64,
    /// Items lost on purpose (a fault, or an endpoint in the state *drop*).
    pub dropped: u64,
    /// Items given up after 4 h of retries, or because their subscription ended.
    pub expired: u64,
}

/// The counters while they count.
#[derive(Default)]
pub(crate) struct Counting {
    counters: Mutex<Counters>,
}

impl Counting {
    pub fn request(&self, route: &str) {
        let mut counters = lock(&self.counters);
        *counters.requests.entry(route.to_owned()).or_default() += 1;
        counters.total_requests += 1;
    }

    pub fn inner_request(&self, route: &str) {
        let mut counters = lock(&self.counters);
        *counters.inner.entry(route.to_owned()).or_default() += 1;
        counters.total_inner += 1;
    }

    pub fn units(&self, route: &str, units: u64) {
        let mut counters = lock(&self.counters);
        *counters.units.entry(route.to_owned()).or_default() += units;
        counters.total_units += units;
    }

    pub fn notifications(&self, count: impl FnOnce(&mut NotificationCounters)) {
        count(&mut lock(&self.counters).notifications);
    }

    pub fn snapshot(&self) -> Counters {
        lock(&self.counters).clone()
    }

    pub fn reset(&self) {
        *lock(&self.counters) = Counters::default();
    }
}
