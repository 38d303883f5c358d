//! Keeping still while Microsoft throttles us or fails: the pause (FA-11) and the breaker (FA-12) of one connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::call::RetryAfter;
use crate::error::GraphError;

/// Failures in a row after which calls are kept back.
const OPENS_AFTER: u32 = 5;
/// Longest rest of the breaker: a quarter of `t_back`, so that an outage's end is noticed in time.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A probe whose caller went away counts as lost after this long (the request's own limit).
const PROBE_LIMIT: Duration = Duration::from_secs(20);
/// Longest pause of our own after a 429 that asked for none.
const LONGEST_OWN_PAUSE: Duration = Duration::from_secs(60);

const BREAKERS_OPEN: &str = "lockstep_graph_breakers_open";

/// Pause and breaker of one connection.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    paused_until: Option<Instant>,
    throttled_in_a_row: u32,
    failures_in_a_row: u32,
    resting_until: Option<Instant>,
}

/// The right to send one call.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    gate: &'a Gate,
    /// Of the probe: until when the others wait for it.
    awaited_until: Option<Instant>,
}

impl Gate {
    /// Lets a call through, or says how long to wait. Requests during a pause count against us [THR25].
    pub fn admit(&self, call: &'static str, now: Instant) -> Result<Admitted<'_>, GraphError> {
        let mut state = self.state();
        if let Some(retry_after) = remaining(state.paused_until, now) {
            return Err(GraphError::Throttled { call, retry_after });
        }
        if let Some(retry_after) = remaining(state.resting_until, now) {
            return Err(GraphError::Resting { call, retry_after });
        }
        let mut awaited_until = None;
        if state.resting_until.is_some() {
            // This call is the probe; the others wait until it has come back.
            awaited_until = Some(now + PROBE_LIMIT);
            state.resting_until = awaited_until;
        }
        Ok(Admitted { gate: self, awaited_until })
    }

    /// Graph answered sensibly.
    pub fn answered(&self, now: Instant) {
        let mut state = self.state();
        state.failures_in_a_row = 0;
        state.close_breaker();
        if remaining(state.paused_until, now).is_none() {
            state.throttled_in_a_row = 0;
        }
    }

    /// Graph answered 429; returns the pause that follows.
    pub fn throttled(&self, asked: Option<RetryAfter>, now: Instant) -> Duration {
        let mut state = self.state();
        // Many calls in flight meet one throttling: only the first of them lengthens our own back-off.
        if remaining(state.paused_until, now).is_none() {
            state.throttled_in_a_row = state.throttled_in_a_row.saturating_add(1);
        }
        let own = doubled(state.throttled_in_a_row, LONGEST_OWN_PAUSE);
        let pause = asked.map_or(own, |RetryAfter(asked)| asked);
        let longer = pause.saturating_sub(remaining(state.paused_until, now).unwrap_or_default());
        metrics::counter!("lockstep_graph_throttled_seconds_total").increment(longer.as_secs_f64().round() as u64);
        state.paused_until = state.paused_until.max(Some(now + pause));
        state.failures_in_a_row = 0;
        state.close_breaker();
        pause
    }

    /// No answer, or a broken one.
    pub fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
        if let Some(rounds) = state.failures_in_a_row.checked_sub(OPENS_AFTER) {
            if state.resting_until.is_none() {
                metrics::gauge!(BREAKERS_OPEN).increment(1.0);
            }
            state.resting_until = Some(now + doubled(rounds + 1, LONGEST_REST));
        }
    }

    /// The state is valid after every assignment, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close_breaker(&mut self) {
        if self.resting_until.take().is_some() {
            metrics::gauge!(BREAKERS_OPEN).decrement(1.0);
        }
    }
}

impl Drop for Gate {
    /// Whoever forgets a connection does not leave its breaker in the count.
    fn drop(&mut self) {
        self.state().close_breaker();
    }
}

impl Drop for Admitted<'_> {
    /// A probe that was called off before it learnt anything lets the next call probe at once.
    fn drop(&mut self) {
        let mut state = self.gate.state();
        if self.awaited_until.is_some() && state.resting_until == self.awaited_until {
            state.resting_until = Some(Instant::now());
        }
    }
}

fn remaining(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
}

/// 1 s, 2 s, 4 s, … for the first, second, third round.
fn doubled(round: u32, longest: Duration) -> Duration {
    Duration::from_secs(2_u64.saturating_pow(round.saturating_sub(1))).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "GET /users/{id}";

    fn asked(seconds: u64) -> Option<RetryAfter> {
        Some(RetryAfter(Duration::from_secs(seconds)))
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn fa11_nothing_is_sent_until_the_pause_is_over() {
        let (gate, start) = (Gate::default(), Instant::now());
        assert_eq!(gate.throttled(asked(10), start), Duration::from_secs(10));
        let left = Duration::from_secs(1);
        let refused = gate.admit(CALL, after(start, 9)).err();
        assert_eq!(refused, Some(GraphError::Throttled { call: CALL, retry_after: left }));
        assert!(gate.admit(CALL, after(start, 10)).is_ok());
    }

    #[test]
    fn fa11_a_late_shorter_429_or_answer_does_not_shorten_the_pause() {
        let (gate, start) = (Gate::default(), Instant::now());
        gate.throttled(asked(60), start);
        gate.throttled(asked(1), start);
        gate.answered(start);
        assert!(gate.admit(CALL, after(start, 59)).is_err());
    }

    #[test]
    fn bi39_without_a_usable_header_our_own_pause_doubles_to_a_minute() {
        let (gate, start) = (Gate::default(), Instant::now());
        let rounds = (0..8).map(|round| after(start, round * 60));
        let pauses: Vec<u64> = rounds
            .map(|now| {
                let pause = gate.throttled(None, now).as_secs();
                gate.throttled(None, now);
                pause
            })
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60], "a second 429 in the same pause does not count");
        gate.answered(after(start, 480));
        assert_eq!(gate.throttled(None, after(start, 480)).as_secs(), 1, "an answer starts the count anew");
    }

    #[test]
    fn fa12_five_failures_open_the_breaker_and_one_probe_closes_it() {
        let (gate, start) = (Gate::default(), Instant::now());
        (0..4).for_each(|_| gate.failed(start));
        assert!(gate.admit(CALL, start).is_ok());
        gate.failed(start);
        assert!(matches!(gate.admit(CALL, start), Err(GraphError::Resting { .. })));
        let later = after(start, 1);
        let probe = gate.admit(CALL, later).expect("the probe");
        assert!(matches!(gate.admit(CALL, later), Err(GraphError::Resting { .. })), "nobody beside the probe");
        gate.answered(later);
        drop(probe);
        assert!(gate.admit(CALL, later).is_ok());
    }

    #[test]
    fn fa12_a_long_outage_is_probed_every_30_seconds() {
        let (gate, start) = (Gate::default(), Instant::now());
        (0..100).for_each(|_| gate.failed(start));
        let refused = gate.admit(CALL, start).err();
        assert_eq!(refused, Some(GraphError::Resting { call: CALL, retry_after: LONGEST_REST }));
    }

    #[test]
    fn fa12_a_probe_that_never_comes_back_does_not_close_the_gate_for_ever() {
        let (gate, start) = (Gate::default(), Instant::now());
        (0..5).for_each(|_| gate.failed(start));
        let _lost = gate.admit(CALL, after(start, 1)).expect("the probe");
        assert!(gate.admit(CALL, after(start, 1) + PROBE_LIMIT).is_ok());
    }

    #[test]
    fn fa12_a_probe_that_was_called_off_lets_the_next_call_probe_at_once() {
        let (gate, start) = (Gate::default(), Instant::now());
        (0..5).for_each(|_| gate.failed(start));
        drop(gate.admit(CALL, after(start, 1)).expect("the probe"));
        assert!(gate.admit(CALL, after(start, 1)).is_ok());
    }
}
