//! T5: what a burst costs of Graph. Everybody is renamed and notified twice; the reads that settle the hints later are
//! counted apart.
//!
//! `cargo build --release -p lockstep-cli -p lockstep-benches && target/release/burst [PEOPLE]`

use std::time::{Duration, Instant};

use lockstep_benches::installation::Installation;
use lockstep_simulator::{Counters, Fault};
use serde_json::json;
use uuid::Uuid;

/// Sooner than the 60 s of an installation, so that the measurement is short; late enough to be told apart.
const SETTLE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    let people = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let lockstep = Installation::start(&format!("settle = \"{}s\"", SETTLE.as_secs())).await;
    let (users, groups) = lockstep.simulator.tenant().seed(people, people, &["Staff"]);
    lockstep.map(&groups).await;
    lockstep.sync().await;
    lockstep.subscribed_and_at_rest().await;
    lockstep.simulator.set_latency(Duration::from_millis(50));
    lockstep.simulator.set_fault(Fault {
        route: "notifications".to_owned(),
        probability: 1.0,
        duplicate: true,
        ..Fault::default()
    });
    lockstep.simulator.reset_counters();
    let before = lockstep.cost();
    let began = Instant::now();
    for user in &users {
        lockstep.simulator.tenant().patch_user(*user, json!({"jobTitle": "Renamed"})).expect("they exist");
    }
    all_titled(&lockstep, &users, began).await;
    println!("{people} people renamed at once, each notified twice; Graph answers after 50 ms");
    println!(
        "{:>8} {:>9} {:>10} {:>7} {:>10} {:>9} {:>7} {:>9}",
        "", "requests", "a person", "units", "a person", "seconds", "CPU s", "peak MiB"
    );
    let settling = lockstep.simulator.counters();
    row("burst", people, &settling, began.elapsed(), &lockstep, before);
    println!("         {} notifications delivered", settling.notifications.delivered);
    lockstep.simulator.reset_counters();
    let (began, before) = (Instant::now(), lockstep.cost());
    tokio::time::sleep(SETTLE).await;
    lockstep.at_rest().await;
    row("settle", people, &lockstep.simulator.counters(), began.elapsed(), &lockstep, before);
    println!("{:?}", settling.requests);
}

async fn all_titled(lockstep: &Installation, users: &[Uuid], began: Instant) {
    for user in users {
        while lockstep
            .record(*user)
            .await
            .is_none_or(|record| record.fields.get("job_title") != Some(&json!("Renamed")))
        {
            lockstep.wait(began, "the change").await;
        }
    }
}

fn row(
    name: &str,
    people: usize,
    counters: &Counters,
    took: Duration,
    lockstep: &Installation,
    before: lockstep_benches::cost::Cost,
) {
    let cost = lockstep.cost().since(before);
    let (requests, units) = (counters.total_requests, counters.total_units);
    println!(
        "{name:>8} {requests:>9} {:>10.4} {units:>7} {:>10.4} {:>9.2} {:>7.2} {:>9.1}",
        requests as f64 / people as f64,
        units as f64 / people as f64,
        took.as_secs_f64(),
        cost.cpu,
        lockstep.peak_mib(),
    );
}
