//! FA-10 on disks that are full: nothing more fits, whatever the server was writing just then. Only root may mount such disks;
//! for others these tests say so and pass.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::plant::{ANSWERED_WITHIN, Plant};
use crate::workbench::{SOON, blocking};

/// FA-10: 30 s, and `t_hint` (10 s).
const WRITABLE_AGAIN_WITHIN: Duration = Duration::from_secs(40);
const LASTS: Duration = Duration::from_secs(6);

impl Plant {
    /// Sends a POST of our own again and again; how many were kept.
    fn go_on_until(&self, over: impl Fn(&Self) -> bool) -> i64 {
        let (mut kept, end) = (0, Instant::now() + SOON);
        while !over(self) {
            assert!(Instant::now() < end, "not within {SOON:?}");
            let (status, took) = self.post();
            assert!((status == 202 || status == 503) && took < ANSWERED_WITHIN, "{status} after {took:?}");
            kept += i64::from(status == 202);
            std::thread::sleep(Duration::from_millis(50));
        }
        kept
    }

    /// All agrees, and whatever was kept is an event (G-05), ours included.
    fn nothing_is_lost(&self, ours: i64) {
        self.stand.balance();
        let theirs = i64::try_from(self.stand.simulator.counters().notifications.delivered).unwrap();
        let events = self.number("SELECT count(*) FROM event");
        assert!(events >= ours + theirs, "G-01: {events} events of {} accepted", ours + theirs);
    }
}

/// The database cannot extend a file or its log any more; PostgreSQL may end over it. What fits into the pages it has is written
/// still, so that some hints are taken and read: how often Microsoft is asked is counted where nothing is written at all.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_10_a_full_disk_of_the_database_loses_nothing() {
    let Some(mut plant) = Plant::build_on_small_disks().await else { return };
    blocking(move || {
        plant.capture();
        plant.postgres.fill_disk();
        let full = |plant: &Plant| plant.postgres.log().contains("No space left on device");
        plant.changes(20);
        let mut kept = plant.go_on_until(full);
        let until = Instant::now() + LASTS;
        plant.changes(5);
        kept += plant.go_on_until(|_| Instant::now() > until);
        Handle::current().block_on(plant.postgres.clear_disk());
        plant.agrees_within("FA-10: applied once the disk has room", WRITABLE_AGAIN_WITHIN);
        plant.nothing_is_lost(kept);
    })
    .await;
}

/// FA-04: RabbitMQ sees that its disk runs full, takes nothing more, and goes on by itself when there is room.
///
/// When the disk is full before it looks, its log of quorum queues fails, and it keeps nothing any more until somebody starts it
/// anew (3.10.8); Lockstep goes on by itself then.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_10_a_full_disk_of_the_broker_is_503_and_loses_nothing() {
    const BACK_WITHIN: Duration = Duration::from_secs(30);
    let Some(mut plant) = Plant::build_on_small_disks().await else { return };
    blocking(move || {
        let runtime = Handle::current();
        let refused = |plant: &Plant| (0..5).all(|_| plant.post().0 == 503);
        plant.capture();
        plant.rabbit.fill_disk_nearly();
        let mut kept = plant.go_on_until(refused);
        plant.rabbit.clear_disk();
        plant.is_back_within(BACK_WITHIN);

        plant.rabbit.fill_disk();
        kept += plant.go_on_until(refused);
        let until = Instant::now() + LASTS;
        kept += plant.go_on_until(|_| Instant::now() > until);
        plant.rabbit.clear_disk();
        runtime.block_on(plant.rabbit.kill());
        runtime.block_on(plant.rabbit.start_again());
        plant.is_back_within(BACK_WITHIN);
        plant.changes(5);
        plant.nothing_is_lost(kept);
    })
    .await;
}
