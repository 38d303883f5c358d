//! Shows that this process is alive, and keeps its leases.

use std::time::Duration;

use crate::context::Context;
use crate::error::WorkerError;

const BEAT: Duration = Duration::from_secs(2);
/// Leases last 15 s: two extensions may fail before somebody else takes over (FA-18).
const BEATS_PER_EXTENSION: u32 = 2;

pub(crate) async fn run(ctx: Context) -> Result<(), WorkerError> {
    let role = if ctx.config.roles.worker { "worker" } else { "renewer" };
    for beat in 0_u32.. {
        ctx.store.beat(ctx.id, role).await?;
        ctx.pulse.beat();
        if ctx.config.roles.worker && beat % BEATS_PER_EXTENSION == 0 {
            ctx.store.extend_leases(ctx.id).await?;
        }
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            () = ctx.stopped() => break,
        }
    }
    Ok(())
}
