//! A connection in trouble (C5): noted with its remedy, tried again by itself, never a reason to take access.

use std::time::Duration;

use lockstep_core::{ConnectionId, ErrorClass, Timestamp, retry};
use lockstep_graph::GraphError;
use lockstep_store::{Connection, ConnectionState, TaskKind, Trouble};
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::context::Context;
use crate::error::WorkerError;
use crate::supervise::chain;

/// A connection that comes and goes must not try the same objects each time.
const FAILED_BEFORE: Duration = Duration::from_secs(60);

/// A number from 0 up to 1, for jitter.
pub(crate) fn chance() -> f64 {
    // 53 bits are what a double holds exactly.
    (Uuid::new_v4().as_u128() as u64 >> 11) as f64 / (1_u64 << 53) as f64
}

/// Notes that the whole connection is in trouble; its work waits until the returned time. What a credential met that was
/// replaced meanwhile says nothing of the new one (C7).
pub(crate) async fn note(
    ctx: &Context,
    connection: &Connection,
    failure: &WorkerError,
) -> Result<Timestamp, WorkerError> {
    let current = ctx.store.lookup_connection(connection.id).await?;
    let Some(current) = current.filter(|current| current.credential_since == connection.credential_since) else {
        return Ok(ctx.store.now());
    };
    let class = failure.class();
    let next_try_at = ctx.store.now() + retry::connection_retry(current.failures.saturating_add(1), class);
    let state = match class {
        ErrorClass::Transient { .. } => ConnectionState::Degraded,
        ErrorClass::Permanent | ErrorClass::Bug => ConnectionState::NeedsAttention,
    };
    if state == ConnectionState::NeedsAttention {
        // The remedy may be a new secret: the next try must begin with what the store holds then.
        ctx.forget_client(connection.id);
        error!(connection.id = %connection.id, error = %chain(failure), "Connection {} needs attention", connection.id);
    } else {
        warn!(connection.id = %connection.id, error = %chain(failure), "Connection {} is degraded", connection.id);
    }
    let trouble =
        Trouble { state, reason: failure.to_string(), remedy: remedy(failure), next_try_at: Some(next_try_at) };
    ctx.store.note_connection_trouble(connection, &trouble).await?;
    Ok(next_try_at)
}

/// Notes that the connection answered; says so when it had been in trouble. After one that may have missed a round of the
/// delta everybody is compared; a short one is not to be answered with listings (C5).
pub(crate) async fn note_ok(ctx: &Context, connection: &Connection) -> Result<(), WorkerError> {
    if connection.state == ConnectionState::Active || connection.state == ConnectionState::Paused {
        return Ok(());
    }
    ctx.store.note_connection_ok(connection.id).await?;
    info!(connection.id = %connection.id, "Connection {} works", connection.id);
    let (now, timing) = (ctx.store.now(), ctx.store.timing());
    if connection.first_sync_at.is_some() && now.since(connection.since) >= timing.delta_interval {
        ctx.store.start_task(connection.id, TaskKind::DailyCompare, None, now + timing.settle).await?;
    }
    run_failed_again(ctx, Some(connection.id), now - FAILED_BEFORE).await
}

/// What was given up runs again: at a recovery, since the trouble may have been the reason, and daily.
pub(crate) async fn run_failed_again(
    ctx: &Context,
    connection: Option<ConnectionId>,
    failed_before: Timestamp,
) -> Result<(), WorkerError> {
    let events = ctx.store.rerun_failed(connection, failed_before).await?;
    if events > 0 {
        info!(events, "{events} failed events run again");
        ctx.due.notify_one();
    }
    Ok(())
}

fn remedy(failure: &WorkerError) -> String {
    match failure {
        WorkerError::Graph(error) => GraphError::operator_sentence(error),
        other => other.to_string(),
    }
}
