//! The admin listener of every process: `/healthz`, `/readyz`, `/metrics`. Never public.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lockstep_queue::{Depth, Queue};
use lockstep_store::{Connection, ConnectionState, Store};
use metrics::gauge;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::failure::Failure;

/// A worker beats every 2 s; one that was silent for this long does not live.
const WORKER_ALIVE: Duration = Duration::from_secs(10);
/// Longer than this, a part counts as away.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Histograms must be folded now and then, scraped or not.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What health is judged by.
#[derive(Clone)]
pub struct Health {
    pub store: Store,
    pub queue: Queue,
    /// Loops of the roles worker or renewer belong to this process.
    pub expects_worker: bool,
}

/// The listener at work.
pub struct HealthListener {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

/// `/readyz`: each part by itself, so that an operator sees which one it is.
#[derive(Serialize)]
struct Readiness {
    store: &'static str,
    queue: &'static str,
    worker: &'static str,
    /// G-21: `stale` when some connection's last complete delta run is older than `t_missed`. It works all the same, so
    /// that this makes nobody unready.
    connections: &'static str,
}

impl HealthListener {
    /// Binds and serves until [`HealthListener::stop`].
    pub async fn start(bind: SocketAddr, health: Health) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::of(format!("listening on {bind} for health and metrics (LOCKSTEP_ADMIN_BIND)"), &error)
        };
        let listener = TcpListener::bind(bind).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let metrics = recorder()?;
        tokio::spawn(upkeep(metrics.clone()));
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render_metrics))
            .with_state((health, metrics));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let serve = axum::serve(listener, routes).with_graceful_shutdown(async {
                let _ = stopped.await;
            });
            if let Err(error) = serve.await {
                tracing::error!(error = %error, "The admin listener ended");
            }
        });
        Ok(Self { addr, stop, serving })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers open requests, then ends.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(ANSWER_WITHIN, self.serving).await;
    }
}

/// One recorder a process: the metrics facade takes no second one.
fn recorder() -> Result<PrometheusHandle, Failure> {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = RECORDER.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| Failure::of("starting the metrics recorder", &error))?;
    Ok(RECORDER.get_or_init(|| handle).clone())
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut tick = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tick.tick().await;
        metrics.run_upkeep();
    }
}

type Shared = State<(Health, PrometheusHandle)>;

async fn readyz(State((health, _)): Shared) -> Response {
    let (ready, readiness) = health.judge().await;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn render_metrics(State((health, metrics)): Shared) -> Response {
    if let Some(depth) = health.queue_depth().await {
        let age = depth.oldest.map_or(Duration::ZERO, |oldest| health.store.now().since(oldest));
        gauge!("lockstep_queue_messages").set(depth.messages as f64);
        gauge!("lockstep_queue_oldest_seconds").set(age.as_secs_f64());
    }
    ([("content-type", "text/plain; version=0.0.4")], metrics.render()).into_response()
}

impl Health {
    async fn judge(&self) -> (bool, Readiness) {
        let alive = tokio::time::timeout(ANSWER_WITHIN, self.store.workers_alive(WORKER_ALIVE)).await;
        let store = matches!(alive, Ok(Ok(_)));
        let worker = !self.expects_worker || matches!(alive, Ok(Ok(alive)) if alive > 0);
        let queue = self.queue_depth().await.is_some();
        let connections = if self.any_stale().await { "stale" } else { "fresh" };
        let word = |up: bool| if up { "up" } else { "down" };
        let readiness = Readiness {
            store: word(store),
            queue: word(queue),
            worker: if self.expects_worker { word(worker) } else { "not here" },
            connections,
        };
        (store && worker && queue, readiness)
    }

    async fn any_stale(&self) -> bool {
        let Ok(Ok(connections)) = tokio::time::timeout(ANSWER_WITHIN, self.store.list_connections()).await else {
            return false;
        };
        let (now, timing) = (self.store.now(), self.store.timing());
        let runs = |connection: &&Connection| connection.state != ConnectionState::Paused;
        connections.iter().filter(runs).any(|connection| connection.is_stale(now, timing))
    }

    async fn queue_depth(&self) -> Option<Depth> {
        tokio::time::timeout(ANSWER_WITHIN, self.queue.depth()).await.ok()?.ok()
    }
}
