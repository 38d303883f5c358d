//! Answers of Graph: what was found, or an error in Graph's form.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::clock::timestamp;

/// An answer before it becomes an HTTP response or a part of a batch.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Json(Value),
    Html(String),
    /// Says it is JSON, and is whatever this is.
    Raw(String),
    Empty,
}

impl Answer {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, headers: Vec::new(), body: Body::Json(body) }
    }

    pub fn created(body: Value) -> Self {
        Self { status: 201, ..Self::ok(body) }
    }

    pub fn no_content() -> Self {
        Self { status: 204, headers: Vec::new(), body: Body::Empty }
    }

    /// What a proxy in front of Graph says when Graph does not answer.
    pub fn html(status: u16) -> Self {
        let body = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>");
        Self { status, headers: Vec::new(), body: Body::Html(body) }
    }

    pub fn with_header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// The ids that appear in every error and answer.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub request_id: Uuid,
    /// As the client sent it; the request id if it sent none.
    pub client_request_id: String,
    /// Simulated now, microseconds.
    pub now: i64,
}

/// An error of Graph, in the cases of `graph-samples/errors-graph.json`.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    status: u16,
    code: &'static str,
    message: String,
    headers: Vec<(&'static str, String)>,
    /// The throttling answer says more in `innerError` than the others.
    inner: Option<Value>,
}

impl Failure {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new(), inner: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "Request_BadRequest", message)
    }

    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(400, "Request_UnsupportedQuery", message)
    }

    pub fn not_found(id: impl std::fmt::Display) -> Self {
        let message =
            format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present.");
        Self::new(404, "Request_ResourceNotFound", message)
    }

    pub fn denied() -> Self {
        Self::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    }

    pub fn no_token() -> Self {
        Self::new(401, "InvalidAuthenticationToken", "Access token is empty.")
    }

    pub fn expired_token() -> Self {
        Self::new(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.")
    }

    /// The app's service principal is gone from the tenant.
    pub fn identity_not_found() -> Self {
        Self::new(
            401,
            "Authorization_IdentityNotFound",
            "The identity of the calling application could not be established.",
        )
    }

    pub fn invalid_token() -> Self {
        Self::new(401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience.")
    }

    pub fn throttled(scope: &str) -> Self {
        let mut failure = Self::new(429, "TooManyRequests", "Please retry again later.")
            .with_header("x-ms-throttle-scope", scope)
            .with_header("x-ms-throttle-information", "ResourceUnitLimitExceeded");
        failure.inner = Some(json!({"code": "429", "message": "Please retry after", "status": "429"}));
        failure
    }

    pub fn unavailable() -> Self {
        Self::new(503, "serviceNotAvailable", "The service is not available. Try again after a delay.")
    }

    pub fn resync_required() -> Self {
        Self::new(410, "resyncRequired", "The delta token is no longer valid and the sync state must be reset.")
    }

    pub fn sync_state_not_found() -> Self {
        Self::new(410, "syncStateNotFound", "The sync state is not found.")
    }

    pub fn with_header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub fn answer(self, trace: &Trace) -> Answer {
        let mut inner = match self.inner {
            Some(Value::Object(inner)) => inner,
            _ => Map::new(),
        };
        let date = timestamp(trace.now).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        inner.insert("date".to_owned(), json!(date));
        inner.insert("request-id".to_owned(), json!(trace.request_id));
        inner.insert("client-request-id".to_owned(), json!(trace.client_request_id));
        let body = json!({"error": {"code": self.code, "message": self.message, "innerError": inner}});
        Answer { status: self.status, headers: self.headers, body: Body::Json(body) }
    }
}
