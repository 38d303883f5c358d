//! The one clock that rows are stamped with. Timeouts use the runtime's monotonic time instead.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lockstep_core::Timestamp;

/// Where store time comes from: the machine, or a clock that tests and the demo move by hand.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[allow(clippy::disallowed_methods)] // the one place that asks the machine
    pub fn system() -> Self {
        Self(Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        }))
    }

    /// A clock that answers microseconds since 1970 (UTC).
    pub fn following(micros: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        Self(micros)
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros((self.0)())
    }
}
