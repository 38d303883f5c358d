//! T6: how fast a worker goes through hints that wait, against what consuming, fetching and upserting alone would allow one
//! after the other.

use std::time::{Duration, Instant};

use lockstep_queue::Queue;
use uuid::Uuid;

use super::Report;
use crate::error::BenchError;
use crate::installation::Installation;
use crate::ledger::drain;
use crate::metric::{Goal, Metric};
use crate::place::Target;
use crate::serve::wait;
use crate::statistics::number;
use crate::{fetch, upsert};

/// Settling is counted apart (T5): here it would be other work at the same time.
pub(super) const SETTLE_LATER: &str = "settle = \"1h\"";
/// Looking counts all events: seldom enough to cost the worker next to nothing.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Of the time, at most one part in so many.
const LOOKS_TAKE_ONE_IN: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(3_600);
const TITLE: &str = "Overtaken";
const IN_TURN: &str = "consume, fetch and upsert in turn";
/// People handled one at a time: enough for a rate.
const ONE_BY_ONE: usize = 500;

pub(super) async fn run(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    let mut lockstep = Installation::start(target, SETTLE_LATER).await?;
    let users = lockstep.employ(people).await?;
    lockstep.mute();
    lockstep.kill();
    let queue = lockstep.place.queue().await?;
    let consume = consume_rate(&lockstep, &users).await?;
    let fetch = fetch::rate(&lockstep.simulator, &users).await?;
    let upsert = upsert::rate(&lockstep.place.reference_url(), people, upsert::BATCH).await?;
    let bound = 1.0 / (1.0 / consume + 1.0 / fetch + 1.0 / upsert);
    for (name, rate) in [("consume", consume), ("fetch", fetch), ("upsert", upsert)] {
        report(Metric::of("T6", format!("the reference {name} alone"), rate, "people/s"));
    }
    let rate = one_by_one(&lockstep, &users, consume).await?;
    let metric = Metric::of("T6", "the reference one person at a time", rate, "people/s");
    report(metric.against(IN_TURN, bound));
    let (rate, cpu) = apply_rate(&mut lockstep, &queue, &users, TITLE).await?;
    let metric = Metric::of("T6", "hints that wait → records", rate, "people/s");
    report(metric.against(IN_TURN, bound).goal(Goal::RatioAtLeast(0.7)).limit(1.0));
    let metric = Metric::of("T6", "processor time of an applied change", cpu, "µs");
    report(metric.goal(Goal::FigureAtMost(60.0)));
    Ok(())
}

/// What a worker without batches would reach at most: one person read, and one row upserted in a transaction of its own. The
/// messages are taken as fast as above.
async fn one_by_one(lockstep: &Installation, users: &[Uuid], consume: f64) -> Result<f64, BenchError> {
    let users = &users[..users.len().min(ONE_BY_ONE)];
    let fetch = fetch::rate_one_by_one(&lockstep.simulator, users).await?;
    let upsert = upsert::rate(&lockstep.place.reference_url(), users.len(), 1).await?;
    Ok(1.0 / (1.0 / consume + 1.0 / fetch + 1.0 / upsert))
}

/// Messages taken and acknowledged a second by somebody who does nothing with them.
async fn consume_rate(lockstep: &Installation, users: &[Uuid]) -> Result<f64, BenchError> {
    let queue = lockstep.place.queue().await?;
    lockstep.publish(&queue, users).await?;
    let drained = drain(&queue).await?;
    // Whoever consumes is sent what comes next, too.
    queue.close().await;
    if drained.messages < users.len() {
        return Err(BenchError::Worthless(format!("{} of {} messages came back", drained.messages, users.len())));
    }
    Ok(number(drained.messages) / drained.took.as_secs_f64())
}

/// Changes applied a second by one fresh worker, and its processor time for each in µs. It is killed at the end, and
/// everything is in the records all the same.
pub(super) async fn apply_rate(
    lockstep: &mut Installation,
    queue: &Queue,
    users: &[Uuid],
    title: &str,
) -> Result<(f64, f64), BenchError> {
    lockstep.rename(users, title)?;
    lockstep.publish(queue, users).await?;
    let before = lockstep.ledger().await?;
    lockstep.serve_roles(&["worker"]).await?;
    let began = Instant::now();
    let applied = before.applied + before.superseded + users.len() as u64;
    loop {
        let looked = Instant::now();
        let now = lockstep.ledger().await?;
        if now.applied + now.superseded >= applied {
            break;
        }
        tokio::time::sleep(LOOK_EVERY.max(looked.elapsed() * LOOKS_TAKE_ONE_IN)).await;
        wait(began, "the end of the hints", PATIENCE).await?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let cpu = lockstep.cost().cpu * 1_000_000.0 / number(users.len());
    lockstep.kill();
    lockstep.nothing_lost(users, title).await?;
    Ok((number(users.len()) / seconds, cpu))
}
