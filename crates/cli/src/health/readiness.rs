//! `/readyz`: each part by itself, and what of it this process cannot do without.

use std::net::SocketAddr;
use std::time::Duration;

use lockstep_queue::{Condition, Depth};
use lockstep_store::{Connection, ConnectionState};
use lockstep_worker::Pulse;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ANSWER_WITHIN, Health};

/// Loops beat every 2 s; those that were silent for this long do not live.
const BEATS_WITHIN: Duration = Duration::from_secs(10);

const UP: &str = "up";
const DOWN: &str = "down";
const NOT_HERE: &str = "not here";

/// The body of `/readyz`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    pub ready: bool,
    pub roles: Vec<&'static str>,
    pub store: &'static str,
    /// `up`, or what is wrong: `down`, `blocked`, `unresponsive`.
    pub queue: &'static str,
    pub receiver: &'static str,
    pub worker: &'static str,
    pub renewer: &'static str,
    /// G-21: `stale` when some connection's last complete delta run is older than `t_missed`. It works all the same, so
    /// that this makes nobody unready.
    pub connections: &'static str,
}

impl Readiness {
    /// Every role needs its own loops; the receiver the queue, since it has a cache of what it needs of the store
    /// (FA-07); the worker both; the renewer the store.
    fn decided(mut self) -> Self {
        let up = |part| part == UP;
        let receiver = up(self.receiver) && up(self.queue);
        let worker = up(self.worker) && up(self.store) && up(self.queue);
        let renewer = up(self.renewer) && up(self.store);
        let roles = [
            ("receiver", self.receiver, receiver),
            ("worker", self.worker, worker),
            ("renewer", self.renewer, renewer),
        ];
        let here = roles.into_iter().filter(|(_, part, _)| *part != NOT_HERE);
        self.ready = here.clone().all(|(_, _, able)| able);
        self.roles = here.map(|(role, _, _)| role).collect();
        self
    }

    /// Parts of this process and what it stands on, and whether each is up.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let parts = [
            ("store", self.store),
            ("queue", self.queue),
            ("receiver", self.receiver),
            ("worker", self.worker),
            ("renewer", self.renewer),
        ];
        parts.into_iter().filter(|(_, word)| *word != NOT_HERE).map(|(part, word)| (part, word == UP))
    }
}

impl Health {
    pub(super) async fn judge(&self) -> Readiness {
        let (connections, queue, receiver) =
            tokio::join!(self.connections(), self.queue_word(), receiver_word(self.parts.receiver));
        let readiness = Readiness {
            ready: false,
            roles: Vec::new(),
            store: if connections.is_some() { UP } else { DOWN },
            queue,
            receiver,
            worker: pulse_word(self.parts.worker.as_ref()),
            renewer: pulse_word(self.parts.renewer.as_ref()),
            connections: self.staleness(connections.as_deref()),
        };
        readiness.decided()
    }

    async fn connections(&self) -> Option<Vec<Connection>> {
        timeout(ANSWER_WITHIN, self.store.list_connections()).await.ok()?.ok()
    }

    fn staleness(&self, connections: Option<&[Connection]>) -> &'static str {
        let (now, timing) = (self.store.now(), self.store.timing());
        let is_stale = |it: &Connection| it.state != ConnectionState::Paused && it.is_stale(now, timing);
        match connections {
            None => "unknown",
            Some(connections) if connections.iter().any(is_stale) => "stale",
            Some(_) => "fresh",
        }
    }

    async fn queue_word(&self) -> &'static str {
        let conditions = self.queue.conditions().into_iter().map(|(_, condition)| condition);
        let trouble =
            conditions.filter(|it| !matches!(it, Condition::Up | Condition::Connecting)).map(|it| it.as_str());
        match trouble.last() {
            Some(trouble) => trouble,
            None if self.queue_depth().await.is_some() => UP,
            None => DOWN,
        }
    }

    pub(super) async fn queue_depth(&self) -> Option<Depth> {
        timeout(ANSWER_WITHIN, self.queue.depth()).await.ok()?.ok()
    }
}

fn pulse_word(pulse: Option<&Pulse>) -> &'static str {
    match pulse {
        None => NOT_HERE,
        Some(pulse) if pulse.beats_within(BEATS_WITHIN) => UP,
        Some(_) => DOWN,
    }
}

/// Whether it takes connections.
async fn receiver_word(addr: Option<SocketAddr>) -> &'static str {
    let Some(addr) = addr else { return NOT_HERE };
    match timeout(ANSWER_WITHIN, TcpStream::connect(addr)).await {
        Ok(Ok(_)) => UP,
        _ => DOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(store: &'static str, queue: &'static str, parts: [&'static str; 3]) -> Readiness {
        let [receiver, worker, renewer] = parts;
        let (ready, roles, connections) = (false, Vec::new(), "fresh");
        Readiness { ready, roles, store, queue, receiver, worker, renewer, connections }.decided()
    }

    #[test]
    fn fa_07_a_receiver_goes_on_without_the_store_and_nobody_else_does() {
        assert!(of(DOWN, UP, [UP, NOT_HERE, NOT_HERE]).ready);
        assert!(!of(DOWN, UP, [NOT_HERE, UP, NOT_HERE]).ready);
        assert!(!of(DOWN, UP, [NOT_HERE, NOT_HERE, UP]).ready);
    }

    #[test]
    fn fa_01_a_renewer_goes_on_without_the_queue_and_nobody_else_does() {
        assert!(of(UP, "blocked", [NOT_HERE, NOT_HERE, UP]).ready);
        assert!(!of(UP, "blocked", [UP, NOT_HERE, NOT_HERE]).ready);
        assert!(!of(UP, "unresponsive", [NOT_HERE, UP, NOT_HERE]).ready);
    }

    #[test]
    fn a_role_that_is_not_here_makes_nobody_unready_and_one_that_is_down_does() {
        let all = of(UP, UP, [UP, UP, UP]);
        assert!(all.ready && all.roles == ["receiver", "worker", "renewer"]);
        let half = of(UP, UP, [UP, DOWN, NOT_HERE]);
        assert!(!half.ready);
        assert_eq!(
            half.parts().collect::<Vec<_>>(),
            [("store", true), ("queue", true), ("receiver", true), ("worker", false)]
        );
    }
}
