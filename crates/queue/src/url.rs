//! `LOCKSTEP_QUEUE_URL`.

use std::path::PathBuf;
use std::str::FromStr;

use crate::error::QueueError;

/// Used for `embedded:` without a path.
const DEFAULT_PATH: &str = "./lockstep-data/queue.db";

/// A parsed queue address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueUrl {
    /// `embedded:` (`./lockstep-data/queue.db`) or `embedded:PATH`.
    Embedded(PathBuf),
}

impl Default for QueueUrl {
    fn default() -> Self {
        Self::Embedded(PathBuf::from(DEFAULT_PATH))
    }
}

impl FromStr for QueueUrl {
    type Err = QueueError;

    fn from_str(text: &str) -> Result<Self, QueueError> {
        match text.split_once(':') {
            Some(("embedded", "")) => Ok(Self::default()),
            Some(("embedded", path)) => Ok(Self::Embedded(PathBuf::from(path))),
            Some(("amqp" | "amqps", _)) => Err(QueueError::BrokerNotYet),
            _ => Err(QueueError::BadUrl),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_with_and_without_a_path() {
        assert_eq!("embedded:".parse::<QueueUrl>().ok(), Some(QueueUrl::Embedded("./lockstep-data/queue.db".into())));
        assert_eq!("embedded:/var/q.db".parse::<QueueUrl>().ok(), Some(QueueUrl::Embedded("/var/q.db".into())));
    }

    #[test]
    fn a_broker_address_is_refused_without_repeating_its_password() {
        let Err(refused) = "amqps://lockstep:hunter2@broker/".parse::<QueueUrl>() else { panic!("accepted") };
        assert!(matches!(refused, QueueError::BrokerNotYet));
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        assert!(matches!("redis://x".parse::<QueueUrl>(), Err(QueueError::BadUrl)));
    }
}
