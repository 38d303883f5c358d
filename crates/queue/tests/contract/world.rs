//! A queue in a place of its own, and what may happen to it from outside.

use std::time::{Duration, Instant};

use lockstep_core::hint::{Claim, Hint, HintMessage, MemberHint, Subject, VERSION};
use lockstep_core::{ConnectionId, ObjectId, SubscriptionId, Timestamp};
use lockstep_queue::{Queue, QueueError, QueueUrl, Taken};
use uuid::Uuid;

use crate::broker::Broker;
use crate::file::File;

/// Long enough for any machine; nobody waits for it unless a test fails.
pub const AGES: Duration = Duration::from_secs(30);

/// The place where a queue lives.
pub enum World {
    Embedded(File),
    Rabbit(Broker),
}

impl World {
    pub async fn open(&self) -> Queue {
        self.try_open().await.unwrap()
    }

    pub async fn try_open(&self) -> Result<Queue, QueueError> {
        Queue::open(&self.url()).await
    }

    fn url(&self) -> QueueUrl {
        match self {
            Self::Embedded(file) => file.url(),
            Self::Rabbit(broker) => broker.url(),
        }
    }

    /// What a process finds that starts after all others were killed.
    pub fn left_by_a_kill(self, queue: Queue) -> Self {
        match self {
            // The files as they are at this moment, elsewhere.
            Self::Embedded(file) => Self::Embedded(file.copy()),
            // The broker sees its connections go.
            Self::Rabbit(broker) => {
                drop(queue);
                Self::Rabbit(broker)
            }
        }
    }

    /// Puts any bytes where messages are.
    pub async fn inject(&self, bytes: &[u8]) {
        match self {
            Self::Embedded(file) => file.inject(bytes).await,
            Self::Rabbit(broker) => broker.inject(bytes).await,
        }
    }
}

/// One user's hint.
pub fn message() -> HintMessage {
    let subject = Subject::User { id: ObjectId(Uuid::new_v4()), claim: Claim::Changed };
    of(vec![subject])
}

/// About 100 kB.
pub fn large_message() -> HintMessage {
    let member = || MemberHint { id: ObjectId(Uuid::new_v4()), removed: false };
    let group = || Subject::Group {
        id: ObjectId(Uuid::new_v4()),
        claim: Claim::Changed,
        members: (0..100).map(|_| member()).collect(),
        truncated: false,
    };
    of((0..20).map(|_| group()).collect())
}

fn of(subjects: Vec<Subject>) -> HintMessage {
    let subscription = SubscriptionId(Uuid::now_v7());
    HintMessage {
        version: VERSION,
        id: Uuid::now_v7(),
        connection: ConnectionId(Uuid::now_v7()),
        received_at: Timestamp::from_micros(1_795_000_000_000_000),
        items: subjects.into_iter().map(|subject| Hint { subscription, subject }).collect(),
    }
}

pub async fn publish(queue: &Queue, count: usize) -> Vec<Uuid> {
    let messages: Vec<_> = (0..count).map(|_| message()).collect();
    for message in &messages {
        queue.publish(message).await.unwrap();
    }
    messages.into_iter().map(|message| message.id).collect()
}

/// Takes until there are this many: a broker delivers in its own time.
pub async fn take(queue: &Queue, count: usize) -> Vec<Taken> {
    let deadline = Instant::now() + AGES;
    let mut taken = Vec::new();
    while taken.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} messages came", taken.len());
        queue.hinted(Duration::from_millis(250)).await;
        taken.extend(queue.take(count - taken.len()).await.unwrap());
    }
    taken
}

/// Nothing comes, also not a little later.
pub async fn nothing_comes(queue: &Queue) -> bool {
    queue.hinted(Duration::from_millis(500)).await;
    queue.take(1_000).await.unwrap().is_empty()
}

pub fn ids(taken: &[Taken]) -> Vec<Uuid> {
    taken.iter().filter_map(|one| one.body.as_ref().ok()).map(|message| message.id).collect()
}

pub fn tags(taken: &[Taken]) -> Vec<i64> {
    taken.iter().map(|one| one.tag).collect()
}
