//! T1 and T3: durable ingest as a share of *bare*, at 1 and at 10 items a POST; then, on the same receiver, T2 and T15.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use lockstep_queue::Queue;

use super::{Report, answers, storm};
use crate::error::{BenchError, During as _};
use crate::fleet::Fleet;
use crate::ledger::{all_answered, drain, nothing_lost};
use crate::load::{self, Pace, Post, Seen};
use crate::metric::{Goal, Metric};
use crate::place::{Place, Target};
use crate::serve::Serve;
use crate::statistics::{median, percentile};
use crate::{bare, publish, sqlite};

pub(super) const CONNECTIONS: usize = 256;
const REPETITIONS: usize = 3;
/// Enough for any rate these cores reach, at 2,000 POSTs a second each.
const TENANTS: usize = 64;
/// A reduced message of one item, and of ten.
const MESSAGE_BYTES: usize = 260;
const ITEM_BYTES: usize = 115;

/// A receiver, and all that is needed to hold it to account.
pub(super) struct Stand {
    pub receiver: Serve,
    pub fleet: Fleet,
    pub queue: Queue,
    pub length: Duration,
    pub place: Place,
}

impl Stand {
    async fn build(target: &Target, length: Duration) -> Result<Self, BenchError> {
        let place = Place::make(target, "").await?;
        let fleet = Fleet::recruit(&place.store, TENANTS).await?;
        let receiver = Serve::start(&place, &["receiver"], None).await?;
        let queue = place.queue().await?;
        Ok(Self { receiver, fleet, queue, length, place })
    }

    /// T1 with a broker, T3 without.
    fn id(&self) -> &'static str {
        if self.place.has_broker() { "T1" } else { "T3" }
    }

    /// Load on the receiver; every answer is right, and what was accepted is durable.
    pub async fn load(&self, posts: &[Post], pace: Pace) -> Result<Seen, BenchError> {
        let seen = load::run(self.receiver.receiver, posts, CONNECTIONS, self.length, pace).await;
        all_answered(&seen)?;
        nothing_lost([&seen], &self.drained().await?)?;
        Ok(seen)
    }

    /// The numbers of the POSTs in the queue, which is empty afterwards.
    pub async fn drained(&self) -> Result<HashSet<u64>, BenchError> {
        Ok(drain(&self.queue).await?.numbers)
    }
}

pub(crate) async fn run(target: &Target, length: Duration, report: Report<'_>) -> Result<(), BenchError> {
    let mut stand = Stand::build(target, length).await?;
    let bare = bare::serve().await.during("starting the reference")?;
    let alone = throughput(&stand, bare, 1, report).await?;
    throughput(&stand, bare, 10, report).await?;
    answers::at_half_load(&stand, alone, report).await?;
    storm::run(&stand, alone, report).await?;
    if stand.place.has_broker() {
        answers::broker_away(&stand, alone, report).await?;
    }
    killed(&mut stand).await
}

/// The rate of ours.
async fn throughput(stand: &Stand, bare: SocketAddr, items: usize, report: Report<'_>) -> Result<f64, BenchError> {
    let posts = stand.fleet.posts(items);
    let (mut bares, mut raws, mut ours, mut shares, mut of_raw) = (vec![], vec![], vec![], vec![], vec![]);
    let mut milliseconds = Vec::new();
    for _ in 0..REPETITIONS {
        let reference = load::run(bare, &posts, CONNECTIONS, stand.length, Pace::Closed).await.rate();
        let bytes = MESSAGE_BYTES + (items - 1) * ITEM_BYTES;
        let raw = raw_rate(stand, bytes).await?;
        let seen = stand.load(&posts, Pace::Closed).await?;
        bares.push(reference);
        raws.push(raw);
        ours.push(seen.rate());
        shares.push(seen.rate() / reference);
        of_raw.push(seen.rate() / raw);
        milliseconds.extend(seen.milliseconds);
    }
    let (id, ours, per) = (stand.id(), median(&mut ours), if items == 1 { "1 item" } else { "10 items" });
    let goal = if stand.place.has_broker() && items == 1 { 0.40 } else { 0.45 };
    let what = format!("durable ingest, {per} a POST");
    report(
        Metric::of(id, &*what, ours, "POST/s")
            .share_of("bare", median(&mut bares), median(&mut shares))
            .goal(Goal::RatioAtLeast(goal))
            .limit(1.0),
    );
    let name = if stand.place.has_broker() { "publish" } else { "sqlite" };
    report(Metric::of(id, what, ours, "POST/s").share_of(name, median(&mut raws), median(&mut of_raw)));
    let p99 = percentile(&mut milliseconds, 0.99);
    report(Metric::of(id, format!("answer time at saturation, {per} a POST, p99"), p99, "ms"));
    Ok(ours)
}

/// What making such messages durable costs without a receiver.
async fn raw_rate(stand: &Stand, bytes: usize) -> Result<f64, BenchError> {
    if stand.place.has_broker() {
        publish::rate(&stand.place.queue_url, CONNECTIONS, bytes, stand.length).await
    } else {
        sqlite::rate(stand.place.folder(), CONNECTIONS, bytes, stand.length).await
    }
}

/// G-01: whatever was answered 202 is there after kill -9 in the middle of the load, again and again.
async fn killed(stand: &mut Stand) -> Result<(), BenchError> {
    let posts = stand.fleet.posts(1);
    let mut runs = Vec::new();
    for _ in 0..REPETITIONS {
        let address = stand.receiver.receiver;
        let half = stand.length / 2;
        let loading = tokio::spawn({
            let posts = posts.clone();
            async move { load::run(address, &posts, CONNECTIONS, half * 2, Pace::Closed).await }
        });
        tokio::time::sleep(half).await;
        stand.receiver.kill();
        runs.push(loading.await.during("loading a receiver that is killed")?);
        stand.receiver = Serve::start(&stand.place, &["receiver"], None).await?;
    }
    nothing_lost(&runs, &stand.drained().await?)
}
