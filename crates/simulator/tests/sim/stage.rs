//! A running simulator with a client that holds a token, and a receiver of notifications.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use lockstep_simulator::{SimClock, Simulator, SimulatorConfig, Tenant};
use serde_json::{Value, json};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Stage {
    pub sim: Simulator,
    pub tenant: Tenant,
    pub http: reqwest::Client,
    pub token: String,
}

impl Stage {
    pub async fn set() -> Self {
        Self::at(SimClock::real()).await
    }

    pub async fn at(clock: SimClock) -> Self {
        let sim = Simulator::start(SimulatorConfig { clock, ..SimulatorConfig::default() }).await.unwrap();
        let tenant = sim.tenant();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let token = fresh_token(&http, &sim, &tenant).await;
        Self { sim, tenant, http, token }
    }

    pub async fn renew_token(&mut self) {
        self.token = fresh_token(&self.http, &self.sim, &self.tenant).await;
    }

    /// `GET /v1.0/{path}`, or the absolute link as given.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/v1.0/{path}", self.sim.url()) };
        self.send(self.http.get(url)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(self.http.post(format!("{}/v1.0/{path}", self.sim.url())).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> (u16, Value) {
        self.send(self.http.patch(format!("{}/v1.0/{path}", self.sim.url())).json(&body)).await
    }

    pub async fn delete(&self, path: &str) -> u16 {
        self.send(self.http.delete(format!("{}/v1.0/{path}", self.sim.url()))).await.0
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.bearer_auth(&self.token).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// All rows of a listing, page by page, and how many pages there were.
    pub async fn all(&self, path: &str) -> (Vec<Value>, usize) {
        let (mut next, mut rows, mut pages) = (Some(path.to_owned()), Vec::new(), 0);
        while let Some(path) = next {
            let (status, page) = self.get(&path).await;
            assert_eq!(status, 200, "{page}");
            rows.extend(page["value"].as_array().unwrap().iter().cloned());
            next = page["@odata.nextLink"].as_str().map(str::to_owned);
            pages += 1;
        }
        (rows, pages)
    }

    pub async fn subscribe(&self, resource: &str, receiver: &Receiver) -> Value {
        let (status, body) = self.post("subscriptions", self.subscription(resource, receiver)).await;
        assert_eq!(status, 201, "{body}");
        body
    }

    pub fn subscription(&self, resource: &str, receiver: &Receiver) -> Value {
        json!({
            "changeType": "updated,deleted",
            "notificationUrl": receiver.url("notifications"),
            "lifecycleNotificationUrl": receiver.url("lifecycle"),
            "resource": resource,
            "expirationDateTime": self.in_minutes(60 * 24),
            "clientState": "the-client-state",
        })
    }

    /// The simulated instant so many minutes from now, as Graph writes it.
    pub fn in_minutes(&self, minutes: i64) -> String {
        let micros = self.sim.clock().now_micros() + minutes * 60_000_000;
        jiff::Timestamp::from_microsecond(micros).unwrap().to_string()
    }
}

pub async fn fresh_token(http: &reqwest::Client, sim: &Simulator, tenant: &Tenant) -> String {
    let url = format!("{}/{}/oauth2/v2.0/token", sim.url(), tenant.id());
    let form = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", tenant.client_id().to_string()),
        ("client_secret", tenant.client_secret()),
        ("scope", "https://graph.microsoft.com/.default".to_owned()),
    ];
    let answer: Value = http.post(url).form(&form).send().await.unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// The ids of the rows.
pub fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Someone who receives notifications, well or badly.
#[derive(Clone)]
pub struct Receiver {
    base: String,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    posts: Mutex<Vec<Value>>,
    handshakes: Mutex<Vec<String>>,
    /// Statuses of the next answers; 202 when there are none left.
    answers: Mutex<VecDeque<u16>>,
    echo: Mutex<Echo>,
}

/// How the receiver answers a handshake.
#[derive(Clone, Copy, Default)]
pub enum Echo {
    #[default]
    Right,
    Encoded,
    Json,
    Status(u16),
}

impl Receiver {
    pub async fn listen() -> Self {
        let seen = Arc::new(Seen::default());
        let router = Router::new().route("/{path}", post(receive)).with_state(seen.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    pub fn answer_next(&self, statuses: &[u16]) {
        self.seen.answers.lock().unwrap().extend(statuses);
    }

    pub fn echo(&self, echo: Echo) {
        *self.seen.echo.lock().unwrap() = echo;
    }

    pub fn handshakes(&self) -> usize {
        self.seen.handshakes.lock().unwrap().len()
    }

    /// Every POST, refused ones included.
    pub fn posts(&self) -> Vec<Value> {
        self.seen.posts.lock().unwrap().clone()
    }

    /// The items of all POSTs in the order they came.
    pub fn items(&self) -> Vec<Value> {
        self.posts().iter().flat_map(|post| post["value"].as_array().unwrap().clone()).collect()
    }
}

async fn receive(State(seen): State<Arc<Seen>>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    if let Some(raw) = query.as_deref().and_then(|query| query.strip_prefix("validationToken=")) {
        let token = url::form_urlencoded::parse(format!("t={raw}").as_bytes()).next().unwrap().1.into_owned();
        seen.handshakes.lock().unwrap().push(token.clone());
        return match *seen.echo.lock().unwrap() {
            Echo::Right => token.into_response(),
            Echo::Encoded => raw.to_owned().into_response(),
            Echo::Json => axum::Json(token).into_response(),
            Echo::Status(status) => (StatusCode::from_u16(status).unwrap(), token).into_response(),
        };
    }
    seen.posts.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let status = seen.answers.lock().unwrap().pop_front().unwrap_or(202);
    StatusCode::from_u16(status).unwrap().into_response()
}
