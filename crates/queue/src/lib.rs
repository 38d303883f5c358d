//! The queue of hints: what Microsoft said, kept until the store owes it.
//!
//! Start at [`Queue`]; the variant for one machine is [`embedded::EmbeddedQueue`]. A message is durable when
//! [`Queue::publish`] returns `Ok`, and not before (G-01).
//!
//! Invariant: no policy here. No retry, no delay, no priority and no attempt count: anything with a time or a state is
//! a row in the store. No attribute of a person passes through (G-07): a message is a `HintMessage` and nothing else.

pub mod embedded;
mod error;
mod taken;
mod url;

use std::time::Duration;

use lockstep_core::hint::HintMessage;
use uuid::Uuid;

use crate::embedded::EmbeddedQueue;
pub use crate::error::QueueError;
pub use crate::taken::{Depth, Taken, Undecodable};
pub use crate::url::QueueUrl;

/// Where hints wait between the receiver and the workers. Cheap to clone; clones share everything.
#[derive(Clone)]
pub enum Queue {
    /// A SQLite file of its own beside the store: the default for one machine.
    Embedded(EmbeddedQueue),
}

impl Queue {
    /// Opens the queue, making it if it does not exist.
    ///
    /// # Errors
    /// The file or its folder cannot be made or read, is not a queue, or was written by a newer version.
    pub async fn open(url: &QueueUrl) -> Result<Self, QueueError> {
        match url {
            QueueUrl::Embedded(path) => Ok(Self::Embedded(EmbeddedQueue::open(path).await?)),
        }
    }

    /// Adds a message. `Ok` means durable: neither a killed process nor a power cut loses it (G-01).
    ///
    /// # Errors
    /// Every error means "perhaps not durable": the sender must send again. Takes at most `confirm_timeout` (1.5 s).
    pub async fn publish(&self, message: &HintMessage) -> Result<(), QueueError> {
        match self {
            Self::Embedded(queue) => queue.publish(message).await,
        }
    }

    /// Leases up to `max` messages to the caller, oldest first. What is neither acknowledged nor given back within
    /// [`embedded::LEASE`], or whose process is lost, comes again. Several processes on one queue may be given the same
    /// message: taking one twice must be harmless (BI-46).
    ///
    /// # Errors
    /// The queue cannot be read now; nothing is leased then.
    pub async fn take(&self, max: usize) -> Result<Vec<Taken>, QueueError> {
        match self {
            Self::Embedded(queue) => queue.take(max).await,
        }
    }

    /// Removes taken messages for good: call it after the store has committed them (G-13). Tags that are gone already
    /// are ignored.
    ///
    /// # Errors
    /// Nothing was removed; the messages come again when their lease ends.
    pub async fn ack(&self, tags: &[i64]) -> Result<(), QueueError> {
        match self {
            Self::Embedded(queue) => queue.ack(tags).await,
        }
    }

    /// Ends the lease of taken messages that could not be dealt with now: they come again at once.
    pub async fn give_back(&self, tags: &[i64]) {
        match self {
            Self::Embedded(queue) => queue.give_back(tags).await,
        }
    }

    /// Waits until there may be something to take, at most for `timeout`. A publish of this process between an empty
    /// [`Queue::take`] and this call is not missed; other processes on the same queue are noticed within
    /// [`embedded::POLL`].
    pub async fn hinted(&self, timeout: Duration) {
        match self {
            Self::Embedded(queue) => queue.hinted(timeout).await,
        }
    }

    /// How much waits, leased messages included.
    ///
    /// # Errors
    /// The queue cannot be read now.
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        match self {
            Self::Embedded(queue) => queue.depth().await,
        }
    }

    /// Made with the queue and never changed. The store remembers it: another id means that this is not the queue
    /// whose hints were promised, so hints were lost (FA-05).
    pub fn generation(&self) -> Uuid {
        match self {
            Self::Embedded(queue) => queue.generation(),
        }
    }

    /// Commits what was handed in and stops. Later calls of any clone fail with [`QueueError::Closed`].
    pub async fn close(&self) {
        match self {
            Self::Embedded(queue) => queue.close().await,
        }
    }
}
