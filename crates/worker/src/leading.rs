//! Which of several renewers works: whoever holds the lease (FA-20).
//!
//! What the lease protects is harmless when done twice, or checks the fence in its own transaction, so that a process
//! that was stopped for a while and does not know yet that another one took over does no damage.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lockstep_store::Lease;
use tracing::info;

use crate::context::Context;
use crate::error::WorkerError;

const NAME: &str = "renewer";
const LENGTH: Duration = Duration::from_secs(6);
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How soon a lease that was given back is taken by somebody else.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The lease of this process, if it has it.
#[derive(Default)]
pub(crate) struct Leading(Mutex<Option<Held>>);

#[derive(Clone, Copy)]
struct Held {
    lease: Lease,
    /// Before the store was asked: it cannot have run out before `LENGTH` after this.
    since: Instant,
}

impl Leading {
    /// The lease, while it is certainly ours by our own time.
    pub(crate) fn lease(&self) -> Option<Lease> {
        self.state().filter(|held| held.since.elapsed() < LENGTH).map(|held| held.lease)
    }

    /// It turned out that somebody else has it.
    pub(crate) fn lost(&self) {
        *self.state() = None;
    }

    fn is_fresh(&self) -> bool {
        self.state().is_some_and(|held| held.since.elapsed() < RENEW_EVERY)
    }

    /// The state is valid after every assignment, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, Option<Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the lease when it can be had, keeps it, and gives it back at the end.
pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    while !ctx.stopping() {
        if !ctx.leading.is_fresh() {
            take(&ctx).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = ctx.stopped() => {}
        }
    }
    let held = ctx.leading.lease();
    ctx.leading.lost();
    show(None);
    match held {
        Some(lease) => Ok(ctx.store.give_back_lease(lease).await?),
        None => Ok(()),
    }
}

async fn take(ctx: &Context) -> Result<(), WorkerError> {
    let led = ctx.leading.lease();
    let since = Instant::now();
    let lease = ctx.store.take_lease(NAME, ctx.id, LENGTH).await?;
    *ctx.leading.state() = lease.map(|lease| Held { lease, since });
    show(lease);
    match (led, lease) {
        (before, Some(lease)) if before.is_none_or(|before| before.fence != lease.fence) => {
            info!(fence = lease.fence, "This process is the renewer that works (fence {})", lease.fence);
            ctx.schedule.notify_one();
        }
        (Some(_), None) => info!("Another process is the renewer that works now"),
        _ => {}
    }
    Ok(())
}

fn show(lease: Option<Lease>) {
    metrics::gauge!("lockstep_lease_held", "lease" => NAME).set(if lease.is_some() { 1.0 } else { 0.0 });
    if let Some(lease) = lease {
        metrics::gauge!("lockstep_lease_fence", "lease" => NAME).set(lease.fence as f64);
    }
}
