//! Works off what is due: claims no more than can start now, runs each connection's share as one batch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::{ConnectionId, ErrorClass};
use lockstep_store::Due;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{error, warn};

use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::sync_people;
use crate::supervise::chain;

/// Rows may be made due by another process, and a clock that tests move may make them due early.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// At stop, what has not ended by then is given back.
const FINISH_WITHIN: Duration = Duration::from_secs(15);

/// One piece of running work.
struct Batch {
    dues: Vec<Due>,
}

struct Runner {
    ctx: Context,
    places: Arc<Semaphore>,
    running: JoinSet<Result<(), WorkerError>>,
    batches: BTreeMap<Id, Batch>,
}

pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    let places = Arc::new(Semaphore::new(ctx.config.places.max(1)));
    let mut runner = Runner { ctx, places, running: JoinSet::new(), batches: BTreeMap::new() };
    let ended = runner.work().await;
    runner.wind_up().await?;
    ended
}

impl Runner {
    async fn work(&mut self) -> Result<(), WorkerError> {
        let ctx = self.ctx.clone();
        let mut hinted = true;
        while !ctx.stopping() {
            let woken = ctx.due.notified();
            tokio::pin!(woken);
            // Listen before looking: a hint that arrives in between must not wait for the next look.
            woken.as_mut().enable();
            if (hinted || self.is_anything_due().await?) && self.start_what_is_due().await? {
                hinted = false;
                continue;
            }
            tokio::select! {
                () = &mut woken => hinted = true,
                () = tokio::time::sleep(LOOK_EVERY) => hinted = false,
                Some(ended) = self.running.join_next_with_id(), if !self.running.is_empty() => {
                    self.end(ended).await?;
                    hinted = false;
                }
                () = ctx.stopped() => {}
            }
        }
        Ok(())
    }

    /// A look that takes no lock.
    async fn is_anything_due(&self) -> Result<bool, WorkerError> {
        let next = self.ctx.store.next_due_at().await?;
        Ok(next.is_some_and(|at| at <= self.ctx.store.now()))
    }

    /// Whether anything was claimed.
    async fn start_what_is_due(&mut self) -> Result<bool, WorkerError> {
        let free = self.places.available_permits();
        if free == 0 {
            return Ok(false);
        }
        let dues = self.ctx.store.claim_due(self.ctx.id, free).await?;
        assert!(dues.len() <= free, "claimed {} with {free} places free", dues.len());
        let any = !dues.is_empty();
        for (connection, batch) in batches(dues) {
            self.spawn(connection, batch)?;
        }
        Ok(any)
    }

    fn spawn(&mut self, connection: ConnectionId, dues: Vec<Due>) -> Result<(), WorkerError> {
        let places = u32::try_from(dues.len()).unwrap_or(u32::MAX);
        // This loop alone takes places, and it claimed no more than were free.
        let Ok(held) = Arc::clone(&self.places).try_acquire_many_owned(places) else {
            return Err(WorkerError::Stopping);
        };
        let work = batch(self.ctx.clone(), connection, dues.clone(), held);
        let id = self.running.spawn(work).id();
        self.batches.insert(id, Batch { dues });
        Ok(())
    }

    async fn end(&mut self, ended: Result<(Id, Result<(), WorkerError>), JoinError>) -> Result<(), WorkerError> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(broken) => broken.id(),
        };
        let Some(Batch { dues }) = self.batches.remove(&id) else {
            return Ok(());
        };
        match ended {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(failure))) => {
                warn!(error = %chain(&failure), objects = dues.len(), "A batch of {} objects failed", dues.len());
                self.put_back(dues, failure.class(), &failure.to_string()).await
            }
            Err(_) => {
                error!(objects = dues.len(), "A batch of {} objects broke down; each is tried alone", dues.len());
                self.put_back(dues, ErrorClass::Bug, "the work on it broke down").await
            }
        }
    }

    /// The attempt stays spent: a row that breaks its worker must not come back for ever (FA-24).
    async fn put_back(&self, dues: Vec<Due>, class: ErrorClass, why: &str) -> Result<(), WorkerError> {
        for due in dues {
            sync_people::spend_attempt(&self.ctx, &due, class, why).await?;
        }
        Ok(())
    }

    /// Waits for what is running, then gives back the rest (FA-33).
    async fn wind_up(&mut self) -> Result<(), WorkerError> {
        let finishing = async {
            while let Some(ended) = self.running.join_next_with_id().await {
                self.end(ended).await?;
            }
            Ok::<_, WorkerError>(())
        };
        if let Ok(ended) = tokio::time::timeout(FINISH_WITHIN, finishing).await {
            return ended;
        }
        self.running.shutdown().await;
        for Batch { dues } in std::mem::take(&mut self.batches).into_values() {
            self.ctx.store.release(self.ctx.id, &dues).await?;
        }
        Ok(())
    }
}

/// By connection; whatever was tried before without an end runs alone, so that it can spoil nobody else's work (FA-24).
fn batches(dues: Vec<Due>) -> Vec<(ConnectionId, Vec<Due>)> {
    let mut shared: BTreeMap<ConnectionId, Vec<Due>> = BTreeMap::new();
    let mut alone = Vec::new();
    for due in dues {
        if due.attempts > 1 {
            alone.push((due.connection, vec![due]));
        } else {
            shared.entry(due.connection).or_default().push(due);
        }
    }
    shared.into_iter().chain(alone).collect()
}

async fn batch(
    ctx: Context,
    connection: ConnectionId,
    dues: Vec<Due>,
    held: OwnedSemaphorePermit,
) -> Result<(), WorkerError> {
    let limit = ctx.store.timing().work_timeout;
    let work = sync_people::run(&ctx, connection, dues);
    let ended = tokio::time::timeout(limit, work).await;
    drop(held);
    ended.unwrap_or(Err(WorkerError::TimedOut { seconds: limit.as_secs() }))
}
