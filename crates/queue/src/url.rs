//! `LOCKSTEP_QUEUE_URL`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use lapin::uri::AMQPUri;

use crate::error::QueueError;

/// Used for `embedded:` without a path.
const DEFAULT_PATH: &str = "./lockstep-data/queue.db";

/// The version is part of the name: the settings of a queue can never change, a queue with others gets another name.
const QUEUE_NAME: &str = "lockstep.hints.v1";

/// A parsed queue address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueUrl {
    /// `embedded:` (`./lockstep-data/queue.db`) or `embedded:PATH`.
    Embedded(PathBuf),
    /// `amqp://` or `amqps://`.
    Rabbit(RabbitUrl),
}

/// Where the broker is, and the name of the queue there.
#[derive(Clone, PartialEq, Eq)]
pub struct RabbitUrl {
    /// Holds the password.
    pub(crate) uri: AMQPUri,
    /// `lockstep.hints.v1`; installations that share a broker have virtual hosts of their own.
    pub queue: String,
}

/// Neither the user nor the password.
impl fmt::Debug for RabbitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitUrl").field("host", &self.uri.authority.host).field("queue", &self.queue).finish()
    }
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
            Some(("amqp" | "amqps", _)) => rabbit(text).map(Self::Rabbit),
            _ => Err(QueueError::BadUrl),
        }
    }
}

fn rabbit(text: &str) -> Result<RabbitUrl, QueueError> {
    let mut uri: AMQPUri = text.parse().map_err(|_| QueueError::BadUrl)?;
    // `amqp://host/` names the virtual host "", which nobody has.
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    Ok(RabbitUrl { uri, queue: QUEUE_NAME.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> RabbitUrl {
        match text.parse() {
            Ok(QueueUrl::Rabbit(url)) => url,
            _ => panic!("no broker in {text}"),
        }
    }

    #[test]
    fn embedded_with_and_without_a_path() {
        assert_eq!("embedded:".parse::<QueueUrl>().ok(), Some(QueueUrl::Embedded("./lockstep-data/queue.db".into())));
        assert_eq!("embedded:/var/q.db".parse::<QueueUrl>().ok(), Some(QueueUrl::Embedded("/var/q.db".into())));
    }

    #[test]
    fn a_broker_with_and_without_a_virtual_host() {
        assert_eq!(parsed("amqp://broker").uri.vhost, "/");
        assert_eq!(parsed("amqp://broker/").uri.vhost, "/");
        assert_eq!(parsed("amqps://broker/sync").uri.vhost, "sync");
        assert_eq!(parsed("amqps://broker").uri.authority.port, 5671);
        assert_eq!(parsed("amqp://broker").queue, "lockstep.hints.v1");
    }

    #[test]
    fn no_address_shows_its_password() {
        let broker = parsed("amqps://lockstep:hunter2@broker/");
        assert!(!format!("{broker:?}").contains("hunter2"));
        for wrong in ["amqp://lockstep:hunter2@broker:port/", "redis://:hunter2@x"] {
            let Err(refused) = wrong.parse::<QueueUrl>() else { panic!("accepted") };
            assert!(matches!(refused, QueueError::BadUrl));
            assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        }
    }
}
