//! What is due by the clock: subscriptions, connections that are tried again, delta runs, gaps, sweeping. Of several
//! processes the one with the lease does it; two at once would be harmless.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_core::spans::TARGET;
use lockstep_core::{ConnectionId, Timestamp};
use lockstep_store::{Connection, ConnectionState, DeltaRound, TaskKind};
use tracing::{Instrument as _, info, warn};

use crate::clients::check_tenant;
use crate::context::Context;
use crate::credential_watch::CredentialWatch;
use crate::error::WorkerError;
use crate::jobs::subscriptions::{self, Kept};
use crate::jobs::tell_of_holds;
use crate::supervise::chain;
use crate::trouble;

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Gaps that keep coming (somebody else's subscription, forged items) must not become full syncs without end.
const GAP_SYNC_EVERY: Duration = Duration::from_secs(15 * 60);
/// A delta run costs little when nothing changed.
const GAP_DELTA_EVERY: Duration = Duration::from_secs(30);
/// Each run owes the next one; so often it is looked whether that chain broke.
const CHAIN_EVERY: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A notification address that Microsoft cannot reach is tried again so often.
const ADDRESS_EVERY: Duration = Duration::from_secs(30);
/// A hold alarms within a minute.
const HOLDS_EVERY: Duration = Duration::from_secs(15);
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

#[derive(Default)]
struct Schedule {
    credentials: CredentialWatch,
    gap_seen: BTreeMap<ConnectionId, Timestamp>,
    chain_seen: BTreeMap<ConnectionId, Timestamp>,
    in_trouble: BTreeSet<ConnectionId>,
    stale: BTreeSet<ConnectionId>,
    subscribe_after: BTreeMap<ConnectionId, Timestamp>,
    holds_seen: Option<Timestamp>,
    swept: Option<Timestamp>,
}

pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    let mut schedule = Schedule::default();
    while !ctx.stopping() {
        let woken = ctx.schedule.notified();
        tokio::pin!(woken);
        // Listen before looking.
        woken.as_mut().enable();
        if ctx.leading.lease().is_some() {
            schedule.round(&ctx).await?;
        }
        tokio::select! {
            () = &mut woken => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = ctx.stopped() => {}
        }
    }
    Ok(())
}

impl Schedule {
    async fn round(&mut self, ctx: &Context) -> Result<(), WorkerError> {
        for connection in ctx.store.list_connections().await? {
            self.look_after(ctx, &connection).await?;
        }
        self.tell_of_holds(ctx).await?;
        self.sweep(ctx).await
    }

    async fn look_after(&mut self, ctx: &Context, connection: &Connection) -> Result<(), WorkerError> {
        let now = ctx.store.now();
        self.credentials.look(connection, now);
        self.note_staleness(ctx, connection, now);
        let in_trouble = matches!(connection.state, ConnectionState::Degraded | ConnectionState::NeedsAttention);
        if in_trouble {
            self.in_trouble.insert(connection.id);
        }
        let waits = connection.next_try_at.is_some_and(|at| at > now);
        if connection.rules_version == 0 || waits {
            return Ok(());
        }
        if connection.state == ConnectionState::Paused {
            // A pause stops the work, not the notifications: they are taken and wait.
            return match connection.first_sync_at {
                Some(_) => self.subscribe(ctx, connection, now).await,
                None => Ok(()),
            };
        }
        if in_trouble && !try_again(ctx, connection).await? {
            return Ok(());
        }
        if self.in_trouble.remove(&connection.id) {
            // Whatever changed meanwhile is asked for at once (t_back).
            hasten_delta(ctx, connection, now).await?;
        }
        self.close_gap(ctx, connection, now).await?;
        self.keep_asking(ctx, connection, now).await?;
        // The first sync creates them itself, before it lists: nothing falls in between.
        if connection.first_sync_at.is_some() {
            self.subscribe(ctx, connection, now).await?;
        }
        Ok(())
    }

    /// A gap is closed by a delta run that begins now; without links that work, by a full sync.
    async fn close_gap(&mut self, ctx: &Context, connection: &Connection, now: Timestamp) -> Result<(), WorkerError> {
        if connection.gap_since.is_none() {
            return Ok(());
        }
        let works = links_work(ctx, connection.id).await?;
        let every = if works { GAP_DELTA_EVERY } else { GAP_SYNC_EVERY };
        if self.gap_seen.get(&connection.id).is_some_and(|at| now.since(*at) < every) {
            return Ok(());
        }
        self.gap_seen.insert(connection.id, now);
        let kind = if works { TaskKind::Delta } else { TaskKind::FullSync };
        let task = ctx.store.start_task(connection.id, kind, None, now).await?;
        info!(connection.id = %connection.id, task.id = %task, kind = ?kind, "Closing a gap of connection {}", connection.id);
        Ok(())
    }

    /// Delta runs and the daily comparison go on by themselves; this is for whatever broke the chain.
    async fn keep_asking(&mut self, ctx: &Context, connection: &Connection, now: Timestamp) -> Result<(), WorkerError> {
        let lately = self.chain_seen.get(&connection.id).is_some_and(|at| now.since(*at) < CHAIN_EVERY);
        let owes = |kind| ctx.store.owes_task(connection.id, kind);
        // A full sync owes both when it ends.
        if lately || connection.first_sync_at.is_none() || owes(TaskKind::FullSync).await? {
            return Ok(());
        }
        self.chain_seen.insert(connection.id, now);
        if !owes(TaskKind::Delta).await? {
            ctx.store.start_task(connection.id, TaskKind::Delta, None, now).await?;
        }
        if !owes(TaskKind::DailyCompare).await? {
            ctx.store.start_task(connection.id, TaskKind::DailyCompare, None, now + DAY).await?;
        }
        Ok(())
    }

    /// G-21: what is shown may be older than `t_missed`.
    fn note_staleness(&mut self, ctx: &Context, connection: &Connection, now: Timestamp) {
        let stale = connection.is_stale(now, ctx.store.timing());
        let id = connection.id;
        if !stale {
            self.stale.remove(&id);
        } else if self.stale.insert(id) {
            warn!(connection.id = %id, "Connection {id} is stale: no delta run was complete lately");
        }
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
                ctx.schedule.notify_one();
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

    async fn tell_of_holds(&mut self, ctx: &Context) -> Result<(), WorkerError> {
        let now = ctx.store.now();
        if self.holds_seen.is_none_or(|at| now.since(at) >= HOLDS_EVERY) {
            tell_of_holds::run(ctx).await?;
            self.holds_seen = Some(now);
        }
        Ok(())
    }

    async fn sweep(&mut self, ctx: &Context) -> Result<(), WorkerError> {
        let now = ctx.store.now();
        if self.swept.is_none_or(|at| now.since(at) >= SWEEP_EVERY) {
            ctx.store.sweep_old(now).instrument(tracing::debug_span!(target: TARGET, "sweep")).await?;
            self.swept = Some(now);
        }
        Ok(())
    }
}

async fn hasten_delta(ctx: &Context, connection: &Connection, now: Timestamp) -> Result<(), WorkerError> {
    if connection.first_sync_at.is_some() {
        ctx.store.start_task(connection.id, TaskKind::Delta, None, now).await?;
    }
    Ok(())
}

/// Whether every delta round has a link that Graph still knows.
async fn links_work(ctx: &Context, connection: ConnectionId) -> Result<bool, WorkerError> {
    let states = ctx.store.delta_states(connection).await?;
    let works = states.iter().filter(|state| state.expired_at.is_none()).count();
    Ok(works == DeltaRound::ALL.len())
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
    let span = tracing::debug_span!(target: TARGET, "try connection again", connection.id = %connection.id);
    match tried.instrument(span).await {
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
