//! The wire: the only HTTP client, and the only place where a token is put on a request (G-26).

use std::error::Error as _;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, redirect, retry};
use serde_json::Value;
use tracing::Instrument as _;
use url::Url;
use uuid::Uuid;

use crate::call::{Call, RawAnswer, RetryAfter};
use crate::call_span;
use crate::cloud::GraphEndpoints;
use crate::error::{GraphError, LinkFault, Unreached};
use crate::token::AccessToken;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const TOTAL_LIMIT: Duration = Duration::from_secs(20);
/// 16 MiB after decompression (BI-32).
const LARGEST_BODY: usize = 16 * 1024 * 1024;
const USER_AGENT: &str = concat!("Lockstep/", env!("CARGO_PKG_VERSION"));

/// The only client of this crate: certificates verified by the system's roots (`SSL_CERT_FILE` is honoured), no
/// redirects (BI-41), no proxy from the environment (TH-14), no repeats (G-08).
#[allow(clippy::disallowed_methods, reason = "this is the place the ban points to")]
pub(crate) fn client() -> Result<reqwest::Client, GraphError> {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_LIMIT)
        .timeout(TOTAL_LIMIT)
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .no_proxy()
        .referer(false)
        // Answers may move to other addresses: do not outlive the DNS entry by much [BP].
        .pool_idle_timeout(Duration::from_secs(60))
        .build()
        .map_err(|_| GraphError::SettingRefused { which: "TLS setup", why: "no usable root certificates were found" })
}

/// Sends one request and reads its whole answer, whatever the status. `resend_count`: how often it went out before.
pub(crate) async fn exchange(
    client: &reqwest::Client,
    endpoints: &GraphEndpoints,
    call: &'static Call,
    request: &Outgoing<'_>,
    token: &AccessToken,
    resend_count: u32,
) -> Result<RawAnswer, GraphError> {
    let link_refused = |fault| GraphError::LinkRefused { call: call.name, fault };
    endpoints.admits(request.url).map_err(link_refused)?;
    let request_id = Uuid::new_v4();
    let mut headers = headers(call, request_id)?;
    headers.insert(AUTHORIZATION, token.header().ok_or_else(|| link_refused(LinkFault::Encoding))?);
    let mut building = client.request(request.method.clone(), request.url.clone());
    if let Some(body) = request.body {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        building = building.body(body.to_string());
    }
    let span = call_span::begin(call, endpoints, &request.method, request_id, resend_count);
    let answered = async {
        match building.headers(headers).send().await {
            Ok(response) => read(call, response).await,
            Err(error) => Err(GraphError::Unreachable { call: call.name, reason: reason(&error) }),
        }
    };
    let outcome = answered.instrument(span.clone()).await;
    call_span::end(&span, &outcome);
    count(call, &outcome);
    outcome
}

/// What is sent. The URL is checked against the endpoints when it goes out.
pub(crate) struct Outgoing<'a> {
    pub method: Method,
    pub url: &'a Url,
    pub body: Option<&'a Value>,
}

fn headers(call: &Call, request_id: Uuid) -> Result<HeaderMap, GraphError> {
    let request_id = request_id.to_string();
    tracing::trace!(call = call.name, client_request_id = request_id, "Calling Graph");
    let bad = |_| GraphError::BadAnswer { call: call.name, what: "a request id that is no header" };
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert("client-request-id", HeaderValue::from_str(&request_id).map_err(bad)?);
    headers.insert("x-ms-throttle-priority", HeaderValue::from_static(call.priority.header()));
    Ok(headers)
}

async fn read(call: &'static Call, response: Response) -> Result<RawAnswer, GraphError> {
    let status = response.status().as_u16();
    let retry_after = text_of(response.headers(), RETRY_AFTER.as_str()).and_then(RetryAfter::parse);
    let units = text_of(response.headers(), "x-ms-resource-unit").and_then(|units| units.parse().ok());
    metrics::counter!("lockstep_graph_units_total", "route" => call.name).increment(units.unwrap_or(0));
    let body = read_body(call, response).await?;
    Ok(RawAnswer { status, retry_after, body })
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

async fn read_body(call: &'static Call, mut response: Response) -> Result<Bytes, GraphError> {
    let bad = |what| GraphError::BadAnswer { call: call.name, what };
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > LARGEST_BODY => {
                return Err(bad("more than 16 MiB"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) if error.is_timeout() => {
                return Err(GraphError::Unreachable { call: call.name, reason: Unreached::TimedOut });
            }
            Err(_) => return Err(bad("a body that was cut off")),
        }
    }
}

/// The error's own text holds the address, so only its kind is kept (G-27).
fn reason(error: &reqwest::Error) -> Unreached {
    if error.is_timeout() {
        return Unreached::TimedOut;
    }
    if !error.is_connect() {
        return Unreached::Broken;
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.to_string().contains("certificate") {
            return Unreached::Certificate;
        }
        cause = inner.source();
    }
    Unreached::Connect
}

fn count(call: &Call, outcome: &Result<RawAnswer, GraphError>) {
    let status = match outcome {
        Ok(answer) => answer.status.to_string(),
        Err(GraphError::BadAnswer { .. }) => "bad".to_owned(),
        Err(_) => "none".to_owned(),
    };
    metrics::counter!("lockstep_graph_requests_total", "route" => call.name, "status" => status).increment(1);
}
