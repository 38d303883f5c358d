//! T15: half of what comes is garbage. The receiver limits what it rejects of one address (TH-04), and everybody here comes
//! from one.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Report;
use super::ingest::{CONNECTIONS, Stand};
use crate::error::BenchError;
use crate::ledger::{all_answered, nothing_lost};
use crate::load::{self, Pace, Post, Seen};
use crate::metric::{Goal, Metric};
use crate::statistics::number;

pub(super) async fn run(stand: &Stand, alone: f64, report: Report<'_>) -> Result<(), BenchError> {
    let (good, forged) = (stand.fleet.posts(1), stand.fleet.forged(1));
    let turns = Arc::new(Semaphore::new(0));
    let loud = |posts, pace| load::run(stand.receiver.receiver, posts, CONNECTIONS, stand.length, pace);
    let (kept, garbage) =
        tokio::join!(loud(&good, Pace::Leads(Arc::clone(&turns))), loud(&forged, Pace::Follows(turns)));
    all_answered(&kept)?;
    // Forged ones are answered 202 like good ones, but nothing of them is durable.
    nothing_lost([&kept], &stand.drained().await?)?;
    let share = number(garbage.answers()) / number(garbage.answers() + kept.answers()).max(1.0);
    let what = format!("good POSTs beside garbage ({:.0} % of all)", share * 100.0);
    report(Metric::of("T15", what, kept.rate(), "POST/s").against("alone", alone).goal(Goal::RatioAtLeast(0.9)));

    let accepted = cost_of_one(stand, &good).await?;
    let rejected = cost_of_one(stand, &forged).await?;
    stand.drained().await?;
    let what = "processor time of a rejected POST";
    report(Metric::of("T15", what, rejected, "µs").against("an accepted one", accepted).goal(Goal::RatioAtMost(0.5)));
    Ok(())
}

/// Of the receiver, µs.
async fn cost_of_one(stand: &Stand, posts: &[Post]) -> Result<f64, BenchError> {
    let before = stand.receiver.cost();
    let seen: Seen = load::run(stand.receiver.receiver, posts, CONNECTIONS, stand.length, Pace::Closed).await;
    let cost = stand.receiver.cost().since(before);
    Ok(cost.cpu * 1_000_000.0 / number(seen.answers()).max(1.0))
}
