//! The client itself: one request, from the gate to the judged reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use reqwest::Method;
use serde_json::Value;
use url::Url;

use crate::call::{Call, RawAnswer, Refusal, Reply};
use crate::cloud::GraphEndpoints;
use crate::connection::{Credential, GraphConnection};
use crate::error::GraphError;
use crate::gate::Gate;
use crate::http::{Outgoing, client, exchange};
use crate::page_link::PageLink;
use crate::token::{AccessToken, Tokens};

/// Microsoft Graph as one connection sees it. Clones share token, pause and breaker: keep one per connection.
#[derive(Clone)]
pub struct GraphClient {
    shared: Arc<Shared>,
}

struct Shared {
    endpoints: GraphEndpoints,
    http: ArcSwap<reqwest::Client>,
    tokens: Tokens,
    gate: Gate,
    sent: AtomicU64,
}

impl GraphClient {
    /// Prepares a client; no I/O. The process must have installed rustls' provider before.
    ///
    /// # Errors
    /// [`GraphError::SettingRefused`] for a tenant, client id or credential that no login host would take.
    pub fn connect(connection: GraphConnection) -> Result<Self, GraphError> {
        let http = client()?;
        let tokens = Tokens::new(&connection, http.clone())?;
        let endpoints = connection.endpoints;
        let http = ArcSwap::from_pointee(http);
        let shared = Shared { endpoints, http, tokens, gate: Gate::default(), sent: AtomicU64::new(0) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Changes to a new credential, for this client and its clones; takes effect with the next request.
    ///
    /// # Errors
    /// [`GraphError::SettingRefused`] for a credential that no login host would take; the old one stays.
    pub fn replace_credential(&self, credential: Credential) -> Result<(), GraphError> {
        self.shared.tokens.replace(credential)
    }

    /// Fetches a token if none is held: proves tenant, client id and credential, but no permission [CC].
    ///
    /// # Errors
    /// See [`GraphError`]; no request goes to Graph.
    pub async fn check_token(&self) -> Result<(), GraphError> {
        self.shared.tokens.current().await.map(|_| ())
    }

    /// HTTP requests sent to Graph by this client and its clones; a `$batch` counts as one, token requests not at all.
    pub fn requests_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Where this client's tenant lives; for [`PageLink::load`].
    pub fn endpoints(&self) -> &GraphEndpoints {
        &self.shared.endpoints
    }

    /// Notes a 429 met inside a batch, where the outer answer says 200 [THR25].
    pub(crate) fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// An address of Graph v1.0. Each part of the path is encoded; the query must be encoded already.
    pub(crate) fn address(&self, path: &[&str], query: Option<&str>) -> Url {
        let mut url = self.shared.endpoints.graph().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().push("v1.0").extend(path);
        }
        url.set_query(query);
        url
    }

    pub(crate) async fn get(&self, call: &'static Call, url: &Url) -> Result<Reply, GraphError> {
        self.send(call, Outgoing { method: Method::GET, url, body: None }).await
    }

    pub(crate) async fn post(&self, call: &'static Call, url: &Url, body: &Value) -> Result<Reply, GraphError> {
        self.send(call, Outgoing { method: Method::POST, url, body: Some(body) }).await
    }

    /// A further page, its link checked now.
    pub(crate) async fn follow(&self, call: &'static Call, link: &PageLink) -> Result<Reply, GraphError> {
        let url =
            link.to_url(&self.shared.endpoints).map_err(|fault| GraphError::LinkRefused { call: call.name, fault })?;
        self.get(call, &url).await
    }

    /// Sends a request: once, and once more with a new token when Graph answers 401 (FA-14).
    pub(crate) async fn send(&self, call: &'static Call, request: Outgoing<'_>) -> Result<Reply, GraphError> {
        let _admitted = self.shared.gate.admit(call.name, Instant::now())?;
        let tokens = &self.shared.tokens;
        let mut token = tokens.current().await?;
        let mut answer = self.attempt(call, &request, &token, 0).await?;
        if answer.status == 401 {
            token = tokens.renew(&token).await?;
            answer = self.attempt(call, &request, &token, 1).await?;
        }
        if answer.status == 403 {
            tokens.retire(&token);
        }
        self.judge(call, answer)
    }

    async fn attempt(
        &self,
        call: &'static Call,
        request: &Outgoing<'_>,
        token: &AccessToken,
        resend_count: u32,
    ) -> Result<RawAnswer, GraphError> {
        let Shared { endpoints, http, gate, sent, .. } = &*self.shared;
        sent.fetch_add(1, Ordering::Relaxed);
        let http = http.load_full();
        let answer = exchange(&http, endpoints, call, request, token, resend_count).await;
        if matches!(&answer, Ok(answer) if answer.status == 503) {
            self.connect_anew(&http);
        }
        if matches!(answer, Err(GraphError::Unreachable { .. } | GraphError::BadAnswer { .. })) {
            gate.failed(Instant::now());
        }
        answer
    }

    /// After a 503 the next request must not take the same connection, and so perhaps the same sick server [BP]. Only
    /// the pool that met it is left: many calls in flight meet one outage.
    fn connect_anew(&self, met: &Arc<reqwest::Client>) {
        let held = self.shared.http.load_full();
        if !Arc::ptr_eq(&held, met) {
            return;
        }
        match client() {
            Ok(fresh) => drop(self.shared.http.compare_and_swap(met, Arc::new(fresh))),
            Err(error) => tracing::warn!(%error, "No new connection pool after a 503; the old one serves on"),
        }
    }

    /// Graph denied something inside a batch: see [`Tokens::retire`].
    pub(crate) fn retire_token(&self) {
        self.shared.tokens.retire_held();
    }

    fn judge(&self, call: &'static Call, answer: RawAnswer) -> Result<Reply, GraphError> {
        let RawAnswer { status, retry_after, body } = answer;
        let name = call.name;
        if status >= 500 {
            self.shared.gate.failed(Instant::now());
            let retry_after = retry_after.map(|asked| asked.0);
            return Err(GraphError::ServerError { call: name, status, retry_after });
        }
        if status == 429 {
            let retry_after = self.shared.gate.throttled(retry_after, Instant::now());
            return Err(GraphError::Throttled { call: name, retry_after });
        }
        self.shared.gate.answered(Instant::now());
        match status {
            200..=299 => Ok(Reply::Body(body)),
            300..=399 => Err(GraphError::Redirected { call: name, status }),
            401 => Err(rejected_token(name, &body)),
            400..=499 => Reply::from_refusal(call, status, &body),
            _ => Err(GraphError::BadAnswer { call: name, what: "a status that is none" }),
        }
    }
}

pub(crate) fn rejected_token(call: &'static str, body: &[u8]) -> GraphError {
    match Refusal::read(401, body) {
        Some(refusal) if refusal.is("Authorization_IdentityNotFound") => GraphError::IdentityGone { call },
        _ => GraphError::AccessTokenRejected { call },
    }
}
