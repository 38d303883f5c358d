//! The queue for many machines: one quorum queue in RabbitMQ. Publishing and consuming have links of their own, each
//! made when it is first needed: a receiver never consumes, and a broker that blocks publishers still takes
//! acknowledgements.

mod condition;
mod consuming;
mod founding;
mod group;
mod inbox;
mod link;
mod publishing;
mod topology;
mod trouble;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lockstep_core::hint::{self, HintMessage};
use tokio::time::timeout;
use uuid::Uuid;

use self::condition::Board;
pub use self::condition::Condition;
use self::consuming::Consumer;
use self::link::Link;
use self::publishing::Publisher;
use crate::error::QueueError;
use crate::taken::{Depth, Taken};
use crate::url::RabbitUrl;

/// How often a supervisor looks at its link, should nobody tell it.
const LOOK: Duration = Duration::from_millis(250);

/// Hints in RabbitMQ. Clones share the links.
#[derive(Clone)]
pub struct RabbitQueue {
    shared: Arc<Shared>,
}

struct Shared {
    url: RabbitUrl,
    publisher: OnceLock<Publisher>,
    consumer: OnceLock<Consumer>,
    closed: AtomicBool,
}

impl RabbitQueue {
    /// See [`crate::Queue::open`]: makes the queue and checks the rights. A broker that is away is no reason not to
    /// start: receivers answer 503 and workers do what the store knows, until it is back (FA-01).
    pub async fn open(url: &RabbitUrl) -> Result<Self, QueueError> {
        match check(url).await {
            Err(refusal) if refusal.is_permanent() => return Err(refusal),
            Err(trouble) => {
                let error: &dyn std::error::Error = &trouble;
                tracing::warn!(error, "RabbitMQ cannot be reached now; starting all the same");
            }
            Ok(()) => {}
        }
        let (publisher, consumer) = (OnceLock::new(), OnceLock::new());
        let shared = Shared { url: url.clone(), publisher, consumer, closed: AtomicBool::new(false) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// See [`crate::Queue::publish`].
    pub async fn publish(&self, message: &HintMessage) -> Result<(), QueueError> {
        self.check_open()?;
        self.publisher().publish(hint::encode(message)).await
    }

    /// See [`crate::Queue::take`].
    pub fn take(&self, max: usize) -> Result<Vec<Taken>, QueueError> {
        self.check_open()?;
        self.consumer().take(max)
    }

    /// See [`crate::Queue::ack`].
    pub fn ack(&self, tags: &[i64]) -> Result<(), QueueError> {
        self.check_open()?;
        self.consumer().ack(tags);
        Ok(())
    }

    /// See [`crate::Queue::give_back`].
    pub fn give_back(&self, tags: &[i64]) {
        self.consumer().give_back(tags);
    }

    /// See [`crate::Queue::hinted`].
    pub async fn hinted(&self, limit: Duration) {
        self.consumer().hinted(limit).await;
    }

    /// See [`crate::Queue::depth`]. What other processes hold is not known here.
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        self.check_open()?;
        let consumer = self.shared.consumer.get();
        let board = consumer.map_or_else(|| self.publisher().board(), Consumer::board);
        let counting = async {
            let connection = board.connection_now().await?;
            topology::waiting(&connection, &self.shared.url.queue).await
        };
        let waiting = in_time(counting).await?;
        let (held, oldest) = consumer.map(Consumer::held).unwrap_or_default();
        let oldest = oldest.and_then(|body| hint::decode(&body).ok()).map(|message| message.received_at);
        Ok(Depth { messages: waiting + held, oldest })
    }

    /// See [`crate::Queue::recognise`].
    pub async fn recognise(&self, known: Option<Uuid>) -> Result<Uuid, QueueError> {
        self.check_open()?;
        self.consumer().recognise(known).await
    }

    /// See [`crate::Queue::mark`].
    pub async fn mark(&self, generation: Uuid) -> Result<(), QueueError> {
        self.check_open()?;
        self.consumer().mark(generation).await
    }

    /// How publishing and consuming are; nothing of what was never needed.
    pub fn conditions(&self) -> Vec<(&'static str, Condition)> {
        let publishing = self.shared.publisher.get().map(Publisher::board);
        let consuming = self.shared.consumer.get().map(Consumer::board);
        let shown = |board: &Board| (board.part().as_str(), board.condition());
        publishing.into_iter().chain(consuming).map(shown).collect()
    }

    /// See [`crate::Queue::close`].
    pub async fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        if let Some(publisher) = self.shared.publisher.get() {
            publisher.close().await;
        }
        if let Some(consumer) = self.shared.consumer.get() {
            consumer.close().await;
        }
    }

    fn check_open(&self) -> Result<(), QueueError> {
        if self.shared.closed.load(Ordering::Acquire) { Err(QueueError::Closed) } else { Ok(()) }
    }

    fn publisher(&self) -> &Publisher {
        self.shared.publisher.get_or_init(|| Publisher::start(self.shared.url.clone()))
    }

    fn consumer(&self) -> &Consumer {
        self.shared.consumer.get_or_init(|| Consumer::start(self.shared.url.clone()))
    }
}

async fn check(url: &RabbitUrl) -> Result<(), QueueError> {
    let link = Link::open(url, "start").await?;
    founding::ready(&link.connection(), &url.queue).await?;
    in_time(topology::check_publishing(&link.connection(), &url.queue)).await?;
    link.close().await;
    Ok(())
}

/// A broker that is stopped answers nothing.
async fn in_time<T>(asking: impl Future<Output = Result<T, QueueError>>) -> Result<T, QueueError> {
    const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

    timeout(ANSWER_TIMEOUT, asking).await.unwrap_or(Err(QueueError::BrokerAway(None)))
}

/// Between two tries: short at first, and never so long that an outage outlives its cause by 10 s (FA-01).
struct Pause(Duration);

impl Pause {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(2);
    /// A link that lived this long was no failed try.
    const HEALTHY: Duration = Duration::from_secs(10);

    fn after(&mut self, lived: Duration) {
        if lived > Self::HEALTHY {
            self.0 = Self::FIRST;
        }
    }

    fn next(&mut self) -> Duration {
        let now = self.0;
        self.0 = (now * 2).min(Self::LONGEST);
        now
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}
