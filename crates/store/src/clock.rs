//! The one clock that rows are stamped with. Timeouts use the runtime's monotonic time instead.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lockstep_core::Timestamp;

/// An answer that took longer says too little about now.
const PROMPT: Duration = Duration::from_millis(500);

/// Where store time comes from: the machine, the database, or a clock that tests and the demo move by hand.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    /// The machine's until a database gave its time; from then on that time, carried on by the monotonic clock: a jump of
    /// the machine's clock moves no lease.
    System(Arc<RwLock<Option<Given>>>),
    Following(Arc<dyn Fn() -> i64 + Send + Sync>),
}

#[derive(Clone, Copy)]
struct Given {
    micros: i64,
    at: Instant,
}

impl Clock {
    /// The machine's clock; on PostgreSQL the database's.
    pub fn system() -> Self {
        Self(Source::System(Arc::default()))
    }

    /// A clock that answers microseconds since 1970 (UTC).
    pub fn following(micros: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        Self(Source::Following(micros))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(match &self.0 {
            Source::Following(micros) => micros(),
            Source::System(given) => match *given.read().unwrap_or_else(PoisonError::into_inner) {
                Some(given) => given.micros.saturating_add(micros_of(given.at.elapsed())),
                None => machine_micros(),
            },
        })
    }

    /// Not one that is moved by hand.
    pub(crate) fn is_the_machines(&self) -> bool {
        matches!(self.0, Source::System(_))
    }

    /// From now on this is the time: `micros` was true between `asked` and `took` later.
    pub(crate) fn set(&self, micros: i64, asked: Instant, took: Duration) {
        let Source::System(known) = &self.0 else { return };
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        if took <= PROMPT || known.is_none() {
            *known = Some(Given { micros, at: asked + took / 2 });
        }
    }
}

#[allow(clippy::disallowed_methods)] // the one place that asks the machine
fn machine_micros() -> i64 {
    micros_of(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn micros_of(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fa26_the_databases_time_counts_however_wrong_the_machine_is() {
        let clock = Clock::system();
        let ten_minutes = 600_000_000;
        let theirs = clock.now().micros() + ten_minutes;
        clock.set(theirs, Instant::now(), Duration::ZERO);
        let ahead = clock.now().micros() - theirs;
        assert!((0..60_000_000).contains(&ahead), "{ahead}");
        clock.set(0, Instant::now(), Duration::from_secs(3));
        assert!(clock.now().micros() >= theirs, "an answer that took 3 s says nothing");
    }
}
