//! The HTTP client of the exporter, and the one who tells of a collector that does not answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use reqwest::redirect;
use tokio::runtime::Handle;

use crate::failure::Failure;

/// The default of OpenTelemetry.
const TOTAL_LIMIT: Duration = Duration::from_secs(10);
/// A collector may be away for days; its traces are not worth a log of their own.
const TELL_EVERY: Duration = Duration::from_secs(10 * 60);

/// Carries spans to the collector.
#[derive(Debug)]
pub(super) struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    /// For the log.
    address: String,
    told_at: Mutex<Option<Instant>>,
}

impl Collector {
    #[expect(
        clippy::disallowed_methods,
        reason = "the collector is the operator's own choice, and gets no Graph token"
    )]
    pub(super) fn at(address: &str) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .timeout(TOTAL_LIMIT)
            // The headers may hold a key.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Failure::of("preparing to send traces", &error))?;
        Ok(Self { http, runtime: Handle::current(), address: address.to_owned(), told_at: Mutex::default() })
    }

    fn tell(&self, what: &str) {
        let now = Instant::now();
        let mut told_at = self.told_at.lock().unwrap_or_else(PoisonError::into_inner);
        if told_at.is_none_or(|at| now.duration_since(at) >= TELL_EVERY) {
            *told_at = Some(now);
            let address = &self.address;
            tracing::warn!(collector = address, "Traces are lost: {address} {what}; the work goes on without them");
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// The exporter's thread has no runtime: the request runs on ours, that thread alone waits for it.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let answer = self.runtime.spawn(async move { http.send_bytes(request).await }).await?;
        match &answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.tell(&format!("answered {}", answer.status().as_u16())),
            Err(_) => self.tell("did not answer"),
        }
        answer
    }
}
