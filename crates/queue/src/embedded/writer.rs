//! Group commit: one task writes; whatever waits when it looks goes into one transaction and one fsync, and is
//! answered together. A lone message never waits for company. Who takes messages sees them before the fsync ends: a hint
//! that a power cut takes back was not answered with 202, and does no harm. Acknowledgements ride along: they need no
//! fsync (a message that comes again is known), and the file has one writer in this process, so nobody sleeps on SQLite's
//! lock.

use std::fmt::Write as _;
use std::path::PathBuf;

use sqlx::{Connection, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::file;
use crate::error::QueueError;

/// The bounds of one transaction: what comes after waits for the next.
const MAX_MESSAGES: usize = 1_000;
const MAX_BYTES: usize = 512 * 1024;
const MAX_TAGS: usize = 10_000;

/// One prepared statement for any number of messages: `$1` is all bodies end to end, `$2` a list of
/// `offset << 32 | length`.
const INSERT: &str =
    "INSERT INTO hint (body) SELECT substr($1, (value >> 32) + 1, value & 4294967295) FROM json_each($2)";
const DELETE: &str = "DELETE FROM hint WHERE id IN (SELECT value FROM json_each($1))";

/// What a job is answered with.
pub(super) type Outcome = Result<(), QueueError>;

/// Work for the writer.
pub(super) enum Job {
    /// Add a message.
    Publish {
        /// Encoded.
        body: Vec<u8>,
        /// Given back once the body is written.
        room: OwnedSemaphorePermit,
        /// Answered when it is on the disk.
        done: oneshot::Sender<Outcome>,
    },
    /// Remove messages.
    Ack {
        /// Which.
        tags: Vec<i64>,
        /// Answered after the commit.
        done: oneshot::Sender<Outcome>,
    },
    /// Stop after what came before.
    Close {
        /// Answered when the file is closed.
        done: oneshot::Sender<()>,
    },
}

/// The one task that writes.
pub(super) struct Writer {
    path: PathBuf,
    connection: SqliteConnection,
    jobs: mpsc::Receiver<Job>,
    published: watch::Sender<u64>,
}

impl Writer {
    pub(super) fn over(
        path: PathBuf,
        connection: SqliteConnection,
        jobs: mpsc::Receiver<Job>,
        published: watch::Sender<u64>,
    ) -> Self {
        Self { path, connection, jobs, published }
    }

    /// Works until the queue is closed or its last clone is gone.
    pub(super) async fn run(mut self) {
        let closing = loop {
            let Some(first) = self.jobs.recv().await else {
                break None;
            };
            let mut group = Group::default();
            group.add(first);
            while group.has_room() {
                let Ok(next) = self.jobs.try_recv() else {
                    break;
                };
                group.add(next);
            }
            let closing = group.closing.take();
            self.commit(group).await;
            if closing.is_some() {
                break closing;
            }
        };
        // Closed before the file, so that nobody waits for an answer that will not come.
        drop(self.jobs);
        let _ = self.connection.close().await;
        if let Some(done) = closing {
            let _ = done.send(());
        }
    }

    async fn commit(&mut self, group: Group) {
        if group.waiting.is_empty() {
            return;
        }
        let began = Instant::now();
        tracing::trace!(target: "lockstep::point", "queue.before_commit");
        let outcome = self.write(&group).await;
        metrics::histogram!("lockstep_queue_commit_seconds").record(began.elapsed());
        metrics::histogram!("lockstep_queue_commit_messages").record(group.messages as f64);
        for done in group.waiting {
            let _ = done.send(outcome.clone());
        }
    }

    async fn write(&mut self, group: &Group) -> Outcome {
        group.write(&mut self.connection).await.map_err(QueueError::database("writing hints"))?;
        tracing::trace!(target: "lockstep::point", "queue.committed");
        if group.messages == 0 {
            return Ok(());
        }
        self.published.send_modify(|count| *count += 1);
        file::flush(&self.path, &mut self.connection).await?;
        tracing::trace!(target: "lockstep::point", "queue.flushed");
        Ok(())
    }
}

/// What goes into one transaction.
#[derive(Default)]
struct Group {
    bodies: Vec<u8>,
    slices: JsonList,
    messages: usize,
    tags: JsonList,
    tag_count: usize,
    rooms: Vec<OwnedSemaphorePermit>,
    waiting: Vec<oneshot::Sender<Outcome>>,
    closing: Option<oneshot::Sender<()>>,
}

impl Group {
    fn has_room(&self) -> bool {
        self.closing.is_none()
            && self.messages < MAX_MESSAGES
            && self.bodies.len() < MAX_BYTES
            && self.tag_count < MAX_TAGS
    }

    fn add(&mut self, job: Job) {
        match job {
            // Nobody waits any more: the sender was told 503 and will send again.
            Job::Publish { done, .. } if done.is_closed() => {}
            Job::Publish { body, room, done } => {
                self.add_body(&body);
                self.rooms.push(room);
                self.waiting.push(done);
            }
            Job::Ack { tags, done } => {
                self.tag_count += tags.len();
                tags.into_iter().for_each(|tag| self.tags.push(tag));
                self.waiting.push(done);
            }
            Job::Close { done } => self.closing = Some(done),
        }
    }

    fn add_body(&mut self, body: &[u8]) {
        let slice = ((self.bodies.len() as i64) << 32) | body.len() as i64;
        self.slices.push(slice);
        self.bodies.extend_from_slice(body);
        self.messages += 1;
    }

    async fn write(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        // One statement is a transaction of its own; only two need to be tied together.
        match (self.messages > 0, self.tag_count > 0) {
            (true, false) => self.insert(connection).await,
            (false, true) => self.delete(connection).await,
            _ => {
                let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
                self.insert(&mut tx).await?;
                self.delete(&mut tx).await?;
                tx.commit().await
            }
        }
    }

    async fn insert(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let slices = self.slices.json();
        sqlx::query(INSERT).bind(self.bodies.as_slice()).bind(slices).execute(connection).await.map(drop)
    }

    async fn delete(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query(DELETE).bind(self.tags.json()).execute(connection).await.map(drop)
    }
}

/// Numbers as a JSON array, built as they come.
#[derive(Default)]
struct JsonList(String);

impl JsonList {
    fn push(&mut self, number: i64) {
        let separator = if self.0.is_empty() { '[' } else { ',' };
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{separator}{number}");
    }

    fn json(&self) -> String {
        format!("{}]", if self.0.is_empty() { "[" } else { &self.0 })
    }
}
