//! Chains the audit entries (G-28), as the renewer that holds the lease, and tells the head of the chain to the log:
//! whoever keeps the log can show later that the chain was neither cut off nor made anew.

use std::time::{Duration, Instant};

use lockstep_store::{Lease, SealLook, StoreError};
use tracing::{info, warn};

use crate::context::Context;
use crate::error::WorkerError;

/// Entries are chained within 5 s.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Entries of a clock that is behind are older when they come; looking for them reads all of the last 15 min.
const LOOK_FAR_EVERY: Duration = Duration::from_secs(5);
/// Of the time, so much at most goes into looking far.
const FAR_SHARE: u32 = 20;
const EXPORT_EVERY: Duration = Duration::from_secs(5 * 60);

#[derive(Default)]
struct Sealer {
    /// When to look far again.
    far_at: Option<Instant>,
    exported: Option<Instant>,
}

pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    let mut sealer = Sealer::default();
    while !ctx.stopping() {
        match ctx.leading.lease() {
            Some(lease) => sealer.round(&ctx, lease).await?,
            // Whoever takes over begins with what the one before may have missed.
            None => sealer = Sealer::default(),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = ctx.stopped() => {}
        }
    }
    Ok(())
}

impl Sealer {
    async fn round(&mut self, ctx: &Context, lease: Lease) -> Result<(), WorkerError> {
        let began = Instant::now();
        let far = self.far_at.is_none_or(|at| at <= began);
        let look = if far { SealLook::Far } else { SealLook::Near };
        match seal(ctx, lease, look).await {
            // The lease is given back at the end.
            Err(WorkerError::Store(StoreError::Conflict { .. })) if ctx.stopping() => return Ok(()),
            Err(WorkerError::Store(StoreError::Conflict { .. })) => {
                warn!("The audit chain was not sealed: another process has taken over");
                ctx.leading.lost();
                return Ok(());
            }
            ended => ended?,
        }
        if far {
            self.far_at = Some(Instant::now() + LOOK_FAR_EVERY.max(began.elapsed() * FAR_SHARE));
        }
        if self.exported.is_none_or(|at| at.elapsed() >= EXPORT_EVERY) {
            export_head(ctx).await?;
            self.exported = Some(Instant::now());
        }
        Ok(())
    }
}

async fn seal(ctx: &Context, lease: Lease, look: SealLook) -> Result<(), WorkerError> {
    let mut oldest = Duration::ZERO;
    let mut next = Some(look);
    while let Some(look) = next.filter(|_| !ctx.stopping()) {
        let sealed = ctx.store.seal_audit(lease, look).await?;
        metrics::counter!("lockstep_audit_sealed_total").increment(sealed.entries);
        oldest = oldest.max(sealed.oldest);
        next = sealed.more_after.map(SealLook::After);
    }
    metrics::gauge!("lockstep_audit_unsealed_seconds").set(oldest.as_secs_f64());
    Ok(())
}

async fn export_head(ctx: &Context) -> Result<(), WorkerError> {
    if let Some(head) = ctx.store.audit_head().await? {
        let (entries, hash) = (head.entries, head.hash);
        info!(audit.entries = entries, audit.head = %hash, "Audit chain: {entries} entries, head {hash}");
    }
    Ok(())
}
