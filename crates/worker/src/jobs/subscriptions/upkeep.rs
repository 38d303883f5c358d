//! What one process remembers of its work on subscriptions; losing it costs one comparison too many.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_core::{ConnectionId, Timestamp};
use lockstep_store::{Connection, Store};

/// A notification address that Microsoft cannot reach may be there in a moment.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// Well within the half of a lifetime that is left when a renewal fails for the first time.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Of every connection.
#[derive(Default)]
pub(crate) struct Upkeep(BTreeMap<ConnectionId, Memory>);

/// Of one connection.
#[derive(Default)]
pub(super) struct Memory {
    compared_at: Option<Timestamp>,
    failures: u32,
    not_before: Option<Timestamp>,
}

impl Upkeep {
    pub(super) fn of(&mut self, connection: ConnectionId) -> &mut Memory {
        self.0.entry(connection).or_default()
    }
}

impl Memory {
    pub(super) fn waits(&self, now: Timestamp) -> bool {
        self.not_before.is_some_and(|at| at > now)
    }

    /// Every `sub_check`, and on every sign that something was missed.
    pub(super) fn must_compare(&self, connection: &Connection, store: &Store) -> bool {
        self.compared_at.is_none_or(|last| {
            store.now().since(last) >= store.timing().sub_check
                || connection.gap_since.is_some_and(|since| since > last)
        })
    }

    pub(super) fn note_compared(&mut self, now: Timestamp) {
        self.compared_at = Some(now);
    }

    pub(super) fn note_complete(&mut self) {
        (self.failures, self.not_before) = (0, None);
    }

    pub(super) fn note_failure(&mut self, now: Timestamp) {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_tried_again_with_back_off_well_before_the_subscription_ends() {
        let mut memory = Memory::default();
        let mut now = Timestamp::from_micros(0);
        let pauses: Vec<u64> = (0..6)
            .map(|_| {
                memory.note_failure(now);
                let began = now;
                while memory.waits(now) {
                    now = now + Duration::from_secs(1);
                }
                now.since(began).as_secs()
            })
            .collect();
        assert_eq!(pauses, [30, 60, 120, 240, 300, 300]);
        memory.note_complete();
        assert!(!memory.waits(Timestamp::from_micros(0)));
    }
}
