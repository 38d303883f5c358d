//! What happens to a process per role when what it runs on dies, hangs or fills up, and when it dies itself.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::number;
use crate::plant::{
    ANSWERED_WITHIN, APPLIED_WITHIN, BACK_WITHIN, Plant, REFUSED_WITHIN, STOPPED_WITHIN, TAKEN_OVER_WITHIN,
    UNBLOCKED_WITHIN, WORKERS,
};
use crate::stand::Chance;
use crate::workbench::{SOON, blocking};

const RANDOM_KILLS: u64 = 6;

/// G-01, G-14, G-20, FA-01, FA-03, FA-07, FA-17, FA-18: kill -9 of everything there is, in turn.
#[tokio::test(flavor = "multi_thread")]
async fn services_g_01_everything_is_killed_in_turn_and_nothing_is_lost() {
    let (kills, seed) = (number("LOCKSTEP_PROVE_KILLS", RANDOM_KILLS), number("LOCKSTEP_PROVE_SEED", 1));
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let mut chance = Chance::seeded(seed);
        for turn in 0..kills {
            let span = Duration::from_millis(300 + chance.below(1_700));
            plant.change_for(span, &mut chance);
            plant.kill_in_turn(turn, &mut chance);
            if turn % 25 == 24 {
                plant.stand.balance();
            }
        }
        plant.stand.balance();
    })
    .await;
}

/// FA-02, FA-04: a broker that is silent or full; nothing is accepted that it did not confirm.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_02_04_a_silent_or_full_broker_is_a_quick_503_and_soon_over() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let runtime = Handle::current();
        plant.capture();

        plant.rabbit.freeze();
        plant.all_are_refused();
        plant.rabbit.thaw();
        plant.is_back_within(BACK_WITHIN);

        runtime.block_on(plant.rabbit.raise_disk_alarm());
        plant.all_are_refused();
        runtime.block_on(plant.rabbit.clear_disk_alarm());
        plant.is_back_within(UNBLOCKED_WITHIN);
        plant.changes(5);
        plant.stand.balance();
    })
    .await;
}

/// FA-01: a broker that is gone; the rest goes on.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_01_a_killed_broker_is_a_quick_503_and_soon_over() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let runtime = Handle::current();
        plant.capture();
        runtime.block_on(plant.rabbit.kill());
        plant.receiver_knows();
        let took = plant.all_are_refused();
        assert!(took < REFUSED_WITHIN, "FA-01: refused after {took:?}");
        plant.changes(5);
        plant.agrees_within("FA-01: delta finds the changes without a queue", SOON);
        runtime.block_on(plant.rabbit.start_again());
        plant.is_back_within(BACK_WITHIN);
        plant.changes(5);
        plant.stand.balance();
    })
    .await;
}

/// FA-07: without its database a receiver goes on accepting what it knows; afterwards it is applied.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_07_notifications_are_kept_while_the_database_is_down() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let runtime = Handle::current();
        plant.capture();
        runtime.block_on(plant.postgres.kill());
        let before = plant.stand.simulator.counters().notifications.delivered;
        plant.changes(5);
        for _ in 0..5 {
            let (status, took) = plant.post();
            assert!(status == 202 && took < ANSWERED_WITHIN, "{status} after {took:?}");
        }
        let delivered = || plant.stand.simulator.counters().notifications.delivered;
        let accepted = || if delivered() > before { Ok(()) } else { Err("none was".to_owned()) };
        plant.stand.wait_for("the tenant's own to be accepted", BACK_WITHIN, accepted);
        runtime.block_on(plant.postgres.start_again());
        plant.agrees_within("FA-07: applied after the database is back", APPLIED_WITHIN);
        plant.stand.balance();
    })
    .await;
}

/// FA-18, FA-33: a worker ends in the middle of its work, in bad order and in good order; another one does it.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_18_33_a_workers_work_is_taken_over() {
    const READ: Duration = Duration::from_secs(4);
    const LEASED: &str = "SELECT count(*) FROM due WHERE lease_owner IS NOT NULL
        AND lease_until > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let [first, second] = WORKERS;
        // What happens now is taken by the first, for there is no other; then it hangs in reading.
        plant.kill(second);
        plant.stand.simulator.set_latency(READ);
        plant.changes(5);
        let holds = || if plant.number(LEASED) > 0 { Ok(()) } else { Err("nothing is leased".to_owned()) };
        plant.stand.wait_for("the first to have work in hand", SOON, holds);
        plant.start(second);
        assert!(plant.number(LEASED) > 0 && plant.stand.agrees().is_err(), "it is still at work");
        plant.kill(first);
        plant.stand.simulator.set_latency(Duration::ZERO);
        plant.agrees_within("FA-18: taken over", TAKEN_OVER_WITHIN);
        plant.start(first);

        plant.stand.simulator.set_latency(READ / 4);
        plant.changes(12);
        let asked = Instant::now();
        assert_eq!(plant.serving[second].take().expect("it runs").terminate(), Some(0));
        assert!(asked.elapsed() < STOPPED_WITHIN, "FA-33: stopped after {:?}", asked.elapsed());
        plant.stand.simulator.set_latency(Duration::ZERO);
        plant.stand.balance();
    })
    .await;
}
