//! What a connection is doing, so that slow and silent ones can be closed (TH-05), and the head of its current request
//! as it came: hyper follows RFC 9112 and drops a `Content-Length` beside a `Transfer-Encoding`; we refuse both (BI-11).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::Limits;

/// What is kept of a head; hyper refuses longer ones.
pub(crate) const MAX_HEAD: usize = 16 * 1024;

/// How late a connection may be found out.
const TICK: Duration = Duration::from_secs(1);

/// Shared by a connection's stream, its requests and the one who closes it.
#[derive(Clone)]
pub(crate) struct Pulse(Arc<Mutex<State>>);

struct State {
    phase: Phase,
    head: Vec<u8>,
    open_requests: usize,
    /// HTTP/2 sends frames outside requests; there only the first request has a head of its own.
    multiplexed: bool,
}

#[derive(Clone, Copy)]
enum Phase {
    Head { since: Instant },
    Busy,
    Idle { since: Instant },
}

/// Why a connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    Headers,
    Idle,
}

impl Pulse {
    /// A connection begins: its first head is awaited from now.
    pub(crate) fn begin() -> Self {
        let phase = Phase::Head { since: Instant::now() };
        Self(Arc::new(Mutex::new(State { phase, head: Vec::new(), open_requests: 0, multiplexed: false })))
    }

    pub(crate) fn set_multiplexed(&self) {
        self.state().multiplexed = true;
    }

    /// Bytes arrived.
    pub(crate) fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        match state.phase {
            Phase::Head { .. } => {}
            Phase::Idle { .. } if !state.multiplexed => {
                state.phase = Phase::Head { since: Instant::now() };
                state.head.clear();
            }
            Phase::Idle { .. } | Phase::Busy => return,
        }
        let room = MAX_HEAD.saturating_sub(state.head.len()).min(bytes.len());
        state.head.extend_from_slice(&bytes[..room]);
    }

    /// A request's headers are complete; it is open until the guard is dropped, however it ends.
    pub(crate) fn request(&self) -> OpenRequest {
        let mut state = self.state();
        state.phase = Phase::Busy;
        state.open_requests += 1;
        OpenRequest(self.clone())
    }

    /// Whether the current head has a `Content-Length`. A pipelined head is not seen; there hyper's own rule stands.
    pub(crate) fn head_has_content_length(&self) -> bool {
        const NAME: &[u8] = b"content-length";
        let state = self.state();
        let mut lines = state.head.split(|byte| *byte == b'\n');
        lines.any(|line| line.split(|byte| *byte == b':').next().is_some_and(|name| name.eq_ignore_ascii_case(NAME)))
    }

    /// Returns when the connection has waited too long.
    pub(crate) async fn overdue(&self, limits: &Limits) -> Overdue {
        loop {
            let now = Instant::now();
            let (deadline, overdue) = match self.state().phase {
                Phase::Head { since } => (since + limits.header_timeout, Overdue::Headers),
                Phase::Idle { since } => (since + limits.idle_timeout, Overdue::Idle),
                Phase::Busy => (now + limits.header_timeout, Overdue::Idle),
            };
            if deadline <= now {
                return overdue;
            }
            // The phase may change meanwhile.
            sleep_until(deadline.min(now + TICK)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in work.
pub(crate) struct OpenRequest(Pulse);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open_requests -= 1;
        if state.open_requests == 0 {
            state.phase = Phase::Idle { since: Instant::now() };
        }
    }
}
