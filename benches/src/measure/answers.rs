//! T2: how soon a sender is answered, at half of what the receiver can take and while the broker is away.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use url::Url;

use super::Report;
use super::ingest::{CONNECTIONS, Stand};
use crate::error::{BenchError, During as _};
use crate::ledger::{all_answered, nothing_lost};
use crate::load::{self, Pace, Post, Seen};
use crate::metric::{Goal, Metric};
use crate::relay::Relay;
use crate::serve::{Serve, wait};
use crate::statistics::percentile;

/// Between two looks whether the receiver has noticed.
const LOOK: Duration = Duration::from_millis(500);
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
const AMQP_PORT: u16 = 5672;

pub(super) async fn at_half_load(stand: &Stand, most: f64, report: Report<'_>) -> Result<(), BenchError> {
    let mut seen = stand.load(&stand.fleet.posts(1), Pace::Open(most / 2.0)).await?;
    let milliseconds = &mut seen.milliseconds;
    for (name, share, goal) in [("p99", 0.99, 10.0), ("p99.9", 0.999, 50.0)] {
        let what = format!("answer time at half load, {name}");
        let figure = percentile(milliseconds, share);
        report(Metric::of("T2", what, figure, "ms").goal(Goal::FigureAtMost(goal)));
    }
    Ok(())
}

/// FA-01: a receiver of its own behind a relay, which is cut under half load.
pub(super) async fn broker_away(stand: &Stand, most: f64, report: Report<'_>) -> Result<(), BenchError> {
    let mut url = Url::parse(&stand.place.queue_url).during("reading the queue URL")?;
    let mut relay = Relay::before(broker(&url)?).await?;
    let moved = url.set_ip_host(relay.address.ip()).and_then(|()| url.set_port(Some(relay.address.port())));
    if moved.is_err() {
        return Err(BenchError::Refused("the queue URL names no broker that a relay can stand before".to_owned()));
    }
    let receiver = Serve::start_on(&stand.place, url.as_str(), &["receiver"], None).await?;
    let (posts, pace) = (stand.fleet.posts(1), Pace::Open(most / 2.0));
    let load = |length| load_for(receiver.receiver, &posts, pace.clone(), length);
    let mut runs = vec![load(LOOK).await?];
    relay.cut().await;
    let began = Instant::now();
    while runs.last().is_none_or(|seen| !seen.accepted.is_empty()) {
        runs.push(load(LOOK).await?);
        wait(began, "a receiver that knows of its broker", NOTICED_WITHIN).await?;
    }
    let away = load(stand.length).await?;
    relay.restore().await?;
    let began = Instant::now();
    while runs.last().is_none_or(|seen| seen.accepted.is_empty()) {
        runs.push(load(LOOK).await?);
        wait(began, "a receiver that has its broker again", NOTICED_WITHIN).await?;
    }
    let back = began.elapsed();
    nothing_lost(&runs, &stand.drained().await?)?;
    let what = "longest answer while the broker is known to be away";
    report(Metric::of("T2", what, away.longest(), "ms").goal(Goal::FigureAtMost(1_000.0)));
    report(Metric::of("T2", "broker back → accepted again", back.as_secs_f64() * 1000.0, "ms").goal(
        // FA-01.
        Goal::FigureAtMost(10_000.0),
    ));
    Ok(())
}

async fn load_for(receiver: SocketAddr, posts: &[Post], pace: Pace, length: Duration) -> Result<Seen, BenchError> {
    let seen = load::run(receiver, posts, CONNECTIONS, length, pace).await;
    all_answered(&seen)?;
    Ok(seen)
}

fn broker(url: &Url) -> Result<SocketAddr, BenchError> {
    let host = url.host_str().unwrap_or_default();
    let found = (host, url.port().unwrap_or(AMQP_PORT)).to_socket_addrs().during("finding the broker")?.next();
    found.ok_or_else(|| BenchError::Refused("the queue URL names a host without an address".to_owned()))
}
