//! The queue for one machine: a SQLite file of its own, so that the receiver never waits for a transaction of the
//! store. Publishers share commits: one writer task, one fsync for everything that waits at that moment, never a timer.

mod file;
mod lease;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::hint::{self, HintMessage};
use sqlx::{Row, SqliteConnection};
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use self::lease::Leases;
use self::writer::{Job, Outcome, Writer};
use crate::error::QueueError;
use crate::taken::{Depth, Taken};
use crate::{CONFIRM_TIMEOUT, MAX_MESSAGE_BYTES, MAX_WAITING_BYTES, MAX_WAITING_JOBS, TAKE_BYTES, decoded};

/// A taken message that is neither acknowledged nor given back comes again after this: `work_timeout`.
pub const LEASE: Duration = Duration::from_secs(60);

/// How soon [`EmbeddedQueue::hinted`] notices what another process published.
pub const POLL: Duration = Duration::from_millis(250);

/// Rows read at a time.
const TAKE_ROWS: usize = 128;

/// Hints in a SQLite file. Clones share the writer, the leases and the file.
#[derive(Clone)]
pub struct EmbeddedQueue {
    shared: Arc<Shared>,
}

struct Shared {
    generation: Uuid,
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    /// Counts commits that added messages.
    published: watch::Sender<u64>,
    reading: Mutex<Reading>,
}

struct Reading {
    connection: SqliteConnection,
    leases: Leases,
    /// `published` when a take last found nothing more.
    drained_at: u64,
}

impl EmbeddedQueue {
    /// Opens or makes the file; see [`crate::Queue::open`].
    pub async fn open(path: &Path) -> Result<Self, QueueError> {
        let (writing, generation) = file::open(path).await?;
        let reading = file::connect(path).await?;
        let (jobs, waiting) = mpsc::channel(MAX_WAITING_JOBS);
        let published = watch::Sender::new(0);
        tokio::spawn(Writer::over(path.to_owned(), writing, waiting, published.clone()).run());
        let reading = Reading { connection: reading, leases: Leases::default(), drained_at: 0 };
        let room = Arc::new(Semaphore::new(MAX_WAITING_BYTES));
        Ok(Self { shared: Arc::new(Shared { generation, jobs, room, published, reading: Mutex::new(reading) }) })
    }

    /// See [`crate::Queue::publish`].
    pub async fn publish(&self, message: &HintMessage) -> Result<(), QueueError> {
        let body = hint::encode(message);
        let bytes = body.len();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(QueueError::TooLarge { bytes, limit: MAX_MESSAGE_BYTES });
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.shared.room.clone().try_acquire_many_owned(permits).map_err(|_| QueueError::Busy)?;
        let (done, committed) = oneshot::channel();
        self.shared.jobs.try_send(Job::Publish { body, room, done }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => QueueError::Busy,
            mpsc::error::TrySendError::Closed(_) => QueueError::Closed,
        })?;
        timeout(CONFIRM_TIMEOUT, outcome(committed)).await.unwrap_or(Err(QueueError::Unconfirmed))
    }

    /// See [`crate::Queue::take`].
    pub async fn take(&self, max: usize) -> Result<Vec<Taken>, QueueError> {
        let mut reading = self.shared.reading.lock().await;
        // Look at the counter before the rows: what is committed in between must not count as seen.
        let published = *self.shared.published.borrow();
        let (taken, drained) = reading.take(max).await?;
        if drained {
            reading.drained_at = published;
        }
        Ok(taken)
    }

    /// See [`crate::Queue::ack`].
    pub async fn ack(&self, tags: &[i64]) -> Result<(), QueueError> {
        if tags.is_empty() {
            return Ok(());
        }
        let (done, committed) = oneshot::channel();
        let job = Job::Ack { tags: tags.to_vec(), done };
        self.shared.jobs.send(job).await.map_err(|_| QueueError::Closed)?;
        outcome(committed).await?;
        self.shared.reading.lock().await.leases.settle(tags);
        Ok(())
    }

    /// See [`crate::Queue::give_back`].
    pub async fn give_back(&self, tags: &[i64]) {
        self.shared.reading.lock().await.leases.give_back(tags);
        self.shared.published.send_modify(|count| *count += 1);
    }

    /// See [`crate::Queue::hinted`].
    pub async fn hinted(&self, limit: Duration) {
        let mut published = self.shared.published.subscribe();
        let waiting = async {
            loop {
                let drained_at = match self.look().await {
                    Look::SomethingToTake => return,
                    Look::Nothing { drained_at } => drained_at,
                };
                let news = published.wait_for(|count| *count > drained_at);
                if timeout(POLL, news).await.is_ok() {
                    return;
                }
            }
        };
        let _ = timeout(limit, waiting).await;
    }

    async fn look(&self) -> Look {
        let reading = &mut *self.shared.reading.lock().await;
        reading.leases.expire(Instant::now());
        let news = *self.shared.published.borrow() > reading.drained_at;
        // A file that cannot be read now is nothing to take; `take` is where that is reported.
        if news || reading.anything_after_cursor().await.unwrap_or(false) {
            Look::SomethingToTake
        } else {
            Look::Nothing { drained_at: reading.drained_at }
        }
    }

    /// See [`crate::Queue::depth`].
    pub async fn depth(&self) -> Result<Depth, QueueError> {
        const COUNT: &str = "SELECT messages FROM depth";
        const OLDEST: &str = "SELECT body FROM hint ORDER BY id LIMIT 1";

        let mut reading = self.shared.reading.lock().await;
        let failed = || QueueError::database("counting the waiting hints");
        let count: i64 = sqlx::query_scalar(COUNT).fetch_one(&mut reading.connection).await.map_err(failed())?;
        let body: Option<Vec<u8>> =
            sqlx::query_scalar(OLDEST).fetch_optional(&mut reading.connection).await.map_err(failed())?;
        let oldest = body.and_then(|body| hint::decode(&body).ok()).map(|message| message.received_at);
        Ok(Depth { messages: u64::try_from(count).unwrap_or(0), oldest })
    }

    /// See [`crate::Queue::generation`].
    pub fn generation(&self) -> Uuid {
        self.shared.generation
    }

    /// See [`crate::Queue::close`].
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.shared.jobs.send(Job::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }
}

enum Look {
    SomethingToTake,
    Nothing { drained_at: u64 },
}

async fn outcome(committed: oneshot::Receiver<Outcome>) -> Outcome {
    committed.await.unwrap_or(Err(QueueError::Closed))
}

impl Reading {
    /// Everything up to the leases' cursor is leased or gone, so a take begins there. Also says whether it came to
    /// the end of what there is.
    async fn take(&mut self, max: usize) -> Result<(Vec<Taken>, bool), QueueError> {
        self.leases.expire(Instant::now());
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max && bytes < TAKE_BYTES {
            let rows = match self.rows_after_cursor(TAKE_ROWS.min(max - taken.len())).await {
                Ok(rows) if rows.is_empty() => return Ok((taken, true)),
                Ok(rows) => rows,
                Err(error) if taken.is_empty() => return Err(error),
                // What is leased already must reach the caller.
                Err(_) => break,
            };
            for (tag, body) in rows {
                if self.leases.grant(tag, Instant::now() + LEASE) {
                    bytes += body.len();
                    taken.push(decoded(tag, body));
                }
            }
        }
        Ok((taken, false))
    }

    async fn rows_after_cursor(&mut self, limit: usize) -> Result<Vec<(i64, Vec<u8>)>, QueueError> {
        const AFTER: &str = "SELECT id, body FROM hint WHERE id > $1 ORDER BY id LIMIT $2";

        let rows = sqlx::query(AFTER)
            .bind(self.leases.cursor())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .fetch_all(&mut self.connection)
            .await
            .map_err(QueueError::database("taking hints"))?;
        rows.into_iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, sqlx::Error>>()
            .map_err(QueueError::database("reading taken hints"))
    }

    async fn anything_after_cursor(&mut self) -> Result<bool, sqlx::Error> {
        const ANYTHING: &str = "SELECT EXISTS (SELECT 1 FROM hint WHERE id > $1)";

        sqlx::query_scalar(ANYTHING).bind(self.leases.cursor()).fetch_one(&mut self.connection).await
    }
}
