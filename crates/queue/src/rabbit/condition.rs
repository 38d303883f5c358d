//! How a link is, for those who want to use it and for those who look at it.

use std::sync::Arc;
use std::time::Duration;

use lapin::Connection;
use tokio::sync::watch;

use crate::error::QueueError;

/// What a link to the broker can do now.
#[derive(Clone, Debug, Default)]
pub enum Condition {
    /// Nobody needed it yet, or it is being made for the first time.
    #[default]
    Connecting,
    /// In use.
    Up,
    /// The broker takes nothing: a disk or memory alarm. Holds the broker's own word (FA-04).
    Blocked(String),
    /// Connected, but nothing is confirmed (FA-02).
    Unresponsive,
    /// Not connected; tried again for ever. Holds why (FA-01).
    Down(QueueError),
}

impl Condition {
    /// One word for a label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Up => "up",
            Self::Blocked(_) => "blocked",
            Self::Unresponsive => "unresponsive",
            Self::Down(_) => "down",
        }
    }

    /// Why there is no use in trying now.
    pub(super) fn refusal(&self) -> Option<QueueError> {
        match self {
            Self::Connecting | Self::Up => None,
            Self::Blocked(reason) => Some(QueueError::BrokerBlocked { reason: reason.clone() }),
            Self::Unresponsive => Some(QueueError::BrokerSilent),
            Self::Down(why) => Some(why.clone()),
        }
    }
}

/// Which of the two links.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Publishing,
    Consuming,
}

impl Part {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Publishing => "publishing",
            Self::Consuming => "consuming",
        }
    }
}

/// The condition of a link, written by its supervisor, and the connection while there is one.
pub(super) struct Board {
    part: Part,
    condition: watch::Sender<Condition>,
    connection: watch::Sender<Option<Arc<Connection>>>,
}

impl Board {
    pub(super) fn of(part: Part) -> Self {
        Self { part, condition: watch::Sender::default(), connection: watch::Sender::default() }
    }

    pub(super) fn part(&self) -> Part {
        self.part
    }

    pub(super) fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    pub(super) fn refusal(&self) -> Option<QueueError> {
        self.condition.borrow().refusal()
    }

    pub(super) fn is_unresponsive(&self) -> bool {
        matches!(*self.condition.borrow(), Condition::Unresponsive)
    }

    pub(super) fn up(&self, connection: Arc<Connection>) {
        self.connection.send_replace(Some(connection));
        self.set(Condition::Up);
    }

    pub(super) fn down(&self, why: QueueError) {
        self.connection.send_replace(None);
        self.set(Condition::Down(why));
    }

    pub(super) fn set(&self, condition: Condition) {
        let before = self.condition.send_replace(condition);
        let now = self.condition.borrow();
        if before.as_str() != now.as_str() {
            report(self.part, &before, &now);
        }
    }

    /// Comes back as soon as there is no use in waiting for an answer.
    pub(super) async fn refused(&self) -> QueueError {
        let mut seen = self.condition.subscribe();
        loop {
            if let Some(refusal) = seen.borrow_and_update().refusal() {
                return refusal;
            }
            if seen.changed().await.is_err() {
                return QueueError::Closed;
            }
        }
    }

    /// The connection, waited for; an error only if a person must act first.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, QueueError> {
        const LOOK: Duration = Duration::from_millis(500);

        let mut seen = self.connection.subscribe();
        loop {
            if let Some(connection) = seen.borrow_and_update().clone() {
                return Ok(connection);
            }
            if let Some(refusal) = self.refusal().filter(QueueError::is_permanent) {
                return Err(refusal);
            }
            let _ = tokio::time::timeout(LOOK, seen.changed()).await;
        }
    }

    /// The connection as it is now; only the first one is waited for.
    pub(super) async fn connection_now(&self) -> Result<Arc<Connection>, QueueError> {
        let mut seen = self.condition.subscribe();
        let _ = seen.wait_for(|condition| !matches!(condition, Condition::Connecting)).await;
        let connection = self.connection.borrow().clone();
        connection.ok_or_else(|| self.refusal().unwrap_or(QueueError::BrokerAway(None)))
    }
}

/// One gauge a condition, so that an alert can name it, and one line a change.
fn report(part: Part, before: &Condition, now: &Condition) {
    let part = part.as_str();
    for (condition, value) in [(before, 0.0), (now, 1.0)] {
        metrics::gauge!("lockstep_queue_state", "part" => part, "state" => condition.as_str()).set(value);
    }
    match now {
        Condition::Connecting | Condition::Up => tracing::info!(part, "The link to RabbitMQ for {part} is up"),
        Condition::Blocked(reason) => tracing::warn!(part, reason, "RabbitMQ blocks {part}: {reason}"),
        Condition::Unresponsive => tracing::warn!(part, "RabbitMQ does not confirm what is published"),
        Condition::Down(why) => {
            let error: &dyn std::error::Error = why;
            tracing::warn!(part, error, "The link to RabbitMQ for {part} is down; it is tried again");
        }
    }
}
