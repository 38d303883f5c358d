//! Longer work in steps: claims task rows, keeps their leases, tells what became of them.

use std::time::Duration;

use lockstep_core::ErrorClass;
use lockstep_core::retry::{RetryPolicy, Verdict};
use lockstep_core::spans::TARGET;
use lockstep_store::{Connection, Task, TaskKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinSet;
use tracing::field::Empty;
use tracing::{Instrument as _, error, info, warn};

use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::{daily_compare, delta, full_sync, list_group, managers, reevaluate, relist};
use crate::supervise::chain;
use crate::trouble::{self, chance};

/// Tasks of one process at a time: they page, and share Graph and the database with the due rows.
const AT_ONCE: usize = 2;
/// Places beside those for delta runs alone: no change may wait behind a long listing (G-16).
const DELTAS_AT_ONCE: usize = 2;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Leases last 15 s.
const EXTEND_EVERY: Duration = Duration::from_secs(5);

pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    let (mut listings, mut deltas) = (JoinSet::new(), JoinSet::new());
    while !ctx.stopping() {
        let woken = ctx.tasks.notified();
        tokio::pin!(woken);
        // Listen before looking.
        woken.as_mut().enable();
        let claimed = match (listings.len() < AT_ONCE, deltas.len() < DELTAS_AT_ONCE) {
            (true, true) => ctx.store.claim_task(ctx.id).await?,
            (false, true) => ctx.store.claim_delta_task(ctx.id).await?,
            (true, false) => ctx.store.claim_listing_task(ctx.id).await?,
            (false, false) => None,
        };
        if let Some(task) = claimed {
            tracing::trace!(target: "lockstep::point", "task.claimed");
            let among = if task.kind == TaskKind::Delta { &mut deltas } else { &mut listings };
            among.spawn(attend(ctx.clone(), task));
            continue;
        }
        tokio::select! {
            () = &mut woken => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            Some(ended) = listings.join_next(), if !listings.is_empty() => ended.unwrap_or(Ok(()))?,
            Some(ended) = deltas.join_next(), if !deltas.is_empty() => ended.unwrap_or(Ok(()))?,
            () = ctx.stopped() => {}
        }
    }
    // Each stops at its next page.
    for mut running in [listings, deltas] {
        while let Some(ended) = running.join_next().await {
            ended.unwrap_or(Ok(()))?;
        }
    }
    Ok(())
}

async fn attend(ctx: Context, task: Task) -> Result<(), WorkerError> {
    info!(task.id = %task.id, connection.id = %task.connection, attempts = task.attempts, "Task {} begins", task.id);
    let connection = ctx.store.lookup_connection(task.connection).await?;
    let span = tracing::debug_span!(
        target: TARGET,
        "run task",
        otel.status_code = Empty,
        kind = task.kind.as_str(),
        task.id = %task.id,
        connection.id = %task.connection,
        worker.id = %ctx.id,
        attempts = i64::from(task.attempts),
    );
    match leased(&ctx, &task).instrument(span.clone()).await {
        Ok(()) => {
            info!(task.id = %task.id, "Task {} is done", task.id);
            Ok(())
        }
        Err(failure) => {
            if !matches!(failure, WorkerError::Stopping) {
                span.record("otel.status_code", "ERROR");
            }
            failed(&ctx, &task, connection.as_ref(), &failure).await
        }
    }
}

/// Does the work in a task of its own, so that a breakdown is an error like any other, and keeps the lease meanwhile.
async fn leased(ctx: &Context, task: &Task) -> Result<(), WorkerError> {
    let mut work = tokio::spawn(work(ctx.clone(), task.clone()).in_current_span());
    loop {
        tokio::select! {
            ended = &mut work => {
                return ended.unwrap_or_else(|_| {
                    error!(task.id = %task.id, "Task {} broke down", task.id);
                    Err(WorkerError::BrokenDown)
                });
            }
            () = tokio::time::sleep(EXTEND_EVERY) => {
                if !ctx.store.extend_task(ctx.id, task).await? {
                    // Somebody else goes on with it from the last checkpoint.
                    work.abort();
                    return Ok(());
                }
            }
        }
    }
}

async fn work(ctx: Context, task: Task) -> Result<(), WorkerError> {
    match task.kind {
        TaskKind::FullSync => full_sync::run(&ctx, &task).await,
        TaskKind::ListGroup => list_group::run(&ctx, &task).await,
        TaskKind::Delta => delta::run(&ctx, &task).await,
        TaskKind::Relist => relist::run(&ctx, &task).await,
        TaskKind::DailyCompare => daily_compare::run(&ctx, &task).await,
        TaskKind::Reevaluate => reevaluate::run(&ctx, &task).await,
        TaskKind::Managers => managers::run(&ctx, &task).await,
    }
}

/// A task in trouble goes on from its checkpoint later; only faults of its own spend attempts for good. `connection` as it
/// was when the task began.
async fn failed(
    ctx: &Context,
    task: &Task,
    connection: Option<&Connection>,
    failure: &WorkerError,
) -> Result<(), WorkerError> {
    let now = ctx.store.now();
    if matches!(failure, WorkerError::Stopping) {
        return Ok(ctx.store.retry_task(task, now, "stopped in between").await?);
    }
    if failure.is_connection_wide() {
        let Some(connection) = connection else { return Ok(()) };
        let next_try_at = trouble::note(ctx, connection, failure).await?;
        return Ok(ctx.store.retry_task(task, next_try_at, &failure.to_string()).await?);
    }
    warn!(task.id = %task.id, error = %chain(failure), "Task {} failed", task.id);
    let class = match failure.class() {
        ErrorClass::Bug => ErrorClass::Transient { retry_after: None },
        class => class,
    };
    let verdict = RetryPolicy::default().verdict(class, task.attempts, chance());
    match if task.kind == TaskKind::Delta { never_late(verdict, ctx) } else { verdict } {
        Verdict::RetryIn(wait) => ctx.store.retry_task(task, now + wait, &failure.to_string()).await?,
        Verdict::Fail => {
            error!(task.id = %task.id, error = %chain(failure), "Gave up task {}", task.id);
            ctx.store.fail_task(task, &failure.to_string()).await?;
        }
    }
    Ok(())
}

/// A delta run is never given up, and never later than the next one would be.
fn never_late(verdict: Verdict, ctx: &Context) -> Verdict {
    let interval = ctx.store.timing().delta_interval;
    match verdict {
        Verdict::RetryIn(wait) => Verdict::RetryIn(wait.min(interval)),
        Verdict::Fail => Verdict::RetryIn(interval),
    }
}

/// The checkpoint of a task; a task that has none yet begins.
pub(crate) fn resume<T: Default + DeserializeOwned>(task: &Task) -> Result<T, WorkerError> {
    let empty = task.checkpoint.as_object().is_none_or(serde_json::Map::is_empty);
    if empty {
        return Ok(T::default());
    }
    serde_json::from_value(task.checkpoint.clone()).map_err(WorkerError::BadCheckpoint)
}

/// A checkpoint as the store keeps it.
pub(crate) fn checkpoint<T: Serialize>(checkpoint: &T) -> Result<Value, WorkerError> {
    serde_json::to_value(checkpoint).map_err(WorkerError::BadCheckpoint)
}
