//! What we call Graph's calls, and what comes back before it is understood.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::GraphError;

/// One kind of request. Its name stands in metrics, logs and errors instead of the address (G-27).
#[derive(Debug)]
pub(crate) struct Call {
    /// Method and path template.
    pub name: &'static str,
    /// The application permission an operator must consent to for it.
    pub permission: &'static str,
    /// Told to Graph as `x-ms-throttle-priority` [THRL].
    pub priority: Priority,
}

/// Whose requests Graph should drop first when it must.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Priority {
    /// Listings in the background.
    Low,
    /// Reads on which somebody's access hangs.
    Normal,
}

impl Priority {
    pub fn header(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Normal => "Normal",
        }
    }
}

/// An answer as it came over the wire, body complete and within the limit.
pub(crate) struct RawAnswer {
    pub status: u16,
    pub retry_after: Option<RetryAfter>,
    pub body: Bytes,
}

/// An answer below 500 that is neither 401 nor 429.
pub(crate) enum Reply {
    /// 2xx.
    Body(Bytes),
    /// 404 that Graph itself said.
    NotFound,
    /// Any other refusal, judged by the call at hand.
    Refused(Refusal),
}

/// A 4xx with Graph's error body.
pub(crate) struct Refusal {
    pub status: u16,
    /// Cut to plain characters, since it reaches logs.
    pub code: String,
    /// More exact codes, nested in `innerError` [ERR].
    inner_codes: Vec<String>,
    /// Only to find a subscription's id in; never shown, never branched on [ERR].
    pub message: String,
}

/// `Retry-After` where it says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RetryAfter(pub Duration);

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15 * 60);

impl RetryAfter {
    /// Seconds, clamped to 1 s to 15 min. A date, a sign or text says nothing: the caller backs off by itself (BI-39).
    pub fn parse(header: &str) -> Option<Self> {
        let digits = header.trim();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let asked = digits.parse().map_or(LONGEST_PAUSE, Duration::from_secs);
        Some(Self(asked.clamp(SHORTEST_PAUSE, LONGEST_PAUSE)))
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorInside,
}

#[derive(Deserialize)]
struct ErrorInside {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "innerError", alias = "innererror")]
    inner: Value,
}

impl Refusal {
    /// The error in a 4xx body; `None` when the body is not Graph's (a proxy, a captive portal).
    pub fn read(status: u16, body: &[u8]) -> Option<Self> {
        let ErrorBody { error } = serde_json::from_slice(body).ok()?;
        let message = error.message.unwrap_or_default();
        Some(Self { status, code: plain(&error.code?), inner_codes: nested_codes(&error.inner), message })
    }

    fn without_body(status: u16) -> Self {
        Self { status, code: String::new(), inner_codes: Vec::new(), message: String::new() }
    }

    /// Whether this code stands anywhere in the error. For what is no evidence about a person.
    pub fn names(&self, code: &str) -> bool {
        self.is(code) || self.inner_codes.iter().any(|inner| inner.eq_ignore_ascii_case(code))
    }

    /// Codes are compared without regard to case [ERR].
    pub fn is(&self, code: &str) -> bool {
        self.code.eq_ignore_ascii_case(code)
    }

    /// Graph's own way of saying that an object is not there: directory and subscription codes [ERR] [BATCH].
    pub fn says_not_found(&self) -> bool {
        self.status == 404
            && !self.names("syncStateNotFound")
            && ["Request_ResourceNotFound", "ResourceNotFound", "itemNotFound", "ErrorItemNotFound", "NotFound"]
                .iter()
                .any(|code| self.is(code))
    }

    /// What a refusal means where the call expects none.
    pub fn into_error(self, call: &'static Call) -> GraphError {
        match self.status {
            403 => GraphError::PermissionMissing { call: call.name, permission: call.permission },
            410 if self.code.is_empty() => {
                GraphError::BadAnswer { call: call.name, what: "an error that is not Graph's" }
            }
            400 if self.is("Directory_ExpiredPageToken") => GraphError::PageLinkExpired { call: call.name },
            status => GraphError::Rejected { call: call.name, status, code: self.code },
        }
    }
}

fn plain(code: &str) -> String {
    code.chars().filter(|c| c.is_ascii_alphanumeric() || "_.-".contains(*c)).take(64).collect()
}

/// The key is spelled both ways and may nest [ERR]; no deeper than anybody was seen to.
fn nested_codes(error: &Value) -> Vec<String> {
    let levels = std::iter::successors(Some(error), |error| below(error)).take(8);
    levels.filter_map(|error| error.get("code")?.as_str().map(plain)).collect()
}

fn below(error: &Value) -> Option<&Value> {
    error.get("innerError").or_else(|| error.get("innererror"))
}

impl Reply {
    /// A 4xx judged: "not found" only in Graph's own words, so that a stray 404 is no evidence (G-09).
    pub fn from_refusal(call: &'static Call, status: u16, body: &[u8]) -> Result<Self, GraphError> {
        match Refusal::read(status, body) {
            Some(refusal) if refusal.says_not_found() => Ok(Self::NotFound),
            Some(refusal) => Ok(Self::Refused(refusal)),
            // Gone for good needs no body to be understood; only a delta expects it.
            None if status == 410 => Ok(Self::Refused(Refusal::without_body(status))),
            None if status == 403 => {
                Err(GraphError::PermissionMissing { call: call.name, permission: call.permission })
            }
            None => Err(GraphError::BadAnswer { call: call.name, what: "an error that is not Graph's" }),
        }
    }

    /// The body, or `None` for an object that is not there.
    pub fn found(self, call: &'static Call) -> Result<Option<Bytes>, GraphError> {
        match self {
            Self::Body(body) => Ok(Some(body)),
            Self::NotFound => Ok(None),
            Self::Refused(refusal) => Err(refusal.into_error(call)),
        }
    }

    /// The body of a call that always has one.
    pub fn body(self, call: &'static Call) -> Result<Bytes, GraphError> {
        self.found(call)?.ok_or_else(|| GraphError::Rejected {
            call: call.name,
            status: 404,
            code: "Request_ResourceNotFound".to_owned(),
        })
    }
}

/// Reads a JSON answer into a type; a wrong shape is a bad answer, not a panic and not an empty result (BI-32).
pub(crate) fn parse<T: DeserializeOwned>(call: &'static Call, body: &[u8]) -> Result<T, GraphError> {
    serde_json::from_slice(body).map_err(|_| GraphError::BadAnswer { call: call.name, what: "JSON of another shape" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const READ: Call = Call { name: "GET /users/{id}", permission: "User.Read.All", priority: Priority::Normal };

    #[test]
    fn bi39_retry_after_is_clamped_and_nonsense_says_nothing() {
        let seconds = |header| RetryAfter::parse(header).map(|RetryAfter(asked)| asked.as_secs());
        assert_eq!(seconds("10"), Some(10));
        assert_eq!(seconds(" 7 "), Some(7));
        assert_eq!(seconds("0"), Some(1));
        assert_eq!(seconds("86400"), Some(900));
        assert_eq!(seconds("99999999999999999999999999"), Some(900));
        for nonsense in ["-5", "", "soon", "1.5", "+3", "Wed, 21 Oct 2026 07:28:00 GMT", "1e9"] {
            assert_eq!(seconds(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn g09_only_graphs_own_404_says_that_somebody_is_not_there() {
        static CALL: Call = READ;
        let graphs = br#"{"error":{"code":"Request_ResourceNotFound","message":"x"}}"#;
        assert!(matches!(Reply::from_refusal(&CALL, 404, graphs), Ok(Reply::NotFound)));
        for stray in [&b"<html>404</html>"[..], b"", b"{}", br#"{"error":"x"}"#, br#"{"error":{"message":"x"}}"#] {
            assert!(matches!(Reply::from_refusal(&CALL, 404, stray), Err(GraphError::BadAnswer { .. })));
        }
        let other = br#"{"error":{"code":"UnknownError","message":""}}"#;
        assert!(matches!(Reply::from_refusal(&CALL, 404, other), Ok(Reply::Refused(_))));
        assert!(matches!(Reply::from_refusal(&CALL, 403, graphs), Ok(Reply::Refused(_))), "only a 404 says so");
    }

    #[test]
    fn g27_a_code_reaches_logs_only_in_plain_characters() {
        let body = br#"{"error":{"code":"Bad\r\nSet-Cookie: <b>x</b>","message":"secret"}}"#;
        let refusal = Refusal::read(400, body).unwrap();
        assert_eq!(refusal.code, "BadSet-Cookiebxb");
    }
}
