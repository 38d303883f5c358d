//! Where counters and histograms of the whole process come together.

use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::failure::Failure;

/// Histograms must be folded now and then, scraped or not.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// From a commit on a good disk to the longest wait for a database.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Around `t_hint`, 10 s for 99 % and a minute at most, up to `t_missed`.
const LAG_SECONDS: [f64; 12] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0, 600.0];
const COUNTS: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];

/// One recorder a process: the metrics facade takes no second one.
pub(super) fn install() -> Result<PrometheusHandle, Failure> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = RECORDER.get() {
        return Ok(handle.clone());
    }
    let failed = |error| Failure::of("starting the metrics recorder", &error);
    let lag = Matcher::Full("lockstep_lag_seconds".to_owned());
    let counts = Matcher::Full("lockstep_queue_commit_messages".to_owned());
    let handle = PrometheusBuilder::new()
        .set_buckets(&SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(lag, &LAG_SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(counts, &COUNTS))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(failed)?;
    tokio::spawn(upkeep(handle.clone()));
    Ok(RECORDER.get_or_init(|| handle).clone())
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut tick = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tick.tick().await;
        metrics.run_upkeep();
    }
}
