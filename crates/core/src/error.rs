//! The three classes of error. The error knows its class; the runner alone decides what follows.

use std::time::Duration;

/// What kind of trouble an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// May heal by itself. `retry_after` is what the other side asked for.
    Transient {
        /// How long the other side asked us to wait.
        retry_after: Option<Duration>,
    },
    /// A person must act.
    Permanent,
    /// We were wrong.
    Bug,
}
