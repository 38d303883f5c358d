//! The way to the token endpoint: what the identity library does not check about a token answer is checked here.

use std::time::Duration;

use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode};
use bytes::BytesMut;
use futures::StreamExt;
use serde_json::{Map, Value};
use url::Url;

/// Far above any token answer.
const LARGEST_ANSWER: usize = 64 * 1024;
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Sends the library's requests to the connection's login host: the library accepts `https` authorities only, and the
/// simulator on this machine speaks `http`. Which hosts may be plain was decided by `GraphEndpoints`.
#[derive(Debug)]
pub(crate) struct TokenTransport {
    pub client: reqwest::Client,
    pub login: Url,
}

#[async_trait::async_trait]
impl HttpClient for TokenTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut aimed = request.clone();
        let mut url = self.login.clone();
        url.set_path(request.url().path());
        url.set_query(request.url().query());
        *aimed.url_mut() = url;
        let (status, headers, body) = self.client.execute_request(&aimed).await?.deconstruct();
        let body = read_bounded(body).await?;
        let body = if status == StatusCode::Ok { checked(&body)? } else { body };
        Ok(AsyncRawResponse::from_bytes(status, plain(headers), body))
    }
}

/// The body is decompressed and complete by now: its old length and encoding no longer hold.
fn plain(headers: Headers) -> Headers {
    let mut kept = Headers::new();
    for (name, value) in headers.iter() {
        if !["content-length", "content-encoding", "transfer-encoding"].contains(&name.as_str()) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

async fn read_bounded(
    mut body: impl futures::Stream<Item = azure_core::Result<azure_core::Bytes>> + Unpin,
) -> azure_core::Result<Vec<u8>> {
    let mut read = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if read.len() + chunk.len() > LARGEST_ANSWER {
            return Err(bad("the token answer is longer than 64 KiB"));
        }
        read.extend_from_slice(&chunk);
    }
    Ok(read.to_vec())
}

/// BI-42: no token, another type, a life of nothing or for ever. The library would overflow on the last.
fn checked(body: &[u8]) -> azure_core::Result<Vec<u8>> {
    let mut answer: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| bad("the token answer is not a JSON object"))?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default();
    if !text("token_type").eq_ignore_ascii_case("bearer") {
        return Err(bad("the token answer is of another token type"));
    }
    let token = text("access_token");
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad("the token answer holds no usable token"));
    }
    let life = lifetime(answer.get("expires_in"));
    answer.insert("expires_in".to_owned(), life.as_secs().into());
    answer.remove("ext_expires_in");
    serde_json::to_vec(&answer).map_err(|_| bad("the token answer cannot be passed on"))
}

fn lifetime(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0).unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE)
}

fn bad(why: &'static str) -> azure_core::Error {
    azure_core::Error::with_message(ErrorKind::DataConversion, why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn life_of(expires_in: &str) -> u64 {
        let body = format!(r#"{{"token_type":"Bearer","expires_in":{expires_in},"access_token":"opaque"}}"#);
        let answer: Map<String, Value> = serde_json::from_slice(&checked(body.as_bytes()).unwrap()).unwrap();
        answer["expires_in"].as_u64().unwrap()
    }

    #[test]
    fn bi42_a_tokens_life_is_clamped_to_a_minute_and_a_day() {
        assert_eq!(life_of("3599"), 3599);
        assert_eq!(life_of("\"3599\""), 3599);
        for nothing in ["0", "-1", "null", "\"soon\"", "[]", "5"] {
            assert_eq!(life_of(nothing), 60, "{nothing}");
        }
        for endless in ["9223372036854775807", "1e300", "86401"] {
            assert_eq!(life_of(endless), 86_400, "{endless}");
        }
    }

    #[test]
    fn bi42_an_answer_without_a_bearer_token_is_refused() {
        for body in [
            "",
            "<html>",
            "[]",
            r#"{"token_type":"Bearer","expires_in":3599}"#,
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":""}"#,
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":"a\r\nHost: evil"}"#,
            r#"{"token_type":"Bearer","expires_in":3599,"access_token":7}"#,
            r#"{"token_type":"pop","expires_in":3599,"access_token":"x"}"#,
            r#"{"expires_in":3599,"access_token":"x"}"#,
        ] {
            assert!(checked(body.as_bytes()).is_err(), "{body}");
        }
    }
}
