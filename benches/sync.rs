//! T8: a full sync with Graph answering after 50 ms, against what the pages alone would take one after the other.
//!
//! `cargo build --release -p lockstep-cli -p lockstep-benches && target/release/sync [PEOPLE] [TENANT] [GROUPS]`

use std::time::Duration;

use lockstep_benches::installation::Installation;

const LATENCY: Duration = Duration::from_millis(50);
/// What a page of members holds at most.
const PAGE: usize = 999;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let people = arguments.next().unwrap_or(10_000_usize);
    let tenant = arguments.next().unwrap_or(people).max(people);
    let groups = arguments.next().unwrap_or(1_usize).max(1);
    let lockstep = Installation::start("").await;
    let names: Vec<String> = (1..=groups).map(|number| format!("Group {number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (_, groups) = lockstep.simulator.tenant().seed(tenant, people, &names);
    lockstep.map(&groups).await;
    lockstep.simulator.set_latency(LATENCY);
    let pages = groups.len() * people.div_ceil(groups.len()).div_ceil(PAGE);
    let bound = LATENCY.as_secs_f64() * number(pages);
    println!("{people} people in {} groups, {tenant} in the tenant: {pages} pages, bound {bound:.2} s", groups.len());
    println!(
        "{:>6} {:>8} {:>8} {:>8} {:>9} {:>9} {:>8} {:>9} {:>9} {:>9}",
        "sync", "people", "created", "seconds", "of bound", "people/s", "CPU s", "requests", "peak MiB", "wrote MiB"
    );
    for name in ["first", "again"] {
        let before = lockstep.cost();
        let task = lockstep.sync().await;
        let cost = lockstep.cost().since(before);
        let seconds = task.finished_at.map_or(0.0, |at| at.since(task.created_at).as_secs_f64());
        println!(
            "{name:>6} {:>8} {:>8} {seconds:>8.2} {:>8.1}% {:>9.0} {:>8.2} {:>9} {:>9.1} {:>9.1}",
            task.progress.users,
            task.progress.created,
            bound / seconds * 100.0,
            task.progress.users as f64 / seconds,
            cost.cpu,
            task.progress.graph_requests,
            lockstep.peak_mib(),
            cost.written / 1024.0 / 1024.0,
        );
    }
}

#[expect(clippy::cast_precision_loss)]
fn number(count: usize) -> f64 {
    count as f64
}
