//! Simulated time: real time times a scale, plus whatever it was advanced by.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio::sync::watch;

/// A clock that can run faster than real time and be moved forward by hand.
///
/// Cheap to clone; all clones show the same time, so the demo can share one clock between the
/// simulator and Lockstep.
#[derive(Clone)]
pub struct SimClock {
    inner: Arc<Inner>,
}

struct Inner {
    course: Mutex<Course>,
    /// Bumped at every jump or change of scale, so that sleepers look again.
    moved: watch::Sender<u64>,
}

#[derive(Clone, Copy)]
struct Course {
    since: Instant,
    micros: i64,
    scale: f64,
}

impl Course {
    fn micros_now(&self) -> i64 {
        let passed = self.since.elapsed().as_secs_f64() * self.scale;
        self.micros.saturating_add((passed * 1e6) as i64)
    }
}

impl SimClock {
    /// A clock that shows real time at scale 1.
    #[allow(clippy::disallowed_methods, reason = "this is where simulated time takes off from real time")]
    pub fn real() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(i64::try_from(unix.as_micros()).unwrap_or(i64::MAX))
    }

    /// A clock at scale 1 that starts at this instant (microseconds since the Unix epoch).
    pub fn starting_at(micros: i64) -> Self {
        let course = Course { since: Instant::now(), micros, scale: 1.0 };
        let (moved, _) = watch::channel(0);
        Self { inner: Arc::new(Inner { course: Mutex::new(course), moved }) }
    }

    /// Simulated now, in microseconds since the Unix epoch.
    pub fn now_micros(&self) -> i64 {
        self.course().micros_now()
    }

    /// Moves the clock forward; everyone in [`SimClock::sleep`] looks again.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.change(|course| course.micros = course.micros.saturating_add(micros));
    }

    /// Simulated seconds per real second from now on. Negative or non-finite values count as 0,
    /// which stops the clock.
    pub fn set_scale(&self, scale: f64) {
        let scale = if scale.is_finite() { scale.max(0.0) } else { 0.0 };
        self.change(|course| course.scale = scale);
    }

    /// Simulated seconds per real second.
    pub fn scale(&self) -> f64 {
        self.course().scale
    }

    /// Sleeps for a span of simulated time; wakes at once when the clock is advanced past its end.
    pub async fn sleep(&self, span: Duration) {
        let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.sleep_until(self.now_micros().saturating_add(micros)).await;
    }

    /// Sleeps until the clock shows at least this instant (microseconds since the Unix epoch).
    pub async fn sleep_until(&self, micros: i64) {
        // Listen before looking: a jump in between must not be missed.
        let mut moved = self.inner.moved.subscribe();
        loop {
            let course = self.course();
            let left = micros - course.micros_now();
            if left <= 0 {
                return;
            }
            if course.scale > 0.0 {
                let real = Duration::from_secs_f64((left as f64 / 1e6 / course.scale).min(3.0e7));
                tokio::select! {
                    () = tokio::time::sleep(real) => {}
                    _ = moved.changed() => {}
                }
            } else {
                let _ = moved.changed().await;
            }
        }
    }

    fn course(&self) -> Course {
        *self.inner.course.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Course)) {
        {
            let mut course = self.inner.course.lock().unwrap_or_else(PoisonError::into_inner);
            course.micros = course.micros_now();
            course.since = Instant::now();
            change(&mut course);
        }
        self.inner.moved.send_modify(|count| *count += 1);
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::real()
    }
}

/// The instant as Graph writes it: UTC, whole seconds, `Z`.
pub(crate) fn graph_time(micros: i64) -> String {
    timestamp(micros).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The instant as a timestamp; instants outside the calendar become the epoch.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_is_advanced_past_its_end() {
        let clock = SimClock::real();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(HOUR).await }
        });
        tokio::task::yield_now().await;
        clock.advance(HOUR);
        tokio::time::timeout(Duration::from_secs(5), sleeper).await.expect("woke").expect("ran");
    }

    #[test]
    fn a_stopped_clock_moves_only_by_hand() {
        let clock = SimClock::starting_at(1_000_000);
        clock.set_scale(0.0);
        let before = clock.now_micros();
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.now_micros(), before + 2_000_000);
    }

    #[test]
    fn graph_times_have_whole_seconds_and_a_z() {
        assert_eq!(graph_time(1_700_000_000_500_000), "2023-11-14T22:13:20Z");
    }
}
