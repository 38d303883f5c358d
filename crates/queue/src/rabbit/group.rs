//! POSTs that wait at the same moment share a message: the broker's cost is per message. Each is a line of its own, so
//! that a worker can settle it alone.

use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot};

use crate::error::QueueError;

/// A message with more is not begun; the broker's cost per byte outweighs what sharing saves from here on.
const MAX_BYTES: usize = 64 * 1024;

/// Tells a message of many lines from one; encoded hints hold no line break.
pub(super) const LINES: &str = "application/x-ndjson";
pub(super) const SINGLE: &str = "application/json";

/// A hint on its way.
pub(super) struct Job {
    /// Encoded.
    pub(super) body: Vec<u8>,
    /// Given back once it is confirmed or refused.
    pub(super) room: OwnedSemaphorePermit,
    /// Answered once.
    pub(super) done: oneshot::Sender<Result<(), QueueError>>,
}

/// What goes into one message.
#[derive(Default)]
pub(super) struct Group {
    pub(super) body: Vec<u8>,
    waiting: Vec<oneshot::Sender<Result<(), QueueError>>>,
    rooms: Vec<OwnedSemaphorePermit>,
}

impl Group {
    /// Waits for a job and takes what waits beside it; `None` once nobody can publish any more.
    pub(super) async fn gather(jobs: &Mutex<mpsc::Receiver<Job>>) -> Option<Self> {
        let mut jobs = jobs.lock().await;
        let mut group = Self::default();
        group.add(jobs.recv().await?);
        while group.body.len() < MAX_BYTES {
            let Ok(next) = jobs.try_recv() else {
                break;
            };
            group.add(next);
        }
        Some(group)
    }

    fn add(&mut self, job: Job) {
        // Nobody waits any more: the sender was told 503 and will send again.
        if job.done.is_closed() {
            return;
        }
        if self.waiting.is_empty() {
            self.body = job.body;
        } else {
            self.body.push(b'\n');
            self.body.extend_from_slice(&job.body);
        }
        self.waiting.push(job.done);
        self.rooms.push(job.room);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn content_type(&self) -> &'static str {
        if self.waiting.len() > 1 { LINES } else { SINGLE }
    }

    /// Tells everybody who still waits. Later calls tell nobody.
    pub(super) fn answer(&mut self, outcome: &Result<(), QueueError>) {
        for done in self.waiting.drain(..) {
            let _ = done.send(outcome.clone());
        }
        self.rooms.clear();
    }

    /// It was sent, and nobody knows what became of it (FA-03): that counts as not durable.
    pub(super) fn give_up(&mut self, why: QueueError) {
        metrics::counter!("lockstep_queue_confirm_unknown_total").increment(self.waiting.len() as u64);
        self.answer(&Err(why));
    }
}

/// The link broke under it.
impl Drop for Group {
    fn drop(&mut self) {
        if !self.waiting.is_empty() {
            self.give_up(QueueError::BrokerAway(None));
        }
    }
}

/// The messages in a delivery.
pub(super) fn lines_of(content_type: Option<&str>, body: Vec<u8>) -> Vec<Vec<u8>> {
    if content_type == Some(LINES) {
        body.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    } else {
        vec![body]
    }
}
