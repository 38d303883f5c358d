//! T4: from the notification that Microsoft sends to the committed record, one after the other and ten at once. What the
//! simulator takes until it sends is Microsoft's own.

use std::time::{Duration, Instant};

use lockstep_core::RecordId;
use uuid::Uuid;

use super::Report;
use crate::error::{BenchError, During as _};
use crate::installation::Installation;
use crate::metric::{Goal, Metric};
use crate::place::Target;
use crate::statistics::percentile;

const LATENCY: Duration = Duration::from_millis(50);
const LOOK_EVERY: Duration = Duration::from_micros(500);
const PATIENCE: Duration = Duration::from_secs(60);
const BURST: usize = 10;

pub(super) async fn run(target: &Target, changes: usize, report: Report<'_>) -> Result<(), BenchError> {
    let lockstep = Installation::start(target, "").await?;
    // Nobody is changed twice: who was read just now waits until what follows can be read with it (TH-02).
    let people = lockstep.employ(3 * changes).await?;
    let (first, rest) = people.split_at(changes);
    let (second, third) = rest.split_at(changes);
    lockstep.subscribed_and_at_rest().await?;
    let mut at_once = timed(&lockstep, first, 1, Duration::ZERO).await?;
    let p50 = percentile(&mut at_once, 0.5);
    report(Metric::of("T4", "notification → record, Graph answering at once, p50", p50, "ms"));
    let mut single = timed(&lockstep, second, 1, LATENCY).await?;
    for (name, share, goal) in [("p50", 0.5, 57.0), ("p99", 0.99, 100.0)] {
        let figure = percentile(&mut single, share);
        let metric = Metric::of("T4", format!("notification → record, Graph at 50 ms, {name}"), figure, "ms");
        report(metric.goal(Goal::FigureAtMost(goal)).limit(53.0));
    }
    let mut burst = timed(&lockstep, third, BURST, LATENCY).await?;
    let p99 = percentile(&mut burst, 0.99);
    report(Metric::of("T4", "ten changes at once, p99", p99, "ms").goal(Goal::FigureAtMost(1_000.0)));
    Ok(())
}

/// Milliseconds of each change, so many at a time.
async fn timed(
    lockstep: &Installation,
    people: &[Uuid],
    at_once: usize,
    latency: Duration,
) -> Result<Vec<f64>, BenchError> {
    lockstep.simulator.set_latency(latency);
    let title = format!("{at_once} at {latency:?}");
    let mut milliseconds = Vec::new();
    for some in people.chunks(at_once) {
        let mut left: Vec<RecordId> = lockstep.records(some).await?.into_values().map(|record| record.id).collect();
        let changed = Instant::now();
        lockstep.rename(some, &title)?;
        // Nothing is there before Graph has answered, and looking takes of the cores that are measured.
        tokio::time::sleep(latency).await;
        while !left.is_empty() {
            if changed.elapsed() > PATIENCE {
                return Err(BenchError::TooLate { what: "a change".to_owned(), patience: PATIENCE });
            }
            pause().await?;
            let mut still = Vec::new();
            for record in left {
                if lockstep.is_titled(record, &title).await? {
                    // Found by a delta round before anybody was notified: counted from the change.
                    let notified = lockstep.simulator.first_notified_since(changed).unwrap_or(changed);
                    milliseconds.push(notified.elapsed().as_secs_f64() * 1000.0);
                } else {
                    still.push(record);
                }
            }
            left = still;
        }
    }
    Ok(milliseconds)
}

/// Tokio's timer counts in milliseconds, which would show in the figure.
async fn pause() -> Result<(), BenchError> {
    tokio::task::spawn_blocking(|| std::thread::sleep(LOOK_EVERY)).await.during("waiting")
}
