//! Says when a connection's credential is about to run out (C3): Entra tells nobody.

use std::collections::BTreeMap;

use lockstep_core::{ConnectionId, Timestamp};
use lockstep_store::{Connection, RunningOut};
use tracing::{error, warn};

/// At which stage each connection was told of last. Every process tells once, and again after a restart.
#[derive(Default)]
pub(crate) struct CredentialWatch(BTreeMap<ConnectionId, u64>);

impl CredentialWatch {
    /// 30, 14, 7 and 1 days before the end, and at the end.
    pub(crate) fn look(&mut self, connection: &Connection, now: Timestamp) {
        let id = connection.id;
        match connection.running_out(now) {
            Some(running_out) if self.is_news(id, &running_out) => tell(id, &running_out),
            Some(_) => {}
            None => {
                self.0.remove(&id);
            }
        }
    }

    fn is_news(&mut self, connection: ConnectionId, running_out: &RunningOut) -> bool {
        self.0.insert(connection, running_out.stage()) != Some(running_out.stage())
    }
}

fn tell(id: ConnectionId, running_out: &RunningOut) {
    let reason = running_out.reason();
    if running_out.is_over() {
        error!(connection.id = %id, "Connection {id}: {reason}");
    } else {
        warn!(connection.id = %id, "Connection {id}: {reason}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockstep_store::CredentialKind;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn c3_each_stage_is_told_once() {
        let (id, end) = (ConnectionId(Uuid::nil()), Timestamp::from_micros(1_800_000_000_000_000));
        let mut watch = CredentialWatch::default();
        let told: Vec<u32> = (0..=40 * 24)
            .rev()
            .filter(|hours| {
                let now = end - Duration::from_secs(3600) * *hours;
                let running_out = RunningOut::of(CredentialKind::Certificate, Some(end), now);
                running_out.is_some_and(|running_out| watch.is_news(id, &running_out))
            })
            .collect();
        assert_eq!(told, [30 * 24 - 1, 14 * 24 - 1, 7 * 24 - 1, 23, 0]);
    }
}
