//! T13: what 100 changes cost in a small and in a large installation: the same, if cost follows the change. And T11, how
//! soon the large one accepts after a start.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Report, footprint};
use crate::error::BenchError;
use crate::fleet::Fleet;
use crate::installation::Installation;
use crate::metric::{Goal, Metric};
use crate::place::Target;
use crate::statistics::{median, number};

const CHANGES: usize = 100;
const REPETITIONS: usize = 3;
/// How long an installation at rest is watched.
const REST: Duration = Duration::from_secs(5);
/// Both sizes at most this many times apart.
const APART: usize = 100;
const SMALLEST: usize = 10_000;

/// Of the changes of one installation, medians of the repetitions.
struct Costs {
    seconds: f64,
    cpu: f64,
    read: f64,
    written: f64,
    requests: f64,
    /// Requests that fell into the same time and would have come without any change.
    by_the_clock: f64,
    idle_cpu: f64,
}

pub(super) async fn run(target: &Target, large: usize, report: Report<'_>) -> Result<(), BenchError> {
    let small = SMALLEST.min(large / 10).max(large / APART).max(1);
    let (few, _) = measure(target, small).await?;
    let (many, mut lockstep) = measure(target, large).await?;
    let rows = [
        ("time", "s", few.seconds, many.seconds),
        ("processor time", "s", few.cpu, many.cpu),
        ("bytes read", "KiB", few.read / 1024.0, many.read / 1024.0),
        ("bytes written", "KiB", few.written / 1024.0, many.written / 1024.0),
        ("Graph requests", "requests", few.requests, many.requests),
    ];
    for (what, unit, few, many) in rows {
        let metric = Metric::of("T13", format!("{what} of {CHANGES} changes among {large} people"), many, unit);
        report(metric.against("fewer people", few).goal(Goal::RatioAtMost(1.1)));
    }
    let what = format!("Graph requests by the clock, among {large} people, meanwhile");
    let beside = Metric::of("T13", what, many.by_the_clock, "requests");
    report(beside.against("fewer people", few.by_the_clock));
    let idle = Metric::of("T13", format!("processor time of 5 s at rest with {large} people"), many.idle_cpu, "s");
    report(idle.against("fewer people", few.idle_cpu));
    lockstep.kill();
    let fleet = Fleet::recruit(&lockstep.place.store, 1).await?;
    let first = footprint::first_accepted(&lockstep.place, &fleet).await?;
    let metric = Metric::of("T11", format!("start → first 202 with {large} people"), first, "ms");
    report(metric.goal(Goal::FigureAtMost(50.0)));
    Ok(())
}

async fn measure(target: &Target, people: usize) -> Result<(Costs, Installation), BenchError> {
    let lockstep = Installation::start(target, "").await?;
    let users = lockstep.employ(people).await?;
    lockstep.subscribed_and_at_rest().await?;
    let (mut seconds, mut cpu, mut read, mut written) = (vec![], vec![], vec![], vec![]);
    let (mut requests, mut by_the_clock) = (vec![], vec![]);
    // From all over the tenant: nobody's page is another's.
    let changes = CHANGES.min(people / REPETITIONS);
    let every = people / (changes * REPETITIONS).max(1);
    let mut chosen = users.iter().copied().step_by(every.max(1));
    for _ in 0..REPETITIONS {
        let some: Vec<Uuid> = chosen.by_ref().take(changes).collect();
        lockstep.simulator.reset_counters();
        let (began, before) = (Instant::now(), lockstep.cost());
        for user in some {
            lockstep.rename(&[user], "Changed")?;
            lockstep.all_titled(&[user], "Changed").await?;
        }
        let cost = lockstep.cost().since(before);
        seconds.push(began.elapsed().as_secs_f64());
        cpu.push(cost.cpu);
        read.push(cost.read);
        written.push(cost.written);
        let asked = lockstep.asked();
        requests.push(number(asked.about_people));
        by_the_clock.push(number(asked.by_the_clock));
    }
    let before = lockstep.cost();
    tokio::time::sleep(REST).await;
    let costs = Costs {
        seconds: median(&mut seconds),
        cpu: median(&mut cpu),
        read: median(&mut read),
        written: median(&mut written),
        requests: median(&mut requests),
        by_the_clock: median(&mut by_the_clock),
        idle_cpu: lockstep.cost().since(before).cpu,
    };
    Ok((costs, lockstep))
}
