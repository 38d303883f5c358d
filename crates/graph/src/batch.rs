//! `$batch`: several reads in one request, each throttled, failed and judged by itself [BATCH].

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::call::{Call, Priority, Reply, RetryAfter, parse};
use crate::client::{GraphClient, rejected_token};
use crate::error::GraphError;

/// Most requests in one `$batch` [BATCH].
pub(crate) const MOST_REQUESTS: usize = 20;

/// The envelope; what is in it has calls of its own.
static BATCH: Call =
    Call { name: "POST /$batch", permission: "User.Read.All and GroupMember.Read.All", priority: Priority::Normal };

/// The answers of one batch, by the place of their requests.
pub(crate) struct Answers {
    by_place: BTreeMap<usize, Inner>,
    /// The longest wait asked for by any of them [THR25].
    pause: Duration,
}

#[derive(Deserialize)]
struct Envelope {
    responses: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Inner {
    id: String,
    status: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    body: Option<Box<RawValue>>,
}

impl GraphClient {
    /// Sends up to 20 reads in one request. A 429 inside pauses the whole connection: requests meanwhile would count
    /// against it [THR25].
    pub(crate) async fn batch(&self, inner: &'static Call, urls: &[String]) -> Result<Answers, GraphError> {
        let read = |(place, url): (usize, &String)| json!({ "id": place.to_string(), "method": "GET", "url": url });
        let requests: Vec<Value> = urls.iter().enumerate().map(read).collect();
        let address = self.address(&["$batch"], None);
        let body = self.post(&BATCH, &address, &json!({ "requests": requests })).await?.body(&BATCH)?;
        let Envelope { responses } = parse(&BATCH, &body)?;
        let mut answers = Answers { by_place: by_place(&responses), pause: Duration::ZERO };
        answers.count_units(inner);
        if let Some(asked) = answers.throttled() {
            answers.pause = self.gate().throttled(asked, Instant::now());
        }
        if answers.by_place.values().any(|answer| matches!(answer.status, 401 | 403)) {
            self.retire_token();
        }
        Ok(answers)
    }
}

/// Answers come in any order. What cannot be read, or was given twice, counts as left out: it spoils no other.
fn by_place(responses: &[Box<RawValue>]) -> BTreeMap<usize, Inner> {
    let mut answers = BTreeMap::new();
    let mut twice = Vec::new();
    for inner in responses.iter().filter_map(|raw| serde_json::from_str::<Inner>(raw.get()).ok()) {
        let Ok(place) = inner.id.parse() else { continue };
        if answers.insert(place, inner).is_some() {
            twice.push(place);
        }
    }
    answers.retain(|place, _| !twice.contains(place));
    answers
}

impl Answers {
    /// What the request at this place was answered, as if it had been sent alone.
    pub fn take(&mut self, call: &'static Call, place: usize) -> Result<Reply, GraphError> {
        let bad = |what| GraphError::BadAnswer { call: call.name, what };
        let inner = self.by_place.remove(&place).ok_or_else(|| bad("a batch with answers left out"))?;
        let retry_after = inner.retry_after();
        let body = Bytes::from(inner.body.map(|body| String::from(Box::<str>::from(body))).unwrap_or_default());
        match inner.status {
            200..=299 => Ok(Reply::Body(body)),
            // 424: what it depended on was throttled or failed; older text says so of the whole batch [THROLD].
            429 | 424 => Err(GraphError::Throttled { call: call.name, retry_after: self.pause }),
            401 => Err(rejected_token(call.name, &body)),
            400..=499 => Reply::from_refusal(call, inner.status, &body),
            status @ 500..=599 => {
                let retry_after = retry_after.map(|asked| asked.0);
                Err(GraphError::ServerError { call: call.name, status, retry_after })
            }
            _ => Err(bad("an inner status that is none")),
        }
    }

    /// `None` when nothing was throttled; else the longest wait asked for, if any was.
    fn throttled(&self) -> Option<Option<RetryAfter>> {
        self.by_place.values().filter(|inner| matches!(inner.status, 429 | 424)).map(Inner::retry_after).max()
    }

    fn count_units(&self, call: &'static Call) {
        let units = self.by_place.values().filter_map(|inner| inner.header("x-ms-resource-unit")?.parse::<u64>().ok());
        metrics::counter!("lockstep_graph_units_total", "route" => call.name).increment(units.sum());
    }
}

impl Inner {
    fn retry_after(&self) -> Option<RetryAfter> {
        RetryAfter::parse(&self.header("retry-after")?)
    }

    fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.as_ref()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}
