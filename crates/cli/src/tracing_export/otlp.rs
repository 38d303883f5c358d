//! Sends spans by OTLP over HTTP. Nobody who works waits for it: spans go into a bounded queue, or are dropped when it is
//! full; a thread of the exporter takes them from there.

mod collector;

use std::time::Duration;

use axum::http::Uri;
use lockstep_core::spans::TARGET;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Layer, Registry};
use url::Url;
use uuid::Uuid;

use self::collector::Collector;
use super::{ENDPOINT, TRACES_ENDPOINT, variable};
use crate::failure::Failure;

/// For the last spans, when the process stops.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);
const SERVICE: &str = "lockstep";

/// Sends spans, if anybody asked for it.
pub struct TracingExport(Option<Exporter>);

struct Exporter {
    provider: SdkTracerProvider,
    /// For the log: without a path, which some services put a key into.
    collector: String,
}

impl TracingExport {
    /// Prepares what the environment asks for; no I/O. Endpoints are judged here, so that a wrong one is a refusal and no
    /// silence; everything else of OpenTelemetry's own variables (headers, sampler, queue) is read by its libraries.
    pub fn from_environment(roles: &str) -> Result<Self, Failure> {
        match endpoint(variable(TRACES_ENDPOINT), variable(ENDPOINT)).map_err(Failure::Usage)? {
            Some(endpoint) => Ok(Self(Some(Exporter::to(&endpoint, resource(roles))?))),
            None => Ok(Self(None)),
        }
    }

    /// Takes our spans and nothing else: those of the HTTP client that carries them would never end, and what other
    /// libraries say of themselves may hold addresses and names (G-27).
    pub fn layer(&self) -> Option<impl Layer<Registry> + Send + Sync + use<>> {
        let tracer = self.0.as_ref()?.provider.tracer(SERVICE);
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            // Nobody else speaks OpenTelemetry here.
            .with_context_activation(false);
        Some(layer.with_filter(Targets::new().with_target(TARGET, LevelFilter::DEBUG)))
    }

    pub fn announce(&self) {
        if let Some(Exporter { collector, .. }) = &self.0 {
            tracing::info!(collector, "Sending traces to {collector}");
        }
    }

    /// Sends what is left, as far as two seconds are enough.
    pub async fn end(self) {
        let Some(Exporter { provider, collector }) = self.0 else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_WITHIN)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!(collector, "The last traces did not reach {collector}");
        }
    }
}

impl Exporter {
    fn to(endpoint: &Url, resource: Resource) -> Result<Self, Failure> {
        let collector = endpoint.origin().ascii_serialization();
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::at(&collector)?)
            .with_endpoint(endpoint.as_str())
            .build()
            .map_err(|error| Failure::of("preparing to send traces", &error))?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self { provider, collector })
    }
}

/// `None`: nobody asked for traces. Otherwise where they go, or what is wrong with it.
fn endpoint(traces: Option<String>, all: Option<String>) -> Result<Option<Url>, String> {
    let (name, given) = match (traces, all) {
        (Some(traces), _) => (TRACES_ENDPOINT, traces),
        (None, Some(all)) => (ENDPOINT, format!("{}/v1/traces", all.trim_end_matches('/'))),
        (None, None) => return Ok(None),
    };
    // What the exporter would refuse it repeats, with whatever key is in it.
    let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.as_str().parse::<Uri>().is_ok();
    let url = Url::parse(&given).ok().filter(usable);
    let url = url.ok_or_else(|| format!("{name} is no http or https address, as of http://localhost:4318"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("{name} holds a user name: give OTEL_EXPORTER_OTLP_HEADERS=authorization=… instead"));
    }
    Ok(Some(url))
}

/// Who sends. What the environment says of it wins.
fn resource(roles: &str) -> Resource {
    let ours = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
        KeyValue::new("lockstep.roles", roles.to_owned()),
    ];
    let builder = Resource::builder_empty()
        .with_service_name(SERVICE)
        .with_attributes(ours)
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match variable("OTEL_SERVICE_NAME") {
        Some(name) => builder.with_service_name(name).build(),
        None => builder.build(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(traces: Option<&str>, all: Option<&str>) -> Result<Option<String>, String> {
        let own = |value: Option<&str>| value.map(str::to_owned);
        endpoint(own(traces), own(all)).map(|url| url.map(String::from))
    }

    #[test]
    fn the_endpoint_of_traces_wins_and_is_taken_as_it_is() {
        let all = Some("http://collector:4318/");
        assert_eq!(found(None, None), Ok(None));
        assert_eq!(found(None, all), Ok(Some("http://collector:4318/v1/traces".to_owned())));
        let own = Some("https://traces.example/key/otlp");
        assert_eq!(found(own, all), Ok(Some("https://traces.example/key/otlp".to_owned())));
    }

    #[test]
    fn an_endpoint_that_cannot_be_is_refused_by_its_variable_and_never_repeated() {
        let refused = |traces| found(traces, None).expect_err("refused");
        for wrong in ["localhost:4318", "grpc://collector:4317", "http://"] {
            assert!(refused(Some(wrong)).starts_with(TRACES_ENDPOINT), "{wrong}");
        }
        let secret = refused(Some("https://me:pw@traces.example"));
        assert!(!secret.contains("pw") && secret.contains("HEADERS"), "{secret}");
    }

    #[test]
    fn a_process_says_who_it_is_and_what_it_does() {
        let resource = resource("receiver");
        let of = |name: &'static str| resource.get(&opentelemetry::Key::new(name)).map(|value| value.to_string());
        assert_eq!(of("lockstep.roles").as_deref(), Some("receiver"));
        assert_eq!(of("service.name").as_deref(), Some(SERVICE));
        assert!(of("service.instance.id").is_some() && of("service.version").is_some());
    }
}
