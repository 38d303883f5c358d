//! Traces for an OpenTelemetry collector. Whether, where to and how many is said by the standard variables of OpenTelemetry,
//! and by nothing of ours; what sends them is in builds with the feature `otlp` only, since few want it.

#[cfg(not(feature = "otlp"))]
mod left_out;
#[cfg(feature = "otlp")]
mod otlp;

#[cfg(not(feature = "otlp"))]
pub use left_out::TracingExport;
#[cfg(feature = "otlp")]
pub use otlp::TracingExport;

/// Where traces go, in full.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/// Where everything goes; traces to `/v1/traces` below it.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A variable set to nothing counts as not set, as OpenTelemetry wants it.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
