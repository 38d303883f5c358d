//! T4: from a notification to the committed record, Graph answering after 50 ms; and the same with no latency.
//!
//! `cargo run --release -p lockstep-benches --bin change [CHANGES]`

use std::time::{Duration, Instant};

use lockstep_benches::statistics::percentile;
use lockstep_core::record::Kind;
use lockstep_testkit::{RuleFor, World};
use serde_json::json;
use uuid::Uuid;

#[tokio::main]
async fn main() {
    let changes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200);
    let world = World::start().await;
    let (people, groups) = world.tenant.seed(changes, changes, &["Staff"]);
    world.map(&[RuleFor { group: groups[0], order: 10, kind: Kind::Employee, role: "Technician" }]).await;
    println!(
        "{:>16} {:>10} {:>10} {:>10}   of {changes} changes of one person each, one after the other",
        "Graph answers in", "p50 ms", "p90 ms", "p99 ms"
    );
    for latency in [0, 50] {
        world.simulator.set_latency(Duration::from_millis(latency));
        let mut milliseconds = Vec::new();
        for person in &people {
            let title = format!("Engineer at {latency} ms");
            world.tenant.patch_user(*person, json!({"jobTitle": title})).expect("they exist");
            let changed = Instant::now();
            titled(&world, *person, &title).await;
            milliseconds.push(changed.elapsed().as_secs_f64() * 1000.0);
        }
        println!(
            "{:>13} ms {:>10.1} {:>10.1} {:>10.1}",
            latency,
            percentile(&mut milliseconds, 0.5),
            percentile(&mut milliseconds, 0.9),
            percentile(&mut milliseconds, 0.99),
        );
        world.pass(Duration::from_secs(120)).await;
    }
    world.stop().await;
}

/// Waits until the record carries the title.
async fn titled(world: &World, person: Uuid, title: &str) {
    while world.record(person).await.is_none_or(|record| record.fields.get("job_title") != Some(&json!(title))) {
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}
