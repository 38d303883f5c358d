//! Works off what is due: claims no more than can be read and written now, runs each connection's share as one batch.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_core::spans::{TARGET, id_list};
use lockstep_core::{ConnectionId, ErrorClass, Timestamp};
use lockstep_store::{Due, Room};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, error, warn};

use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::failing::spend_attempt;
use crate::jobs::find_people::FEW;
use crate::jobs::sync_people;
use crate::supervise::chain;
use crate::trouble;

/// Rows may be made due by another process, and a clock that tests move may make them due early.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// At stop, what has not ended by then is given back; before its lease ends, which nobody extends any more.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// Batches in hand: one is read while another one is written. What would only wait in memory stays in the store, where
/// what is more urgent overtakes it.
const BATCHES_IN_HAND: usize = 2;
/// While a batch of a connection is at work, what comes gathers for the next one; but not behind one that takes long.
const GATHER_FOR: Duration = Duration::from_secs(1);
/// Store time between two looks for what failed a day ago.
const LOOK_FOR_FAILED_EVERY: Duration = Duration::from_secs(15 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The store was in trouble, not the objects.
const STORE_PAUSE: Duration = Duration::from_secs(1);

struct Runner {
    ctx: Context,
    running: JoinSet<Result<(), WorkerError>>,
    /// What each running piece of work was given.
    in_hand: BTreeMap<Id, InHand>,
    failed_looked_at: Option<Timestamp>,
}

/// A batch at work.
struct InHand {
    dues: Vec<Due>,
    since: Instant,
}

pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    ctx.store.release_all(ctx.id).await?;
    let (running, in_hand) = (JoinSet::new(), BTreeMap::new());
    let mut runner = Runner { ctx, running, in_hand, failed_looked_at: None };
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
            self.look_for_failed().await?;
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

    /// Whatever failed a day ago runs again.
    async fn look_for_failed(&mut self) -> Result<(), WorkerError> {
        let now = self.ctx.store.now();
        if self.failed_looked_at.is_some_and(|at| now.since(at) < LOOK_FOR_FAILED_EVERY) {
            return Ok(());
        }
        self.failed_looked_at = Some(now);
        trouble::run_failed_again(&self.ctx, None, now - DAY).await
    }

    /// Whether anything was claimed.
    async fn start_what_is_due(&mut self) -> Result<bool, WorkerError> {
        let in_hand: usize = self.in_hand.values().map(|batch| batch.dues.len()).sum();
        let claim = self.ctx.config.objects_at_a_time;
        let free = |places: usize| places.saturating_sub(in_hand);
        let places = free(BATCHES_IN_HAND * claim).min(claim);
        // Whoever is looked at one by one has no batch to stand beside.
        let beside = if claim > FEW { FEW } else { 0 };
        let urgent_beside = free(BATCHES_IN_HAND * claim + beside).min(beside);
        if places.max(urgent_beside) == 0 || self.ctx.places.available_permits() == 0 {
            return Ok(false);
        }
        let (urgent_at_work, at_work) = (self.gathering(|due| due.urgent), self.gathering(|_| true));
        let room = Room { places, urgent_beside, urgent_at_work: &urgent_at_work, at_work: &at_work };
        let dues = self.ctx.store.claim_due_beside(self.ctx.id, &room).await?;
        assert!(dues.len() <= places.max(urgent_beside), "claimed {} for {room:?}", dues.len());
        let any = !dues.is_empty();
        for (connection, batch) in batches(dues) {
            tracing::trace!(target: "lockstep::point", "due.claimed");
            self.spawn(connection, batch);
        }
        Ok(any)
    }

    /// The connections of which such work is in hand, behind which more of it gathers: a few people are read one by one and
    /// keep nobody waiting.
    fn gathering(&self, such: impl Fn(&Due) -> bool) -> Vec<ConnectionId> {
        let keeps = |batch: &&InHand| batch.dues.len() > FEW && batch.since.elapsed() < GATHER_FOR;
        let first = self.in_hand.values().filter(keeps).filter_map(|batch| batch.dues.first());
        first.filter(|due| such(due)).map(|due| due.connection).collect()
    }

    fn spawn(&mut self, connection: ConnectionId, dues: Vec<Due>) {
        let work = batch(self.ctx.clone(), connection, dues.clone());
        let id = self.running.spawn(work).id();
        self.in_hand.insert(id, InHand { dues, since: Instant::now() });
    }

    async fn end(&mut self, ended: Result<(Id, Result<(), WorkerError>), JoinError>) -> Result<(), WorkerError> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(broken) => broken.id(),
        };
        let Some(InHand { dues, .. }) = self.in_hand.remove(&id) else {
            return Ok(());
        };
        match ended {
            Ok((_, Ok(()))) => Ok(()),
            Ok((_, Err(failure @ WorkerError::Store(_)))) => {
                warn!(error = %chain(&failure), objects = dues.len(), "The store failed {} objects; they wait", dues.len());
                let again = self.ctx.store.now() + STORE_PAUSE;
                Ok(self.ctx.store.put_off(self.ctx.id, &dues, Some(again), &failure.to_string()).await?)
            }
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
            spend_attempt(&self.ctx, &due, class, why).await?;
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
        for InHand { dues, .. } in std::mem::take(&mut self.in_hand).into_values() {
            self.ctx.store.release(self.ctx.id, &dues).await?;
        }
        Ok(())
    }
}

/// By connection, and apart what is urgent: it does not wait for the rest (T14). Whatever was tried before without an end runs
/// alone, so that it can spoil nobody else's work (FA-24).
fn batches(dues: Vec<Due>) -> Vec<(ConnectionId, Vec<Due>)> {
    let mut shared: BTreeMap<(ConnectionId, bool), Vec<Due>> = BTreeMap::new();
    let mut alone = Vec::new();
    for due in dues {
        if due.attempts > 1 {
            alone.push((due.connection, vec![due]));
        } else {
            shared.entry((due.connection, due.urgent)).or_default().push(due);
        }
    }
    shared.into_iter().map(|((connection, _), dues)| (connection, dues)).chain(alone).collect()
}

async fn batch(ctx: Context, connection: ConnectionId, dues: Vec<Due>) -> Result<(), WorkerError> {
    let limit = ctx.store.timing().work_timeout;
    let span = tracing::debug_span!(
        target: TARGET,
        "look at objects",
        otel.status_code = Empty,
        connection.id = %connection,
        worker.id = %ctx.id,
        objects = dues.len() as i64,
        object.ids = id_list(dues.iter().map(|due| due.object)).as_str(),
    );
    let work = sync_people::run(&ctx, connection, dues);
    let ended = tokio::time::timeout(limit, work).instrument(span.clone()).await;
    let ended = ended.unwrap_or(Err(WorkerError::TimedOut { seconds: limit.as_secs() }));
    if ended.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    ended
}
