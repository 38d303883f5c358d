//! Once a day every mapped group is compared, whatever notifications and deltas said.

use std::time::Duration;

use lockstep_core::ConnectionId;
use lockstep_store::{Task, TaskKind, Tx};

use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::full_sync;

const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Goes on with the task from its checkpoint.
pub(crate) async fn run(ctx: &Context, task: &Task) -> Result<(), WorkerError> {
    full_sync::run(ctx, task).await
}

/// The next one, a day after what was just compared; one that is owed sooner stays.
pub(crate) async fn owe(ctx: &Context, tx: &mut Tx, connection: ConnectionId) -> Result<(), WorkerError> {
    tx.start_task(connection, TaskKind::DailyCompare, None, ctx.store.now() + EVERY).await?;
    Ok(())
}
