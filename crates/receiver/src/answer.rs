//! The few answers there are.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode, Version};
use uuid::Uuid;

use crate::rejection::Rejection;

pub(crate) type Answer = Response<Full<Bytes>>;

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Everything authentic is durable, or there was nothing authentic: the sender cannot tell (TH-01).
pub(crate) fn accepted() -> Answer {
    with(StatusCode::ACCEPTED, Bytes::new())
}

/// For load balancers.
pub(crate) fn healthy() -> Answer {
    plain(StatusCode::OK, "ok".into())
}

/// The handshake's echo, as inert as it can be (TH-07).
pub(crate) fn echo(token: String) -> Answer {
    plain(StatusCode::OK, token.into())
}

/// Fixed text, a code and the request id; for handshakes as plain text (BI-04).
pub(crate) fn rejected(rejection: Rejection, request_id: Uuid, version: Version) -> Answer {
    let mut answer = match rejection {
        Rejection::BadValidationToken => plain(rejection.status(), Bytes::from_static(rejection.title().as_bytes())),
        _ => problem(rejection, request_id),
    };
    let headers = answer.headers_mut();
    if rejection == Rejection::WrongMethod {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    if let Some(seconds) = rejection.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    // HTTP/2 has no such header; there a stream ends by itself.
    if rejection.closes_connection() && version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

fn problem(rejection: Rejection, request_id: Uuid) -> Answer {
    let (status, code, title) = (rejection.status(), rejection.code(), rejection.title());
    let body = serde_json::json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "code": code,
        "request_id": request_id,
    });
    let mut answer = with(status, body.to_string().into());
    answer.headers_mut().insert(CONTENT_TYPE, PROBLEM);
    answer
}

fn plain(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = with(status, body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, PLAIN);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    answer
}

fn with(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer
}
