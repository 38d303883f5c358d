//! Publishing: a few lanes, each a channel with one message on its way, and a supervisor that never gives up.
//!
//! One message a lane, because the broker returns what it cannot route *beside* its confirm, and lapin hands a returned
//! message to whichever confirm of the channel it resolves next: with two on their way, the lost one could be taken for
//! kept. Many POSTs are in flight all the same: they share the message.

use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Event};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

use super::condition::{Board, Condition, Part};
use super::group::{Group, Job};
use super::link::Link;
use super::{LOOK, Pause, founding, trouble};
use crate::error::QueueError;
use crate::url::RabbitUrl;
use crate::{CONFIRM_TIMEOUT, MAX_MESSAGE_BYTES, MAX_WAITING_BYTES, MAX_WAITING_JOBS};

/// Messages on their way at once.
const LANES: usize = 3;

/// A link that confirms nothing for this long is thrown away, whatever its heartbeat says.
const SILENCE: Duration = Duration::from_secs(8);

const PERSISTENT: u8 = 2;

type Jobs = Mutex<mpsc::Receiver<Job>>;

/// The publishing side of a queue.
pub(super) struct Publisher {
    board: Arc<Board>,
    /// Taken away when the queue is closed: what was handed in before is still confirmed.
    jobs: SyncMutex<Option<mpsc::Sender<Job>>>,
    room: Arc<Semaphore>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Publisher {
    /// Begins to connect.
    pub(super) fn start(url: RabbitUrl) -> Self {
        let board = Arc::new(Board::of(Part::Publishing));
        let (jobs, waiting) = mpsc::channel(MAX_WAITING_JOBS);
        let (ending, ended) = oneshot::channel();
        let supervisor = Supervisor { url, board: board.clone(), jobs: Arc::new(Mutex::new(waiting)) };
        tokio::spawn(async move {
            supervisor.run().await;
            let _ = ending.send(());
        });
        Self {
            board,
            jobs: SyncMutex::new(Some(jobs)),
            room: Arc::new(Semaphore::new(MAX_WAITING_BYTES)),
            ended: Mutex::new(Some(ended)),
        }
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    /// `Ok` once the broker has confirmed it.
    pub(super) async fn publish(&self, body: Vec<u8>) -> Result<(), QueueError> {
        if let Some(refusal) = self.board.refusal() {
            return Err(refusal);
        }
        let bytes = body.len();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(QueueError::TooLarge { bytes, limit: MAX_MESSAGE_BYTES });
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.room.clone().try_acquire_many_owned(permits).map_err(|_| QueueError::Busy)?;
        let (done, confirmed) = oneshot::channel();
        self.hand_in(Job { body, room, done })?;
        match timeout(CONFIRM_TIMEOUT, confirmed).await {
            Ok(answered) => answered.unwrap_or(Err(QueueError::Closed)),
            Err(_) => Err(QueueError::Unconfirmed),
        }
    }

    fn hand_in(&self, job: Job) -> Result<(), QueueError> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or(QueueError::Closed)?;
        jobs.try_send(job).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => QueueError::Busy,
            mpsc::error::TrySendError::Closed(_) => QueueError::Closed,
        })
    }

    /// Waits for what is on its way.
    pub(super) async fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = self.ended.lock().await.take() {
            let _ = timeout(CONFIRM_TIMEOUT, ended).await;
        }
    }
}

struct Supervisor {
    url: RabbitUrl,
    board: Arc<Board>,
    jobs: Arc<Jobs>,
}

/// Why a link is used no more.
enum Ended {
    /// The queue was closed, and everything is confirmed.
    Closed,
    Broken(QueueError),
}

impl Supervisor {
    async fn run(self) {
        let mut pause = Pause::default();
        loop {
            let why = match self.link().await {
                Ok(link) => {
                    let began = Instant::now();
                    let ended = self.use_link(&link).await;
                    pause.after(began.elapsed());
                    match ended {
                        Ended::Closed => return link.close().await,
                        Ended::Broken(why) => why,
                    }
                }
                Err(why) => why,
            };
            self.board.down(why.clone());
            if self.refuse_waiting(&why).await {
                return;
            }
            metrics::counter!("lockstep_queue_reconnects_total", "part" => self.board.part().as_str()).increment(1);
            sleep(pause.next()).await;
        }
    }

    async fn link(&self) -> Result<Link, QueueError> {
        let link = Link::open(&self.url, self.board.part().as_str()).await?;
        founding::ready(&link.connection(), &self.url.queue).await?;
        Ok(link)
    }

    async fn use_link(&self, link: &Link) -> Ended {
        let mut events = link.events();
        let lanes = match super::in_time(self.open_lanes(link)).await {
            Ok(lanes) => lanes,
            Err(why) => return Ended::Broken(why),
        };
        self.board.up(link.connection());
        let mut lanes: JoinSet<_> = lanes.into_iter().map(|lane| lane.run(self.jobs.clone())).collect();
        let mut look = interval(LOOK);
        let mut silent = Silence::default();
        loop {
            tokio::select! {
                lane = lanes.join_next() => match lane {
                    None => return Ended::Closed,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(why))) => return Ended::Broken(why),
                    Some(Err(_)) => return Ended::Broken(QueueError::BrokerAway(None)),
                },
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => self.board.set(Condition::Blocked(reason)),
                    Some(Event::ConnectionUnblocked) => self.board.set(Condition::Up),
                    Some(Event::Error(error)) => return Ended::Broken(QueueError::BrokerAway(Some(Arc::new(error)))),
                    Some(_) => {}
                    None => return Ended::Broken(QueueError::BrokerAway(None)),
                },
                _ = look.tick() => {
                    if !link.is_up() || silent.too_long(self.board.is_unresponsive()) {
                        return Ended::Broken(QueueError::BrokerAway(None));
                    }
                }
            }
        }
    }

    async fn open_lanes(&self, link: &Link) -> Result<Vec<Lane>, QueueError> {
        let mut lanes = Vec::with_capacity(LANES);
        for _ in 0..LANES {
            let channel = link.channel().await.map_err(trouble::while_using)?;
            channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(trouble::while_using)?;
            lanes.push(Lane { channel, queue: self.url.queue.clone(), board: self.board.clone() });
        }
        Ok(lanes)
    }

    /// What was handed in while the link broke. Says whether the queue was closed meanwhile.
    async fn refuse_waiting(&self, why: &QueueError) -> bool {
        let mut jobs = self.jobs.lock().await;
        loop {
            match jobs.try_recv() {
                Ok(job) => {
                    let _ = job.done.send(Err(why.clone()));
                }
                Err(mpsc::error::TryRecvError::Empty) => return false,
                Err(mpsc::error::TryRecvError::Disconnected) => return true,
            }
        }
    }
}

/// Since when nothing was confirmed.
#[derive(Default)]
struct Silence(Option<Instant>);

impl Silence {
    fn too_long(&mut self, silent: bool) -> bool {
        if !silent {
            self.0 = None;
            return false;
        }
        self.0.get_or_insert_with(Instant::now).elapsed() > SILENCE
    }
}

/// A channel with at most one message on its way.
struct Lane {
    channel: Channel,
    queue: String,
    board: Arc<Board>,
}

impl Lane {
    /// Works until the queue is closed; an error means that the link is of no use any more.
    async fn run(self, jobs: Arc<Jobs>) -> Result<(), QueueError> {
        while let Some(mut group) = Group::gather(&jobs).await {
            match self.board.refusal() {
                _ if group.len() == 0 => {}
                Some(refusal) => group.answer(&Err(refusal)),
                None => self.send(group).await?,
            }
        }
        Ok(())
    }

    async fn send(&self, mut group: Group) -> Result<(), QueueError> {
        let began = Instant::now();
        metrics::histogram!("lockstep_queue_commit_messages").record(group.len() as f64);
        let (content_type, body) = (group.content_type(), std::mem::take(&mut group.body));
        tracing::trace!(target: "lockstep::point", "queue.before_commit");
        let confirmed = self.confirm(content_type, &body);
        tokio::pin!(confirmed);
        let in_time = tokio::select! {
            outcome = &mut confirmed => Some(outcome),
            refusal = self.board.refused() => {
                group.give_up(refusal);
                None
            }
            () = sleep(CONFIRM_TIMEOUT) => {
                self.board.set(Condition::Unresponsive);
                group.give_up(QueueError::Unconfirmed);
                None
            }
        };
        // A late confirm helps nobody who was told 503, but it shows that the broker is at work again.
        let outcome = match in_time {
            Some(outcome) => outcome,
            None => confirmed.await,
        };
        tracing::trace!(target: "lockstep::point", "queue.committed");
        metrics::histogram!("lockstep_queue_commit_seconds").record(began.elapsed());
        match outcome {
            Ok(()) if self.board.is_unresponsive() => self.board.set(Condition::Up),
            Err(QueueError::BrokerAway(_)) => group.give_up(QueueError::BrokerAway(None)),
            _ => {}
        }
        group.answer(&outcome);
        outcome
    }

    /// Only an acknowledgement without a returned message means that the message is kept.
    async fn confirm(&self, content_type: &'static str, body: &[u8]) -> Result<(), QueueError> {
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties =
            BasicProperties::default().with_delivery_mode(PERSISTENT).with_content_type(content_type.into());
        let sent = self.channel.basic_publish("".into(), self.queue.as_str().into(), mandatory, body, properties).await;
        match sent.map_err(trouble::while_using)?.await.map_err(trouble::while_using)? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested => Err(QueueError::NotKept),
        }
    }
}
