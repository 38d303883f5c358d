//! How a command ends when it does not end well: one line on stderr, one exit code.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// It was tried and went wrong: exit code 1.
    Failed(String),
    /// It was asked wrongly, by an argument or a setting: exit code 2.
    Usage(String),
    /// It was not done because it wants a person's yes, or because a check failed: exit code 3.
    Refused(String),
}

/// What every command returns.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure of `attempt` (what was attempted, on what), with everything its causes say.
    pub fn of(attempt: impl fmt::Display, error: &dyn Error) -> Self {
        Self::Failed(format!("{attempt}: {}", chain(error)))
    }

    /// The exit codes of the command line: 1 failed, 2 wrong usage, 3 refused.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Refused(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(text) | Self::Usage(text) | Self::Refused(text) => f.write_str(text),
        }
    }
}

impl From<lockstep_store::StoreError> for Failure {
    fn from(error: lockstep_store::StoreError) -> Self {
        Self::Failed(chain(&error))
    }
}

impl From<lockstep_queue::QueueError> for Failure {
    fn from(error: lockstep_queue::QueueError) -> Self {
        Self::Failed(chain(&error))
    }
}

/// Graph's errors know the sentence that tells a person what to do.
impl From<lockstep_graph::GraphError> for Failure {
    fn from(error: lockstep_graph::GraphError) -> Self {
        Self::Failed(error.operator_sentence())
    }
}

impl From<lockstep_benches::BenchError> for Failure {
    fn from(error: lockstep_benches::BenchError) -> Self {
        match error {
            lockstep_benches::BenchError::Refused(why) => Self::Refused(why),
            other => Self::Failed(chain(&other)),
        }
    }
}

impl From<lockstep_worker::WorkerError> for Failure {
    fn from(error: lockstep_worker::WorkerError) -> Self {
        match error {
            lockstep_worker::WorkerError::Graph(error) => error.into(),
            other => Self::Failed(chain(&other)),
        }
    }
}

/// The error and its causes, each said once: some errors repeat their source in their own text.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Opening(std::io::Error);

    impl fmt::Display for Opening {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("opening the store failed")
        }
    }

    impl Error for Opening {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn every_cause_is_said_once() {
        let error = Opening(std::io::Error::other("disk full"));
        let failure = Failure::of("reading record 1", &error);
        assert_eq!(failure.to_string(), "reading record 1: opening the store failed: disk full");
    }
}
