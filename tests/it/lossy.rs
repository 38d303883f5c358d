//! A tenant whose notifications cannot be relied on (FA-22, FA-23, `t_missed`).
//! `LOCKSTEP_LOSSY_CHANGES=2000` plays the long form, `LOCKSTEP_LOSSY_SEED=N` another one.

use lockstep_simulator::Fault;

use crate::history::operation::{MOST_LAG_MS, Play};
use crate::history::stage::Stage;
use crate::history::{come_to_rest, conclude, live};

const CHANGES: u64 = 200;

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

async fn tell(faults: &[Fault]) {
    let changes = number("LOCKSTEP_LOSSY_CHANGES", CHANGES);
    let mut stage = Stage::set(number("LOCKSTEP_LOSSY_SEED", 1), Play::ChangesOnly).await;
    for fault in faults {
        stage.world.simulator.set_fault(fault.clone());
    }
    let ended = match live(&mut stage, changes, Play::ChangesOnly).await {
        Ok(()) => come_to_rest(&mut stage).await,
        wrong => wrong,
    };
    if let Err(wrong) = conclude(stage, ended).await {
        panic!("{wrong}");
    }
}

/// 30 % lost, 10 % doubled, the rest shuffled and late, every read up to 20 s behind: at no step had anyone lost access
/// whom no truth within the lag had removed, and all agree within `t_missed`.
#[tokio::test(flavor = "multi_thread")]
async fn a_lossy_tenant_is_right_within_t_missed_and_never_wrong() {
    let sent = || Fault::on("notifications");
    let faults = [
        Fault { probability: 0.3, drop: true, ..sent() },
        Fault { probability: 0.1, duplicate: true, ..sent() },
        Fault { reorder: true, hold_seconds: Some(60), hold_random: true, ..sent() },
        Fault { lag_ms: Some(MOST_LAG_MS), lag_random: true, ..Fault::default() },
    ];
    tell(&faults).await;
}

/// No notification at all, and stale reads: by delta alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_tenant_is_right_within_t_missed_by_delta_alone() {
    let faults = [
        Fault { drop: true, ..Fault::on("notifications") },
        Fault { lag_ms: Some(MOST_LAG_MS), lag_random: true, ..Fault::default() },
    ];
    tell(&faults).await;
}
