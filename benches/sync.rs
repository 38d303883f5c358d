//! A full sync: people a second and Graph requests, Graph answering after 50 ms.
//!
//! `cargo run --release -p lockstep-benches --bin sync [PEOPLE] [TENANT]`

use std::time::Duration;

use lockstep_core::record::Kind;
use lockstep_testkit::{RuleFor, World};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let people = arguments.next().unwrap_or(10_000_usize);
    let tenant = arguments.next().unwrap_or(people).max(people);
    let world = World::start().await;
    let (_, groups) = world.tenant.seed(tenant, people, &["Staff"]);
    world.simulator.set_latency(Duration::from_millis(50));
    let rule = RuleFor { group: groups[0], order: 10, kind: Kind::Employee, role: "Technician" };
    world.put_in_force(&[rule]).await;
    println!(
        "{:>12} {:>10} {:>10} {:>10} {:>10} {:>14} {:>12}",
        "sync", "people", "created", "seconds", "people/s", "Graph requests", "peak RSS"
    );
    for name in ["first", "again"] {
        let task = world.sync().await;
        let seconds = task.finished_at.map_or(0.0, |at| at.since(task.created_at).as_secs_f64());
        #[expect(clippy::cast_precision_loss)]
        let rate = task.progress.users as f64 / seconds;
        println!(
            "{name:>12} {:>10} {:>10} {seconds:>10.2} {rate:>10.0} {:>14} {:>12}",
            task.progress.users,
            task.progress.created,
            task.progress.graph_requests,
            peak_memory(),
        );
    }
    world.stop().await;
}

/// Of the whole process: the simulator with its tenant included.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
