//! What is due by the clock: subscriptions, connections that are tried again, gaps, sweeping. Two at once are harmless.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_core::{ConnectionId, Timestamp};
use lockstep_store::{Connection, ConnectionState};
use tracing::{info, warn};

use crate::clients::check_tenant;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::subscriptions::{self, Kept};
use crate::supervise::chain;
use crate::trouble;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Gaps that keep coming (somebody else's subscription, forged items) must not become full syncs without end.
const GAP_EVERY: Duration = Duration::from_secs(15 * 60);
/// A notification address that Microsoft cannot reach is tried again so often.
const ADDRESS_EVERY: Duration = Duration::from_secs(30);
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

#[derive(Default)]
struct Schedule {
    gap_synced: BTreeMap<ConnectionId, Timestamp>,
    subscribe_after: BTreeMap<ConnectionId, Timestamp>,
    swept: Option<Timestamp>,
}

pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    let mut schedule = Schedule::default();
    while !ctx.stopping() {
        let woken = ctx.schedule.notified();
        tokio::pin!(woken);
        // Listen before looking.
        woken.as_mut().enable();
        for connection in ctx.store.list_connections().await? {
            schedule.look_after(&ctx, &connection).await?;
        }
        schedule.sweep(&ctx).await?;
        tokio::select! {
            () = &mut woken => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = ctx.stopped() => {}
        }
    }
    Ok(())
}

impl Schedule {
    async fn look_after(&mut self, ctx: &Context, connection: &Connection) -> Result<(), WorkerError> {
        let now = ctx.store.now();
        let waits = connection.next_try_at.is_some_and(|at| at > now);
        if connection.state == ConnectionState::Paused || connection.rules_version == 0 || waits {
            return Ok(());
        }
        if matches!(connection.state, ConnectionState::Degraded | ConnectionState::NeedsAttention)
            && !try_again(ctx, connection).await?
        {
            return Ok(());
        }
        self.close_gap(ctx, connection, now).await?;
        // The first sync creates them itself, before it lists: nothing falls in between.
        if connection.first_sync_at.is_some() {
            self.subscribe(ctx, connection, now).await?;
        }
        Ok(())
    }

    /// Until delta rounds exist, a gap is closed by a full sync.
    async fn close_gap(&mut self, ctx: &Context, connection: &Connection, now: Timestamp) -> Result<(), WorkerError> {
        let lately = self.gap_synced.get(&connection.id).is_some_and(|at| now.since(*at) < GAP_EVERY);
        if connection.gap_since.is_none() || lately {
            return Ok(());
        }
        self.gap_synced.insert(connection.id, now);
        let task = ctx.store.start_full_sync(connection.id).await?;
        info!(connection.id = %connection.id, task.id = %task, "Closing a gap of connection {} by a full sync", connection.id);
        Ok(())
    }

    async fn subscribe(&mut self, ctx: &Context, connection: &Connection, now: Timestamp) -> Result<(), WorkerError> {
        if ctx.config.public_url.is_none() || self.subscribe_after.get(&connection.id).is_some_and(|at| *at > now) {
            return Ok(());
        }
        match keep(ctx, connection).await {
            Ok(Kept { created: false }) => Ok(()),
            Ok(Kept { created: true }) => {
                // Changes before it were not notified.
                ctx.store.mark_gap(connection.id).await?;
                ctx.store.start_full_sync(connection.id).await?;
                Ok(())
            }
            Err(failure) if failure.is_connection_wide() => trouble::note(ctx, connection, &failure).await.map(drop),
            Err(failure) => {
                warn!(connection.id = %connection.id, error = %chain(&failure), "Connection {} has no complete set of subscriptions", connection.id);
                self.subscribe_after.insert(connection.id, now + ADDRESS_EVERY);
                Ok(())
            }
        }
    }

    async fn sweep(&mut self, ctx: &Context) -> Result<(), WorkerError> {
        let now = ctx.store.now();
        if self.swept.is_none_or(|at| now.since(at) >= SWEEP_EVERY) {
            ctx.store.sweep_old(now).await?;
            self.swept = Some(now);
        }
        Ok(())
    }
}

async fn keep(ctx: &Context, connection: &Connection) -> Result<Kept, WorkerError> {
    let client = ctx.client(connection).await?;
    subscriptions::keep(ctx, connection, &client).await
}

/// Whether a connection in trouble answers again. Its work goes on by itself then.
async fn try_again(ctx: &Context, connection: &Connection) -> Result<bool, WorkerError> {
    let tried = async {
        let client = ctx.client(connection).await?;
        check_tenant(&client, connection).await
    };
    match tried.await {
        Ok(()) => {
            trouble::note_ok(ctx, connection).await?;
            ctx.due.notify_one();
            Ok(true)
        }
        Err(failure) if matches!(failure, WorkerError::Store(_)) => Err(failure),
        Err(failure) => {
            trouble::note(ctx, connection, &failure).await?;
            Ok(false)
        }
    }
}
