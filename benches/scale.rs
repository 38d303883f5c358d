//! T13: what 100 changes cost in a small and in a large installation: the same, if cost follows the change.
//!
//! `cargo build --release -p lockstep-cli -p lockstep-benches && target/release/scale [SMALL] [LARGE]`

use std::time::{Duration, Instant};

use lockstep_benches::installation::Installation;
use lockstep_benches::statistics::median;
use serde_json::json;
use uuid::Uuid;

const CHANGES: usize = 100;
const REPETITIONS: usize = 3;
/// How long an installation at rest is watched.
const REST: Duration = Duration::from_secs(5);

/// Of the changes of one installation, medians of the repetitions.
struct Costs {
    seconds: f64,
    cpu: f64,
    read: f64,
    written: f64,
    requests: f64,
    idle_cpu: f64,
    peak: f64,
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|text| text.parse().ok());
    let small = arguments.next().unwrap_or(10_000_usize);
    let large = arguments.next().unwrap_or(100_000_usize);
    println!("{CHANGES} changes, one after the other, Graph answering at once; medians of {REPETITIONS}");
    println!(
        "{:>10} {:>9} {:>8} {:>10} {:>10} {:>9} {:>14} {:>9}",
        "people", "seconds", "CPU s", "read KiB", "wrote KiB", "requests", "at rest CPU s", "peak MiB"
    );
    let few = measure(small).await;
    show(&small.to_string(), &few, 1024.0);
    let many = measure(large).await;
    show(&large.to_string(), &many, 1024.0);
    let ratio = Costs {
        seconds: many.seconds / few.seconds,
        cpu: many.cpu / few.cpu,
        read: many.read / few.read,
        written: many.written / few.written,
        requests: many.requests / few.requests,
        idle_cpu: many.idle_cpu / few.idle_cpu,
        peak: many.peak / few.peak,
    };
    show("ratio", &ratio, 1.0);
}

async fn measure(people: usize) -> Costs {
    let lockstep = Installation::start("").await;
    let (users, groups) = lockstep.simulator.tenant().seed(people, people, &["Staff"]);
    lockstep.map(&groups).await;
    lockstep.sync().await;
    lockstep.subscribed_and_at_rest().await;
    let (mut seconds, mut cpu, mut read, mut written, mut requests) = (vec![], vec![], vec![], vec![], vec![]);
    // From all over the tenant: nobody's page is another's.
    let every = (people / (CHANGES * REPETITIONS)).max(1);
    let mut chosen = users.iter().copied().step_by(every);
    for _ in 0..REPETITIONS {
        let some: Vec<Uuid> = chosen.by_ref().take(CHANGES).collect();
        lockstep.simulator.reset_counters();
        let (began, before) = (Instant::now(), lockstep.cost());
        for user in some {
            change(&lockstep, user).await;
        }
        let cost = lockstep.cost().since(before);
        seconds.push(began.elapsed().as_secs_f64());
        cpu.push(cost.cpu);
        read.push(cost.read);
        written.push(cost.written);
        requests.push(lockstep.simulator.counters().total_requests as f64);
    }
    let before = lockstep.cost();
    tokio::time::sleep(REST).await;
    Costs {
        seconds: median(&mut seconds),
        cpu: median(&mut cpu),
        read: median(&mut read),
        written: median(&mut written),
        requests: median(&mut requests),
        idle_cpu: lockstep.cost().since(before).cpu,
        peak: lockstep.peak_mib(),
    }
}

async fn change(lockstep: &Installation, user: Uuid) {
    let began = Instant::now();
    lockstep.simulator.tenant().patch_user(user, json!({"jobTitle": "Changed"})).expect("they exist");
    while lockstep.record(user).await.is_none_or(|record| record.fields.get("job_title") != Some(&json!("Changed"))) {
        lockstep.wait(began, "the change").await;
    }
}

fn show(name: &str, costs: &Costs, bytes: f64) {
    println!(
        "{name:>10} {:>9.2} {:>8.2} {:>10.2} {:>10.2} {:>9.2} {:>14.2} {:>9.2}",
        costs.seconds,
        costs.cpu,
        costs.read / bytes,
        costs.written / bytes,
        costs.requests,
        costs.idle_cpu,
        costs.peak
    );
}
