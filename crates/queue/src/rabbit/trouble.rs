//! What the broker says when it refuses, in our words.

use std::sync::Arc;

use lapin::ErrorKind;
use lapin::protocol::AMQPError;

use crate::error::QueueError;

/// AMQP's reply codes.
const ACCESS_REFUSED: u16 = 403;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// An error while logging in: RabbitMQ answers a bad password with 403, a missing virtual host with 530.
pub(super) fn while_connecting(error: lapin::Error) -> QueueError {
    match refusal(&error) {
        Some(said) if matches!(said.get_id(), ACCESS_REFUSED | NOT_ALLOWED) => {
            QueueError::LoginRefused { why: said.get_message().to_string() }
        }
        _ => match distrust(&error) {
            Some(why) => QueueError::NotTrusted { why },
            None => away(error),
        },
    }
}

/// What the TLS library found wrong: it reports that as data that is not valid, and nothing else does so before the login.
fn distrust(error: &lapin::Error) -> Option<String> {
    match error.kind() {
        ErrorKind::IOError(io) if io.kind() == std::io::ErrorKind::InvalidData => Some(io.to_string()),
        _ => None,
    }
}

/// An error while declaring: something of that name exists and is of another kind.
pub(super) fn while_declaring(queue: &str) -> impl Fn(lapin::Error) -> QueueError {
    move |error| match refusal(&error) {
        Some(said) if said.get_id() == PRECONDITION_FAILED => {
            QueueError::WrongQueue { queue: queue.to_owned(), why: said.get_message().to_string() }
        }
        _ => while_using(error),
    }
}

/// An error while publishing, consuming or asking.
pub(super) fn while_using(error: lapin::Error) -> QueueError {
    match refusal(&error) {
        Some(said) if said.get_id() == ACCESS_REFUSED => QueueError::Forbidden { why: said.get_message().to_string() },
        _ => away(error),
    }
}

/// An error while taking a name for ourselves: another connection has it.
pub(super) fn while_locking(error: lapin::Error) -> QueueError {
    const RESOURCE_LOCKED: u16 = 405;

    match refusal(&error) {
        Some(said) if said.get_id() == RESOURCE_LOCKED => QueueError::BeingMade,
        _ => while_using(error),
    }
}

/// There is nothing of that name.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    const NOT_FOUND: u16 = 404;

    refusal(error).is_some_and(|said| said.get_id() == NOT_FOUND)
}

fn refusal(error: &lapin::Error) -> Option<&AMQPError> {
    match error.kind() {
        ErrorKind::ProtocolError(said) => Some(said),
        _ => None,
    }
}

fn away(error: lapin::Error) -> QueueError {
    QueueError::BrokerAway(Some(Arc::new(error)))
}
