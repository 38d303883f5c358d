//! T14: many failed events replayed at once, and what live changes notice of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lockstep_queue::Queue;
use lockstep_store::FailedFilter;
use lockstep_store::view::event::{EventFilter, EventStatus};
use uuid::Uuid;

use super::Report;
use super::throughput::{SETTLE_LATER, apply_rate};
use crate::error::{BenchError, During as _};
use crate::installation::Installation;
use crate::metric::{Goal, Metric};
use crate::place::Target;
use crate::serve::wait;
use crate::statistics::{number, percentile};

/// As the receiver takes at most.
const ITEMS: usize = 1_000;
const CLAIM: usize = 1_000;
/// Live changes measured before the replay.
const LIVE: usize = 100;
const FEWEST: usize = 40;
const CHANGED: &str = "Changed";
const PATIENCE: Duration = Duration::from_secs(3_600);
const LOOK_EVERY: Duration = Duration::from_millis(2);
const FAILED: &str = "Failed";

pub(crate) async fn run(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    let mut lockstep = Installation::start(target, SETTLE_LATER).await?;
    // A tenth more: whose events do not fail. Nobody is changed twice: who was read just now waits until what follows can
    // be read with it (TH-02).
    let more = (people / 10).max(FEWEST);
    let users = lockstep.employ(people + more).await?;
    let (failed, live) = users.split_at(people);
    let (waiting, live) = live.split_at(more / 2);
    let (first, later) = live.split_at(LIVE.min(live.len() / 2));
    lockstep.mute();
    lockstep.kill();
    let queue = lockstep.place.queue().await?;
    let (rate, _) = apply_rate(&mut lockstep, &queue, waiting, "Waited").await?;
    lockstep.rename(failed, FAILED)?;
    fail(&lockstep, failed).await?;
    lockstep.serve_roles(&["worker"]).await?;
    let lockstep = Arc::new(lockstep);
    let enough = Arc::new(AtomicBool::new(false));
    let mut alone = live_changes(&lockstep, &queue, first, || false).await?;
    let beside = tokio::spawn({
        let (lockstep, queue, live, enough) =
            (Arc::clone(&lockstep), queue.clone(), later.to_vec(), Arc::clone(&enough));
        async move { live_changes(&lockstep, &queue, &live, || enough.load(Ordering::Relaxed)).await }
    });
    let began = Instant::now();
    let begun = lockstep.store.replay_failed(&FailedFilter::default()).await.during("replaying failed events")?;
    while !is_decided(&lockstep).await? {
        wait(began, "the end of the replay", PATIENCE).await?;
    }
    let replayed = number(begun.len()) / began.elapsed().as_secs_f64();
    enough.store(true, Ordering::Relaxed);
    let mut beside = beside.await.during("changing people during a replay")??;
    if begun.len() != people {
        return Err(BenchError::Worthless(format!("{} of {people} failed events were replayed", begun.len())));
    }
    lockstep.nothing_lost(failed, FAILED).await?;
    let metric = Metric::of("T14", format!("replay of {people} failed events"), replayed, "events/s");
    report(metric.against("hints that wait (T6)", rate).goal(Goal::RatioAtLeast(0.9)));
    let (alone, beside) = (percentile(&mut alone, 0.99), percentile(&mut beside, 0.99));
    let metric = Metric::of("T14", "change → record during a replay, p99", beside, "ms");
    report(metric.against("without one", alone).goal(Goal::RatioAtMost(1.2)));
    Ok(())
}

/// One failed event about each of these people, by the way that all events go.
async fn fail(lockstep: &Installation, users: &[Uuid]) -> Result<(), BenchError> {
    const ATTEMPT: &str = "making events fail";
    let (store, worker) = (&lockstep.store, Uuid::now_v7());
    for some in users.chunks(ITEMS) {
        store.take_hints(&[lockstep.hint(some)]).await.during(ATTEMPT)?;
        let mut left = some.len();
        while left > 0 {
            let claimed = store.claim_due(worker, CLAIM).await.during(ATTEMPT)?;
            left = left.saturating_sub(claimed.len());
            for due in &claimed {
                store.fail_object(due, "made to fail by the measurement").await.during(ATTEMPT)?;
            }
        }
    }
    let failed = lockstep.ledger().await?.failed;
    if failed != users.len() as u64 {
        return Err(BenchError::Worthless(format!("{failed} of {} events failed", users.len())));
    }
    Ok(())
}

/// Not by counting all events, again and again, on the cores that work on them.
async fn is_decided(lockstep: &Installation) -> Result<bool, BenchError> {
    let failed = EventFilter { status: Some(EventStatus::Failed), limit: 1, ..EventFilter::default() };
    Ok(lockstep.store.list_events(&failed).await.during("looking for failed events")?.is_empty())
}

/// Changes one person after the other until told that it is enough; milliseconds of each.
async fn live_changes(
    lockstep: &Installation,
    queue: &Queue,
    users: &[Uuid],
    enough: impl Fn() -> bool,
) -> Result<Vec<f64>, BenchError> {
    let mut milliseconds = Vec::new();
    for user in users.iter().take_while(|_| !enough()) {
        let user = std::slice::from_ref(user);
        lockstep.rename(user, CHANGED)?;
        let began = Instant::now();
        lockstep.publish(queue, user).await?;
        while !lockstep.untitled(user, CHANGED).await?.is_empty() {
            if began.elapsed() > PATIENCE {
                return Err(BenchError::TooLate { what: "a live change".to_owned(), patience: PATIENCE });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        milliseconds.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(milliseconds)
}
