//! Why a measurement did not come to its end.

use std::error::Error;
use std::time::Duration;

/// What went wrong, and what a person can do.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A step that no measurement can do without.
    #[error("{attempt} failed")]
    Failed {
        /// What was attempted, on what.
        attempt: String,
        /// What it met.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Something that must come did not.
    #[error(
        "{what} did not come within {} s; with RUST_LOG=info the log of `lockstep serve` goes to stderr",
        patience.as_secs()
    )]
    TooLate {
        /// What was waited for.
        what: String,
        /// For how long.
        patience: Duration,
    },
    /// A figure was taken, and does not count: speed that loses or refuses what it must not is no speed.
    #[error("the figures count for nothing: {0}")]
    Worthless(String),
    /// What was named is not for measurements.
    #[error("{0}")]
    Refused(String),
}

/// Says what was attempted when it failed.
pub(crate) trait During<T> {
    fn during(self, attempt: impl Into<String>) -> Result<T, BenchError>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> During<T> for Result<T, E> {
    fn during(self, attempt: impl Into<String>) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Failed { attempt: attempt.into(), source: source.into() })
    }
}
