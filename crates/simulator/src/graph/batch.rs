//! `POST /$batch`: up to 20 requests, each judged, counted and possibly throttled by itself.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answer::{Answer, Body, Failure, Trace};
use super::route::Route;
use super::trouble::in_trouble;
use super::{Request, answer_one, unknown_route};
use crate::identity::token::Grant;
use crate::odata::query::Query;
use crate::world::World;

const MOST: usize = 20;

#[derive(Deserialize)]
struct Envelope {
    requests: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    id: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    body: Option<Value>,
    #[serde(default)]
    depends_on: Vec<String>,
}

/// What every request of the batch is answered with.
struct Outer<'a> {
    world: &'a World,
    grant: &'a Grant,
    base: &'a str,
    trace: &'a Trace,
}

pub(super) async fn answer(world: &World, grant: &Grant, base: &str, request: &Request, trace: &Trace) -> Answer {
    let Some(envelope) = parse(&request.body) else {
        return Failure::new(400, "BadRequest", "Invalid batch payload format.").answer(trace);
    };
    let outer = Outer { world, grant, base, trace };
    let mut statuses: HashMap<String, u16> = HashMap::new();
    let mut responses = Vec::new();
    let mut longest = Duration::ZERO;
    for item in envelope.requests {
        let blocked =
            item.depends_on.iter().any(|id| statuses.get(&id.to_lowercase()).is_none_or(|status| *status >= 400));
        let (answer, delay) = match blocked {
            true => (
                Failure::new(424, "FailedDependency", "A request this one depends on failed.").answer(trace),
                Duration::ZERO,
            ),
            false => outer.answer(&item).await,
        };
        longest = longest.max(delay);
        statuses.insert(item.id.to_lowercase(), answer.status);
        responses.push(response(item.id, answer));
    }
    // They run side by side, so the batch waits for the slowest.
    tokio::time::sleep(longest).await;
    world.chance.shuffle(&mut responses);
    Answer::ok(json!({"responses": responses}))
}

/// At most 20 requests with distinct ids.
fn parse(body: &[u8]) -> Option<Envelope> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    let ids: HashSet<String> = envelope.requests.iter().map(|item| item.id.to_lowercase()).collect();
    let count = envelope.requests.len();
    (ids.len() == count && (1..=MOST).contains(&count)).then_some(envelope)
}

impl Outer<'_> {
    async fn answer(&self, item: &Item) -> (Answer, Duration) {
        let Some(request) = request(item) else {
            return (Failure::bad_request("Invalid request in the batch.").answer(self.trace), Duration::ZERO);
        };
        let route = Route::parse(&request.method, &request.segments());
        let name = route.as_ref().map_or("unknown", Route::name);
        self.world.counting.inner_request(name);
        let trouble = self.world.faults.strike_over(name, |object| request.names(object), &self.world.chance);
        let answer = match (trouble.status, route) {
            (Some(status), _) => in_trouble(status, name, &trouble, self.trace, false),
            (None, None) => unknown_route(&request).answer(self.trace),
            (None, Some(route)) => {
                answer_one(self.world, self.grant, self.base, &request, route, &trouble, self.trace).await
            }
        };
        (answer, trouble.delay)
    }
}

fn request(item: &Item) -> Option<Request> {
    let has_type = item.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
    if item.url.contains("://") || (item.body.is_some() && !has_type) {
        return None;
    }
    let (path, query) = item.url.split_once('?').unwrap_or((&item.url, ""));
    let prefer = item.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("prefer"));
    Some(Request {
        method: Method::from_bytes(item.method.to_uppercase().as_bytes()).ok()?,
        path: path.trim_start_matches('/').to_owned(),
        query: Query::parse(query),
        prefer: prefer.map(|(_, value)| value.clone()).unwrap_or_default(),
        body: item.body.as_ref().map(|body| Bytes::from(body.to_string())).unwrap_or_default(),
    })
}

fn response(id: String, answer: Answer) -> Value {
    let mut headers: Map<String, Value> =
        answer.headers.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    headers.insert("Cache-Control".to_owned(), json!("no-cache"));
    let mut response = json!({"id": id, "status": answer.status});
    match answer.body {
        Body::Json(body) => {
            headers.insert("Content-Type".to_owned(), json!("application/json"));
            response["body"] = body;
        }
        Body::Html(html) => {
            headers.insert("Content-Type".to_owned(), json!("text/html"));
            response["body"] = json!(html);
        }
        Body::Raw(text) => {
            headers.insert("Content-Type".to_owned(), json!("application/json"));
            response["body"] = json!(text);
        }
        Body::Empty => {}
    }
    response["headers"] = Value::Object(headers);
    response
}
