//! Whether the loops of this process live: seen by their heartbeat, which reaches the store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When the last heartbeat was. Clones share it.
#[derive(Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    pub(crate) fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether there was a heartbeat within this time.
    pub fn beats_within(&self, limit: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < limit)
    }
}
