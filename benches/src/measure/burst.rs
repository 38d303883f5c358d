//! T5: what a burst costs of Graph. Everybody is renamed and notified twice; the reads that settle the hints later are
//! counted apart.

use std::time::Duration;

use lockstep_simulator::Fault;

use super::Report;
use crate::error::BenchError;
use crate::installation::Installation;
use crate::metric::{Goal, Metric};
use crate::place::Target;
use crate::statistics::number;

/// Sooner than the 60 s of an installation, so that the measurement is short; late enough to be told apart.
const SETTLE: Duration = Duration::from_secs(30);
const LATENCY: Duration = Duration::from_millis(50);
const TITLE: &str = "Renamed";

pub(super) async fn run(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    let lockstep = Installation::start(target, &format!("settle = \"{}s\"", SETTLE.as_secs())).await?;
    let users = lockstep.employ(people).await?;
    lockstep.subscribed_and_at_rest().await?;
    lockstep.simulator.set_latency(LATENCY);
    lockstep.simulator.set_fault(Fault {
        route: "notifications".to_owned(),
        probability: 1.0,
        duplicate: true,
        ..Fault::default()
    });
    lockstep.simulator.reset_counters();
    lockstep.rename(&users, TITLE)?;
    lockstep.all_titled(&users, TITLE).await?;
    graph_cost(&lockstep, "a burst", people, true, report);
    let peak = lockstep.peak_mib();
    report(Metric::of("T5", format!("memory of a burst of {people}, peak"), peak, "MiB"));
    lockstep.simulator.reset_counters();
    tokio::time::sleep(SETTLE).await;
    lockstep.at_rest().await?;
    graph_cost(&lockstep, "settling a burst", people, false, report);
    Ok(())
}

fn graph_cost(lockstep: &Installation, what: &str, people: usize, has_goal: bool, report: Report<'_>) {
    let counters = lockstep.simulator.counters();
    let sums = [(counters.total_requests, "requests", 0.01), (counters.total_units, "units", 0.07)];
    for (sum, unit, goal) in sums {
        #[expect(clippy::cast_precision_loss)]
        let each = sum as f64 / number(people);
        let metric = Metric::of("T5", format!("Graph in {what} of {people}, a changed person"), each, unit);
        report(if has_goal { metric.goal(Goal::FigureAtMost(goal)) } else { metric });
    }
}
