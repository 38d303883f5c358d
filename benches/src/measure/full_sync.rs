//! T8: a full sync with Graph answering after 50 ms, against what the pages alone would take one after the other; its
//! memory at two sizes; and what is read again after kill -9 in the middle.

use std::time::{Duration, Instant};

use lockstep_store::TaskState;

use super::Report;
use crate::error::{BenchError, During as _};
use crate::installation::Installation;
use crate::metric::{Goal, Metric};
use crate::place::Target;
use crate::serve::wait;
use crate::statistics::number;

const LATENCY: Duration = Duration::from_millis(50);
/// What a page of members holds at most.
const PAGE: usize = 999;
const PATIENCE: Duration = Duration::from_secs(3_600);

pub(crate) async fn run(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    let small = (people / 10).max(1);
    let before = measure(target, small, report).await?;
    let peak = measure(target, people, report).await?;
    let what = format!("memory of a full sync of {people}, peak");
    report(Metric::of("T8", &*what, peak, "MiB").goal(Goal::FigureAtMost(64.0)));
    report(Metric::of("T8", what, peak, "MiB").against("a tenth of them", before).goal(Goal::RatioAtMost(1.05)));
    killed(target, small, report).await
}

/// The peak of memory in MiB.
async fn measure(target: &Target, people: usize, report: Report<'_>) -> Result<f64, BenchError> {
    let lockstep = Installation::start(target, "").await?;
    let (_, groups) = lockstep.simulator.tenant().seed(people, people, &["Staff"]);
    lockstep.map(&groups).await?;
    lockstep.simulator.set_latency(LATENCY);
    let bound = number(people) / (LATENCY.as_secs_f64() * number(people.div_ceil(PAGE)));
    let mut peak = 0.0;
    for which in ["first", "second"] {
        let before = lockstep.cost();
        let task = lockstep.sync().await?;
        let cost = lockstep.cost().since(before);
        let seconds = task.finished_at.map_or(f64::NAN, |at| at.since(task.created_at).as_secs_f64());
        let what = format!("{which} full sync of {people}, Graph at 50 ms");
        let metric = Metric::of("T8", &*what, number(people) / seconds, "people/s");
        report(metric.against("its pages alone", bound).goal(Goal::RatioAtLeast(0.97)).limit(1.0));
        let each = cost.cpu * 1_000_000.0 / number(people);
        report(Metric::of("T8", format!("{what}: processor time a person"), each, "µs"));
        peak = lockstep.peak_mib();
        // Managers are read after a sync.
        lockstep.at_rest().await?;
    }
    Ok(peak)
}

/// G-12: what was listed before kill -9 is not listed again.
async fn killed(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    let mut lockstep = Installation::start(target, "").await?;
    let (_, groups) = lockstep.simulator.tenant().seed(people, people, &["Staff"]);
    lockstep.map(&groups).await?;
    lockstep.simulator.set_latency(LATENCY);
    lockstep.simulator.reset_counters();
    let task = lockstep.store.start_full_sync(lockstep.connection.id).await.during("starting a sync")?;
    let (pages, began) = (people.div_ceil(PAGE), Instant::now());
    while pages_listed(&lockstep) < pages.div_ceil(2) {
        wait(began, "half of a sync", PATIENCE).await?;
    }
    lockstep.serve_roles(&[]).await?;
    loop {
        let view = lockstep.store.lookup_task(task).await.during("looking at the sync")?;
        if view.is_some_and(|view| view.state == TaskState::Done) {
            break;
        }
        wait(began, "the sync", PATIENCE).await?;
    }
    let active = lockstep.store.figures().await.during("counting records")?;
    let active: i64 = active.connections.iter().map(|connection| connection.active).sum();
    if usize::try_from(active).unwrap_or_default() != people {
        return Err(BenchError::Worthless(format!("{active} of {people} people have a record after the sync")));
    }
    let again = number(pages_listed(&lockstep).saturating_sub(pages));
    let what = "pages listed again after kill -9 in the middle of a full sync";
    report(Metric::of("T8", what, again, "pages").goal(Goal::FigureAtMost(1.0)));
    Ok(())
}

/// Of members, since the sync began.
fn pages_listed(lockstep: &Installation) -> usize {
    let counters = lockstep.simulator.counters();
    let listings = counters.requests.iter().filter(|(route, _)| route.contains("transitiveMembers"));
    listings.map(|(_, count)| usize::try_from(*count).unwrap_or(usize::MAX)).sum()
}
