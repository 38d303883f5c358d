//! Consuming: one subscription with a bounded number of deliveries ahead, and a supervisor that never gives up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer as Subscription};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval, sleep, timeout};
use uuid::Uuid;

use super::condition::{Board, Condition, Part};
use super::group::lines_of;
use super::inbox::{Ack, Inbox};
use super::link::Link;
use super::{LOOK, Pause, founding, topology, trouble};
use crate::embedded::LEASE;
use crate::error::QueueError;
use crate::taken::Taken;
use crate::url::RabbitUrl;
use crate::{CONFIRM_TIMEOUT, TAKE_BYTES, decoded};

/// Deliveries that may be here and unsettled: what a worker takes at once. Shared messages make it some 30 MB at most
/// under load; RabbitMQ knows no bound in bytes.
const PREFETCH: u16 = 500;

/// The consuming side of a queue.
pub(super) struct Consumer {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

struct Shared {
    url: RabbitUrl,
    board: Board,
    inbox: Mutex<Inbox>,
    /// Rises whenever there may be something to take.
    news: watch::Sender<u64>,
    generation: Mutex<Known>,
}

/// Which queue this process takes itself to work on.
#[derive(Clone, Copy, Default)]
enum Known {
    /// Nobody asked yet.
    #[default]
    Nothing,
    Marked(Uuid),
    /// The queue was marked, and the one that is there now is not.
    Replaced,
}

impl Consumer {
    /// Begins to subscribe.
    pub(super) fn start(url: RabbitUrl) -> Self {
        let shared = Arc::new(Shared {
            url,
            board: Board::of(Part::Consuming),
            inbox: Mutex::default(),
            news: watch::Sender::default(),
            generation: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let (ending, ended) = oneshot::channel();
        let supervisor = shared.clone();
        tokio::spawn(async move {
            supervisor.run(stopped).await;
            let _ = ending.send(());
        });
        Self { shared, stop, ended: tokio::sync::Mutex::new(Some(ended)) }
    }

    pub(super) fn board(&self) -> &Board {
        &self.shared.board
    }

    /// What is here; nothing while the broker is away, since the supervisor is at it.
    pub(super) fn take(&self, max: usize) -> Result<Vec<Taken>, QueueError> {
        if matches!(*self.shared.generation(), Known::Replaced) {
            return Err(QueueError::Replaced);
        }
        if let Some(refusal) = self.shared.board.refusal().filter(QueueError::is_permanent) {
            return Err(refusal);
        }
        let now = Instant::now();
        let taken = self.shared.inbox().take(max, TAKE_BYTES, now, now + LEASE);
        Ok(taken.into_iter().map(|(tag, body)| decoded(tag, body.to_vec())).collect())
    }

    pub(super) fn ack(&self, tags: &[i64]) {
        self.shared.inbox().settle(tags);
    }

    pub(super) fn give_back(&self, tags: &[i64]) {
        self.shared.inbox().give_back(tags);
        self.shared.tell();
    }

    pub(super) async fn hinted(&self, limit: Duration) {
        /// Leases end without anybody telling.
        const POLL: Duration = Duration::from_millis(250);

        let mut news = self.shared.news.subscribe();
        let waiting = async {
            while !self.shared.anything_to_take() {
                let _ = timeout(POLL, news.changed()).await;
            }
        };
        let _ = timeout(limit, waiting).await;
    }

    /// How many deliveries are here, and the oldest message of them.
    pub(super) fn held(&self) -> (u64, Option<Arc<[u8]>>) {
        self.shared.inbox().held()
    }

    /// See [`crate::Queue::recognise`].
    pub(super) async fn recognise(&self, known: Option<Uuid>) -> Result<Uuid, QueueError> {
        let shared = &self.shared;
        let connection = shared.board.connection().await?;
        let same = match known {
            Some(known) => {
                super::in_time(topology::is_marked(&connection, &shared.url.queue, known)).await?.then_some(known)
            }
            None => None,
        };
        *shared.generation() = Known::Nothing;
        Ok(same.unwrap_or_else(Uuid::now_v7))
    }

    /// See [`crate::Queue::mark`].
    pub(super) async fn mark(&self, generation: Uuid) -> Result<(), QueueError> {
        let shared = &self.shared;
        let connection = shared.board.connection().await?;
        super::in_time(topology::put_mark(&connection, &shared.url.queue, generation)).await?;
        *shared.generation() = Known::Marked(generation);
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.stop.send_replace(true);
        if let Some(ended) = self.ended.lock().await.take() {
            let _ = timeout(CONFIRM_TIMEOUT, ended).await;
        }
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn generation(&self) -> MutexGuard<'_, Known> {
        self.generation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.news.send_modify(|count| *count += 1);
    }

    fn anything_to_take(&self) -> bool {
        matches!(*self.generation(), Known::Replaced) || self.inbox().anything_waits(Instant::now())
    }

    async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut pause = Pause::default();
        loop {
            let began = Instant::now();
            let why = tokio::select! {
                ended = self.consume(stopped.clone()) => match ended {
                    Ok(()) => return,
                    Err(why) => why,
                },
                () = stop_during_outage(&self.board, stopped.clone()) => return,
            };
            pause.after(began.elapsed());
            self.inbox().forget();
            self.board.down(why);
            metrics::counter!("lockstep_queue_consumer_restarts_total").increment(1);
            tokio::select! {
                () = sleep(pause.next()) => {}
                () = asked_to_stop(&mut stopped) => return,
            }
        }
    }

    /// Connects, subscribes and takes in deliveries; `Ok` when the queue was closed.
    async fn consume(&self, mut stopped: watch::Receiver<bool>) -> Result<(), QueueError> {
        let link = Link::open(&self.url, self.board.part().as_str()).await?;
        founding::ready(&link.connection(), &self.url.queue).await?;
        let (acks, mut settled) = mpsc::unbounded_channel();
        let (channel, mut deliveries) = super::in_time(self.subscribe(&link)).await?;
        self.inbox().restart(acks);
        self.board.up(link.connection());
        let mut look = interval(LOOK);
        loop {
            tokio::select! {
                delivery = deliveries.next() => match delivery {
                    Some(delivery) => self.arrived(delivery.map_err(trouble::while_using)?),
                    // Cancelled by the broker, or the channel was closed.
                    None => return Err(QueueError::BrokerAway(None)),
                },
                Some(ack) = settled.recv() => self.acknowledge(&channel, ack).await?,
                _ = look.tick() => if !link.is_up() {
                    return Err(QueueError::BrokerAway(None));
                },
                () = asked_to_stop(&mut stopped) => break,
            }
        }
        while let Ok(ack) = settled.try_recv() {
            self.acknowledge(&channel, ack).await?;
        }
        link.close().await;
        Ok(())
    }

    async fn subscribe(&self, link: &Link) -> Result<(Channel, Subscription), QueueError> {
        let queue = self.url.queue.as_str();
        self.check_mark(link).await?;
        let channel = link.channel().await.map_err(trouble::while_using)?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(trouble::while_using)?;
        let consuming = channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), none());
        let deliveries = consuming.await.map_err(trouble::while_using)?;
        Ok((channel, deliveries))
    }

    /// The queue may have been deleted and made anew, by us or by another process, while the link was away.
    async fn check_mark(&self, link: &Link) -> Result<(), QueueError> {
        let known = *self.generation();
        if let Known::Marked(generation) = known
            && !topology::is_marked(&link.connection(), &self.url.queue, generation).await?
        {
            *self.generation() = Known::Replaced;
            self.tell();
        }
        Ok(())
    }

    fn arrived(&self, delivery: lapin::message::Delivery) {
        let content_type = delivery.properties.content_type().as_ref().map(|name| name.as_str().to_owned());
        self.inbox().arrive(delivery.delivery_tag, lines_of(content_type.as_deref(), delivery.data));
        self.tell();
    }

    async fn acknowledge(&self, channel: &Channel, ack: Ack) -> Result<(), QueueError> {
        let options = BasicAckOptions { multiple: ack.all_before };
        channel.basic_ack(ack.delivery, options).await.map_err(trouble::while_using)
    }
}

/// While it is up, closing lets the acknowledgements out first.
async fn stop_during_outage(board: &Board, mut stopped: watch::Receiver<bool>) {
    asked_to_stop(&mut stopped).await;
    if matches!(board.condition(), Condition::Up) {
        sleep(CONFIRM_TIMEOUT).await;
    }
}

async fn asked_to_stop(stopped: &mut watch::Receiver<bool>) {
    // An error means that the queue was dropped without being closed.
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn none() -> FieldTable {
    FieldTable::default()
}
