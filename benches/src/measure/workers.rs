//! T7: one, two and four workers. Each has one request about one person in flight, so that Graph's 50 ms are what each waits
//! for; and beside it whole processes without any wait, which share the cores.

use std::time::{Duration, Instant};

use lockstep_queue::Queue;
use lockstep_worker::{GraphSettings, Roles, RunningWorker, WorkerConfig};
use url::Url;
use uuid::Uuid;

use super::Report;
use super::throughput::SETTLE_LATER;
use crate::error::{BenchError, During as _};
use crate::installation::Installation;
use crate::metric::{Goal, Metric};
use crate::place::Target;
use crate::serve::{Serve, wait};
use crate::statistics::number;

const LATENCY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(3_600);
/// One after the other at 50 ms this takes 10 s.
const WAITING: usize = 200;
const MOST_BUSY: usize = 2_000;

pub(super) async fn run(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    let mut lockstep = Installation::start(target, SETTLE_LATER).await?;
    // Nobody is changed twice: who was read just now waits until what follows can be read with it (TH-02).
    let (few, many) = ((people / 6).clamp(1, WAITING), (people / 6).clamp(1, MOST_BUSY));
    let users = lockstep.employ(3 * (few + many)).await?;
    let (waiting, busy) = users.split_at(3 * few);
    lockstep.mute();
    lockstep.kill();
    let queue = lockstep.place.queue().await?;
    lockstep.simulator.set_latency(LATENCY);
    let mut one = 0.0;
    let counts = [(1, None), (2, Some(1.95)), (4, Some(3.8))];
    for ((workers, goal), users) in counts.into_iter().zip(waiting.chunks(few)) {
        let rate = waiting_rate(&lockstep, &queue, users, workers).await?;
        let metric = Metric::of("T7", format!("{workers} workers that wait for Graph"), rate, "people/s");
        one = if workers == 1 { rate } else { one };
        report(match goal {
            None => metric,
            Some(goal) => metric.against("one worker", one).goal(Goal::RatioAtLeast(goal)).limit(f64::from(workers)),
        });
    }
    lockstep.simulator.set_latency(Duration::ZERO);
    for (workers, users) in [1, 2, 4].into_iter().zip(busy.chunks(many)) {
        let rate = busy_rate(&lockstep, &queue, users, workers).await?;
        one = if workers == 1 { rate } else { one };
        let what = format!("{workers} workers as processes, nothing to wait for");
        report(Metric::of("T7", what, rate, "people/s").against("one worker", one));
    }
    Ok(())
}

/// No stale write: at the end everybody carries the last title.
async fn waiting_rate(lockstep: &Installation, queue: &Queue, users: &[Uuid], workers: u32) -> Result<f64, BenchError> {
    let title = format!("{workers} waiting");
    let graph = Url::parse(&lockstep.simulator.url()).during("reading the simulator's address")?;
    let config = WorkerConfig {
        graph: GraphSettings { graph_url: Some(graph.clone()), login_url: Some(graph) },
        places: 1,
        objects_at_a_time: 1,
        roles: Roles { worker: true, renewer: false },
        ..WorkerConfig::default()
    };
    let mut running: Vec<RunningWorker> = Vec::new();
    let waiting = Waiting::publish(lockstep, queue, users, &title).await?;
    // Not the one that publishes: whoever consumes is sent what comes next, too.
    let consuming = lockstep.place.queue().await?;
    for _ in 0..workers {
        let store = lockstep.place.another_store().await?;
        running.push(lockstep_worker::start(config.clone(), store, consuming.clone()));
    }
    let rate = waiting.rate().await;
    for worker in running {
        worker.stop().await;
    }
    consuming.close().await;
    rate
}

async fn busy_rate(lockstep: &Installation, queue: &Queue, users: &[Uuid], workers: usize) -> Result<f64, BenchError> {
    let title = format!("{workers} busy");
    let waiting = Waiting::publish(lockstep, queue, users, &title).await?;
    let mut processes = Vec::new();
    for _ in 0..workers {
        processes.push(Serve::start(&lockstep.place, &["worker"], Some(&lockstep.simulator)).await?);
    }
    waiting.rate().await
}

/// Hints that wait for workers.
struct Waiting<'a> {
    lockstep: &'a Installation,
    users: &'a [Uuid],
    title: &'a str,
    /// Events decided when all are.
    decided: u64,
}

impl<'a> Waiting<'a> {
    async fn publish(
        lockstep: &'a Installation,
        queue: &Queue,
        users: &'a [Uuid],
        title: &'a str,
    ) -> Result<Self, BenchError> {
        lockstep.rename(users, title)?;
        lockstep.publish(queue, users).await?;
        let before = lockstep.ledger().await?;
        let decided = before.applied + before.superseded + users.len() as u64;
        Ok(Self { lockstep, users, title, decided })
    }

    /// From the first that is decided on: how a worker starts is not measured here.
    async fn rate(self) -> Result<f64, BenchError> {
        let asked = Instant::now();
        let first = self.decided - self.users.len() as u64;
        let (mut began, mut done) = (asked, first);
        while done < self.decided {
            wait(asked, "the end of the hints", PATIENCE).await?;
            let now = self.lockstep.ledger().await?;
            done = now.applied + now.superseded;
            if done == first {
                began = Instant::now();
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        self.lockstep.nothing_lost(self.users, self.title).await?;
        Ok(number(self.users.len()) / seconds)
    }
}
