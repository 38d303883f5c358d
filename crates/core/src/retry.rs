//! When to try again, and when to give up.

use std::time::Duration;

use crate::error::ErrorClass;

/// What follows from a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this long.
    RetryIn(Duration),
    /// Give up: the event is *failed* and shown with its reason.
    Fail,
}

/// `attempts` of guarantees §1. For faults of the object itself; a fault of the connection, store or broker spends no
/// attempt and is timed by [`connection_retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries of one event.
    pub attempts: u32,
    /// Longest wait after the first try; doubles with each.
    pub base: Duration,
    /// Longest wait of all.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 12, base: Duration::from_secs(1), cap: Duration::from_secs(15 * 60) }
    }
}

impl RetryPolicy {
    /// `attempts` counts the try that just failed; `jitter` is drawn evenly from 0 to 1 (full jitter).
    pub fn verdict(&self, class: ErrorClass, attempts: u32, jitter: f64) -> Verdict {
        match class {
            ErrorClass::Transient { retry_after } if attempts < self.attempts => {
                let wait = doubled(self.base, attempts, self.cap).mul_f64(fraction(jitter));
                Verdict::RetryIn(retry_after.map_or(wait, |asked| clamp_asked(asked).max(wait)))
            }
            ErrorClass::Transient { .. } | ErrorClass::Permanent | ErrorClass::Bug => Verdict::Fail,
        }
    }
}

/// How long a connection waits after so many failures in a row (the last one included). Permanent ones: 120 s, doubling to
/// an hour, for ever. Throttling, 5xx and network are probed at least every 30 s, unless Graph asked for longer (C5, FA-11).
pub fn connection_retry(failures: u32, class: ErrorClass) -> Duration {
    match class {
        ErrorClass::Transient { retry_after } => {
            let probe = doubled(Duration::from_secs(1), failures, Duration::from_secs(30));
            retry_after.map_or(probe, clamp_asked)
        }
        ErrorClass::Permanent | ErrorClass::Bug => {
            doubled(Duration::from_secs(120), failures, Duration::from_secs(60 * 60))
        }
    }
}

fn doubled(base: Duration, failures: u32, cap: Duration) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(cap)
}

/// What the other side asks for is honoured from a second to a quarter of an hour (FA-11, BI-39).
fn clamp_asked(asked: Duration) -> Duration {
    asked.clamp(Duration::from_secs(1), Duration::from_secs(15 * 60))
}

fn fraction(jitter: f64) -> f64 {
    if jitter.is_nan() { 1.0 } else { jitter.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSIENT: ErrorClass = ErrorClass::Transient { retry_after: None };

    #[test]
    fn twelve_attempts_from_a_second_to_a_quarter_of_an_hour() {
        let policy = RetryPolicy::default();
        let waits: Vec<_> = (1..=12).map(|attempt| policy.verdict(TRANSIENT, attempt, 1.0)).collect();
        let seconds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900].map(|s| Verdict::RetryIn(Duration::from_secs(s)));
        assert_eq!(waits[..11], seconds);
        assert_eq!(waits[11], Verdict::Fail);
    }

    #[test]
    fn full_jitter_spreads_from_nothing_to_the_whole_wait() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.verdict(TRANSIENT, 4, 0.0), Verdict::RetryIn(Duration::ZERO));
        assert_eq!(policy.verdict(TRANSIENT, 4, 0.5), Verdict::RetryIn(Duration::from_secs(4)));
        assert_eq!(policy.verdict(TRANSIENT, 4, f64::NAN), Verdict::RetryIn(Duration::from_secs(8)));
    }

    #[test]
    fn what_graph_asks_for_is_honoured_within_bounds() {
        let asked = |seconds| ErrorClass::Transient { retry_after: Some(Duration::from_secs(seconds)) };
        let policy = RetryPolicy::default();
        assert_eq!(policy.verdict(asked(40), 1, 0.0), Verdict::RetryIn(Duration::from_secs(40)));
        assert_eq!(policy.verdict(asked(0), 1, 0.0), Verdict::RetryIn(Duration::from_secs(1)));
        assert_eq!(connection_retry(1, asked(1_000_000)), Duration::from_secs(900));
    }

    #[test]
    fn what_cannot_heal_fails_at_once() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.verdict(ErrorClass::Permanent, 1, 0.5), Verdict::Fail);
        assert_eq!(policy.verdict(ErrorClass::Bug, 1, 0.5), Verdict::Fail);
    }

    #[test]
    fn a_connection_is_tried_for_ever_120_s_to_an_hour_and_probed_within_30_s() {
        let permanent = [1, 2, 5, 6, 60].map(|failures| connection_retry(failures, ErrorClass::Permanent).as_secs());
        assert_eq!(permanent, [120, 240, 1920, 3600, 3600]);
        assert!((0..100).all(|failures| connection_retry(failures, TRANSIENT) <= Duration::from_secs(30)));
    }
}
