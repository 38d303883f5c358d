//! The queue of hints: what Microsoft said, kept until the store owes it.
//!
//! Start at [`Queue`]; the variant for one machine is [`embedded::EmbeddedQueue`], the one for many is
//! [`rabbit::RabbitQueue`]. A message is durable when [`Queue::publish`] returns `Ok`, and not before (G-01).
//!
//! Invariant: no policy here. No retry, no delay, no priority and no attempt count: anything with a time or a state is
//! a row in the store. No attribute of a person passes through (G-07): a message is a `HintMessage` and nothing else.

pub mod embedded;
mod error;
pub mod rabbit;
mod taken;
mod url;

use std::time::Duration;

use lockstep_core::hint::{self, HintMessage};
use uuid::Uuid;

use crate::embedded::EmbeddedQueue;
pub use crate::error::QueueError;
pub use crate::rabbit::Condition;
use crate::rabbit::RabbitQueue;
pub use crate::taken::{Depth, Taken, Undecodable};
pub use crate::url::{QueueUrl, RabbitUrl};

/// `confirm_timeout` of the guarantees.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Jobs that may wait to be written or sent; more are refused (G-30).
const MAX_WAITING_JOBS: usize = 8_192;

/// Bytes that may wait to be written or sent; more are refused (G-30).
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// A reader refuses more, so a writer must not begin it.
const MAX_MESSAGE_BYTES: usize = hint::MAX_MESSAGE;

/// A take that has more stops early: bounds its memory.
const TAKE_BYTES: usize = 4 * 1024 * 1024;

/// Where hints wait between the receiver and the workers. Cheap to clone; clones share everything.
#[derive(Clone)]
pub enum Queue {
    /// A SQLite file of its own beside the store: the default for one machine.
    Embedded(EmbeddedQueue),
    /// A quorum queue in RabbitMQ: receivers and workers anywhere.
    Rabbit(RabbitQueue),
}

impl Queue {
    /// Opens the queue, making it if it does not exist. A RabbitMQ that is away is reported in the log and tried again
    /// for ever (FA-01).
    ///
    /// # Errors
    /// What a person must mend first. Embedded: the file or its folder cannot be made or read, is not a queue, or was
    /// written by a newer version. RabbitMQ: the login is refused, a right is missing, or a queue of that name is of
    /// another kind (FA-05).
    pub async fn open(url: &QueueUrl) -> Result<Self, QueueError> {
        match url {
            QueueUrl::Embedded(path) => Ok(Self::Embedded(EmbeddedQueue::open(path).await?)),
            QueueUrl::Rabbit(url) => Ok(Self::Rabbit(RabbitQueue::open(url).await?)),
        }
    }

    /// Adds a message. `Ok` means durable: neither a killed process nor a power cut loses it (G-01).
    ///
    /// # Errors
    /// Every error means "perhaps not durable": the sender must send again. Takes at most `confirm_timeout` (1.5 s),
    /// and no time at all once the broker is known to be away or to block (FA-01, FA-04).
    pub async fn publish(&self, message: &HintMessage) -> Result<(), QueueError> {
        match self {
            Self::Embedded(queue) => queue.publish(message).await,
            Self::Rabbit(queue) => queue.publish(message).await,
        }
    }

    /// Leases up to `max` messages to the caller, oldest first. What is neither acknowledged nor given back within
    /// [`embedded::LEASE`], or whose process or link is lost, comes again. Several processes on one queue may be given
    /// the same message: taking one twice must be harmless (BI-46). A broker that is away has nothing to take; the link
    /// is made anew meanwhile.
    ///
    /// # Errors
    /// The queue cannot be read now, or is not the one it was (FA-05); nothing is leased then.
    pub async fn take(&self, max: usize) -> Result<Vec<Taken>, QueueError> {
        match self {
            Self::Embedded(queue) => queue.take(max).await,
            Self::Rabbit(queue) => queue.take(max),
        }
    }

    /// Removes taken messages for good: call it after the store has committed them (G-13). Tags that are gone already
    /// are ignored. With RabbitMQ the removal is on its way when this returns; should it be lost, they come again.
    ///
    /// # Errors
    /// Nothing was removed; the messages come again when their lease ends.
    pub async fn ack(&self, tags: &[i64]) -> Result<(), QueueError> {
        match self {
            Self::Embedded(queue) => queue.ack(tags).await,
            Self::Rabbit(queue) => queue.ack(tags),
        }
    }

    /// Ends the lease of taken messages that could not be dealt with now: they come again at once.
    pub async fn give_back(&self, tags: &[i64]) {
        match self {
            Self::Embedded(queue) => queue.give_back(tags).await,
            Self::Rabbit(queue) => queue.give_back(tags),
        }
    }

    /// Waits until there may be something to take, at most for `timeout`. A publish of this process between an empty
    /// [`Queue::take`] and this call is not missed; other processes on the same queue are noticed within
    /// [`embedded::POLL`], through RabbitMQ at once.
    pub async fn hinted(&self, timeout: Duration) {
        match self {
            Self::Embedded(queue) => queue.hinted(timeout).await,
            Self::Rabbit(queue) => queue.hinted(timeout).await,
        }
    }

    /// How much waits, messages leased by this process included.
    ///
    /// # Errors
    /// The queue cannot be read now.
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        match self {
            Self::Embedded(queue) => queue.depth().await,
            Self::Rabbit(queue) => queue.depth().await,
        }
    }

    /// The generation of this queue: `known` as long as it is still the queue that was marked with it, otherwise
    /// another one, and then what waited in the former queue is lost (FA-05). With RabbitMQ it waits for the broker.
    ///
    /// # Errors
    /// The broker refuses, or the link broke while asking.
    pub async fn recognise(&self, known: Option<Uuid>) -> Result<Uuid, QueueError> {
        match self {
            Self::Embedded(queue) => Ok(queue.generation()),
            Self::Rabbit(queue) => queue.recognise(known).await,
        }
    }

    /// Makes the queue recognisable: call it once the store remembers the generation that [`Queue::recognise`] gave,
    /// and what it means is written down. A process that dies before will find the loss again.
    ///
    /// # Errors
    /// The broker refuses, or the link broke.
    pub async fn mark(&self, generation: Uuid) -> Result<(), QueueError> {
        match self {
            // The file has carried it from its first day.
            Self::Embedded(_) => Ok(()),
            Self::Rabbit(queue) => queue.mark(generation).await,
        }
    }

    /// How the links to a broker are, by part (`publishing`, `consuming`), as far as they were needed. Nothing for a
    /// file.
    pub fn conditions(&self) -> Vec<(&'static str, Condition)> {
        match self {
            Self::Embedded(_) => Vec::new(),
            Self::Rabbit(queue) => queue.conditions(),
        }
    }

    /// Commits what was handed in and stops. Later calls of any clone fail with [`QueueError::Closed`].
    pub async fn close(&self) {
        match self {
            Self::Embedded(queue) => queue.close().await,
            Self::Rabbit(queue) => queue.close().await,
        }
    }
}

fn decoded(tag: i64, bytes: Vec<u8>) -> Taken {
    Taken { tag, body: hint::decode(&bytes).map_err(|why| Undecodable { bytes, why }) }
}
