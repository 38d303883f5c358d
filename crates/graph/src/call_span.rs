//! The span of one request to Graph, as OpenTelemetry's conventions for HTTP clients have it. It says the template of the
//! address and never the address itself, which may hold a name, a filter or a token of a delta (G-27).

use lockstep_core::spans::TARGET;
use reqwest::Method;
use tracing::Span;
use tracing::field::Empty;
use uuid::Uuid;

use crate::call::{Call, RawAnswer};
use crate::cloud::GraphEndpoints;
use crate::error::GraphError;

pub(crate) fn begin(
    call: &'static Call,
    endpoints: &GraphEndpoints,
    method: &Method,
    client_request_id: Uuid,
    resend_count: u32,
) -> Span {
    tracing::debug_span!(
        target: TARGET,
        "Graph",
        otel.name = call.name,
        otel.kind = "client",
        otel.status_code = Empty,
        http.request.method = method.as_str(),
        http.request.resend_count = i64::from(resend_count),
        http.response.status_code = Empty,
        url.template = template(call),
        // The one of the settings: a link to elsewhere is refused, and its host is nothing to show.
        server.address = endpoints.graph().host_str(),
        "error.type" = Empty,
        client_request_id = %client_request_id,
    )
}

pub(crate) fn end(span: &Span, outcome: &Result<RawAnswer, GraphError>) {
    if span.is_disabled() {
        return;
    }
    match outcome {
        Ok(answer) => {
            span.record("http.response.status_code", i64::from(answer.status));
            // That somebody is gone is an answer like any other.
            if answer.status >= 400 && answer.status != 404 {
                span.record("error.type", answer.status.to_string().as_str());
                span.record("otel.status_code", "ERROR");
            }
        }
        Err(error) => {
            let reached = !matches!(error, GraphError::Unreachable { .. });
            span.record("error.type", if reached { "bad_answer" } else { "unreachable" });
            span.record("otel.status_code", "ERROR");
        }
    }
}

fn template(call: &Call) -> &'static str {
    call.name.split_once(' ').map_or(call.name, |(_, template)| template)
}
