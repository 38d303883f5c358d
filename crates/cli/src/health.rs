//! The admin listener of every process: `/healthz`, `/readyz`, `/metrics`. Never public.

mod exposition;
mod gauges;
mod readiness;
mod recorder;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lockstep_core::Timestamp;
use lockstep_queue::Queue;
use lockstep_store::Store;
use lockstep_worker::Pulse;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;

use self::gauges::InstallationGauges;
use crate::failure::Failure;

/// Longer than this, a part counts as away.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What this process does, and how to see whether it does it.
#[derive(Clone, Default)]
pub struct Parts {
    /// Where the receiver listens, if there is one here.
    pub receiver: Option<SocketAddr>,
    /// The heartbeat of the worker's loops, if there are any here.
    pub worker: Option<Pulse>,
    /// The same of the renewer's.
    pub renewer: Option<Pulse>,
}

/// What health is judged by.
pub struct Health {
    store: Store,
    queue: Queue,
    parts: Parts,
    started_at: Timestamp,
    /// One at a time, so that many who ask cost the store no more than one.
    installation: Mutex<InstallationGauges>,
}

/// Bound, but not answering yet: an address that is taken is known before anything else is started.
pub struct HealthAddress {
    pub addr: SocketAddr,
    listener: TcpListener,
    metrics: PrometheusHandle,
}

/// The listener at work.
pub struct HealthListener {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl HealthAddress {
    /// Binds, and begins to keep metrics.
    pub async fn bind(bind: SocketAddr) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::of(format!("listening on {bind} for health and metrics (LOCKSTEP_ADMIN_BIND)"), &error)
        };
        let listener = TcpListener::bind(bind).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { addr, listener, metrics: recorder::install()? })
    }

    /// Answers until [`HealthListener::stop`].
    pub fn serve(self, store: Store, queue: Queue, parts: Parts) -> HealthListener {
        let started_at = store.now();
        let installation = Mutex::new(InstallationGauges::default());
        let health = Arc::new(Health { store, queue, parts, started_at, installation });
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render_metrics))
            .with_state((health, self.metrics));
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(async move {
            let serve = axum::serve(self.listener, routes).with_graceful_shutdown(async {
                let _ = stopped.await;
            });
            if let Err(error) = serve.await {
                tracing::error!(error = %error, "The admin listener ended");
            }
        });
        HealthListener { stop, serving }
    }
}

impl HealthListener {
    /// Answers open requests, then ends.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(ANSWER_WITHIN, self.serving).await;
    }
}

type Shared = State<(Arc<Health>, PrometheusHandle)>;

async fn readyz(State((health, _)): Shared) -> Response {
    let readiness = health.judge().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn render_metrics(State((health, metrics)): Shared) -> Response {
    let text = health.exposition().await + &metrics.render();
    ([("content-type", "text/plain; version=0.0.4")], text).into_response()
}
