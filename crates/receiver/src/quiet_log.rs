//! Lets one line a minute through for each subject and reason: a flood must not become a flood of log lines.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lockstep_core::ConnectionId;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(60);

/// Subject (`None`: the receiver itself) and reason.
type Key = (Option<ConnectionId>, &'static str);

/// When each line was last written. Bounded by connections times reasons.
#[derive(Default)]
pub(crate) struct QuietLog(Mutex<HashMap<Key, Instant>>);

impl QuietLog {
    /// Whether this line is due.
    pub(crate) fn due(&self, connection: Option<ConnectionId>, reason: &'static str) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.get(&(connection, reason)).is_none_or(|at| now.duration_since(*at) >= PAUSE);
        if due {
            last.insert((connection, reason), now);
        }
        due
    }
}
