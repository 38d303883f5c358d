//! What happens to a request, cheap checks first (TH-04): path token, method, headers, handshake, limits, body, JSON,
//! and only then clientState.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use hyper::{HeaderMap, Method, Request, Version};
use lockstep_core::ConnectionId;
use lockstep_core::hint::{self, Hint, HintMessage, Subject};
use lockstep_queue::Queue;
use lockstep_store::{Clock, Endpoint, EndpointState, MacPurpose};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::answer::{self, Answer};
use crate::body;
use crate::config::Limits;
use crate::connection::MAX_HEADERS;
use crate::endpoints::EndpointTable;
use crate::handshake::{self, BadToken};
use crate::judge::{Forgery, Judgement, judge};
use crate::parse::{BadBody, RawItem, parse};
use crate::post_span::PostSpan;
use crate::quiet_log::QuietLog;
use crate::rate::Buckets;
use crate::rejection::{self, Rejection};

/// `ack_deadline`: counted from the complete body, since a slow body is the sender's own time (BI-10).
const ACK_DEADLINE: Duration = Duration::from_millis(2_500);

/// A create or renew that began longer ago than this awaits no handshake any more (TH-07).
const HANDSHAKE_WINDOW: Duration = Duration::from_secs(10 * 60);

/// Some 60 bytes each, beside some 160 bytes an item: 1,000 items and these stay below the queue's 1 MiB.
const MAX_MEMBERS_IN_MESSAGE: usize = 10_000;

/// Everything a request is answered from.
pub(crate) struct Ingest {
    endpoints: EndpointTable,
    queue: Queue,
    clock: Clock,
    limits: Limits,
    posts: Semaphore,
    post_rate: Buckets<ConnectionId>,
    rejection_rate: Buckets<IpAddr>,
    log: QuietLog,
}

/// Who asks, and what of the request only its connection knows.
pub(crate) struct Caller {
    pub(crate) peer: IpAddr,
    /// `Content-Length` and `Transfer-Encoding` both (BI-11).
    pub(crate) ambiguous_length: bool,
}

impl Ingest {
    pub(crate) fn over(endpoints: EndpointTable, queue: Queue, clock: Clock, limits: Limits) -> Self {
        Self {
            endpoints,
            queue,
            clock,
            posts: Semaphore::new(limits.posts_in_work),
            post_rate: Buckets::per_second(limits.posts_per_second),
            rejection_rate: Buckets::per_second(limits.rejections_per_second),
            limits,
            log: QuietLog::default(),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The answer, whatever the request.
    pub(crate) async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Answer {
        let version = request.version();
        match self.take(request, caller.ambiguous_length).await {
            Ok(answer) => answer,
            Err(rejection) => self.reject(rejection, caller.peer, version),
        }
    }

    async fn take(&self, request: Request<Incoming>, ambiguous_length: bool) -> Result<Answer, Rejection> {
        if request.uri().path() == "/healthz" && request.method() == Method::GET {
            return Ok(answer::healthy());
        }
        let path_token = path_token(request.uri().path()).ok_or(Rejection::UnknownPath)?;
        let endpoint = self.endpoints.find(path_token).await?;
        if request.method() != Method::POST {
            return Err(Rejection::WrongMethod);
        }
        if request.headers().len() > MAX_HEADERS {
            return Err(Rejection::TooManyHeaders);
        }
        if ambiguous_length {
            return Err(Rejection::AmbiguousLength);
        }
        match handshake::validation_token(request.uri().query()) {
            Some(token) => self.shake_hands(&endpoint, token).await,
            None => {
                let span = PostSpan::begin(endpoint.connection, request.uri().path());
                let answered = self.take_notification(request, endpoint, &span).instrument(span.span()).await;
                span.end(&answered);
                answered
            }
        }
    }

    async fn shake_hands(&self, endpoint: &Endpoint, token: Result<String, BadToken>) -> Result<Answer, Rejection> {
        let token = token.map_err(|BadToken| Rejection::BadValidationToken)?;
        if !self.handshake_is_awaited(endpoint) {
            let endpoint = self.endpoints.find_anew(endpoint, Instant::now()).await?;
            if !self.handshake_is_awaited(&endpoint) {
                return Err(Rejection::NoHandshakePending);
            }
        }
        Ok(answer::echo(token))
    }

    fn handshake_is_awaited(&self, endpoint: &Endpoint) -> bool {
        let now = self.clock.now();
        let awaited = |state| matches!(state, EndpointState::Pending { since } if now.since(since) < HANDSHAKE_WINDOW);
        endpoint.subscriptions.iter().any(|sub| awaited(sub.state))
    }

    async fn take_notification(
        &self,
        request: Request<Incoming>,
        endpoint: Arc<Endpoint>,
        span: &PostSpan,
    ) -> Result<Answer, Rejection> {
        check_content(request.headers())?;
        if !self.post_rate.take(endpoint.connection, Instant::now()) {
            return Err(Rejection::RateLimited);
        }
        let _place = self.posts.try_acquire().map_err(|_| Rejection::TooBusy)?;
        let body = body::read(request.into_body(), self.limits.body_timeout).await?;
        let arrived = Instant::now();
        match timeout(ACK_DEADLINE, self.keep(&endpoint, &body, arrived, span)).await {
            Ok(kept) => kept?,
            Err(_) => return Err(Rejection::NotDurable),
        }
        Ok(answer::accepted())
    }

    /// Returns once every authentic item is durable.
    async fn keep(
        &self,
        endpoint: &Endpoint,
        body: &Bytes,
        arrived: Instant,
        span: &PostSpan,
    ) -> Result<(), Rejection> {
        let items = parse(body).map_err(|bad| match bad {
            BadBody::Malformed => Rejection::Malformed,
            BadBody::TooManyItems => Rejection::TooManyItems,
        })?;
        span.note_items(items.len());
        if items.is_empty() {
            rejection::count("no_items");
        }
        let hints = self.authentic(endpoint, &items, arrived).await?;
        if hints.is_empty() {
            return Ok(());
        }
        self.publish(endpoint.connection, hints, span).await
    }

    async fn authentic(
        &self,
        endpoint: &Endpoint,
        items: &[RawItem<'_>],
        arrived: Instant,
    ) -> Result<Vec<Hint>, Rejection> {
        let mut judgements = self.judge_all(endpoint, items);
        // The cached table may be older than the subscription: what it does not know is dropped only after a look
        // that is younger than the item. A store that is away makes this 503 (FA-07).
        if judgements.contains(&Judgement::Forged(Forgery::UnknownSubscription)) {
            let endpoint = self.endpoints.find_anew(endpoint, arrived).await?;
            judgements = self.judge_all(&endpoint, items);
        }
        Ok(judgements.into_iter().filter_map(|judgement| self.hint_or_count(endpoint.connection, judgement)).collect())
    }

    fn judge_all(&self, endpoint: &Endpoint, items: &[RawItem<'_>]) -> Vec<Judgement> {
        let keys = self.endpoints.keys();
        // The items of one POST mostly carry one clientState: it is hashed once. Only what the sender said is compared
        // with what the sender said, so that the time this takes tells nothing.
        let vouched = RefCell::new(None);
        let same = |secret: &str, mac: &[u8; 32]| {
            let known = |vouched: &Option<(String, [u8; 32])>| {
                vouched.as_ref().is_some_and(|(text, of)| text == secret && of == mac)
            };
            if known(&vouched.borrow()) {
                return true;
            }
            let same = keys.verify_mac(MacPurpose::ClientState, secret.as_bytes(), mac);
            if same {
                vouched.replace(Some((secret.to_owned(), *mac)));
            }
            same
        };
        items.iter().map(|item| judge(item, endpoint, same)).collect()
    }

    fn hint_or_count(&self, connection: ConnectionId, judgement: Judgement) -> Option<Hint> {
        match judgement {
            Judgement::Genuine(hint) => Some(hint),
            Judgement::Unusable => {
                rejection::count("unusable_item");
                None
            }
            Judgement::Forged(forgery) => {
                let reason = forgery.code();
                rejection::count(reason);
                if self.log.due(Some(connection), reason) {
                    tracing::warn!(
                        connection.id = %connection,
                        reason,
                        "Dropped a notification for connection {connection} that is not authentic: {reason}"
                    );
                }
                None
            }
        }
    }

    async fn publish(&self, connection: ConnectionId, items: Vec<Hint>, span: &PostSpan) -> Result<(), Rejection> {
        let count = items.len() as u64;
        let message = HintMessage {
            version: hint::VERSION,
            id: Uuid::now_v7(),
            connection,
            received_at: self.clock.now(),
            items: within_bounds(items),
        };
        span.note_message(&message);
        tracing::trace!(target: "lockstep::point", "receiver.before_publish");
        self.queue.publish(&message).await.map_err(|error| {
            if self.log.due(None, "not_durable") {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "Notifications cannot be kept; answering 503 so that they come again");
            }
            Rejection::NotDurable
        })?;
        tracing::trace!(target: "lockstep::point", "receiver.published");
        metrics::counter!("lockstep_ingest_accepted_items_total").increment(count);
        Ok(())
    }

    fn reject(&self, rejection: Rejection, peer: IpAddr, version: Version) -> Answer {
        rejection::count(rejection.code());
        let request_id = Uuid::now_v7();
        if rejection.is_suspicious() && self.log.due(None, rejection.code()) {
            let reason = rejection.code();
            tracing::warn!(request.id = %request_id, reason, "Refused a handshake: {reason}");
        }
        let within_rate = rejection.is_ours() || self.rejection_rate.take(peer, Instant::now());
        let shown = if within_rate { rejection } else { Rejection::RateLimited };
        answer::rejected(shown, request_id, version)
    }
}

/// `/graph/{path_token}/notifications` or `/lifecycle`: which of the two makes no difference, items tell by themselves.
fn path_token(path: &str) -> Option<&str> {
    let (token, end) = path.strip_prefix("/graph/")?.split_once('/')?;
    matches!(end, "notifications" | "lifecycle").then_some(token)
}

fn check_content(headers: &HeaderMap) -> Result<(), Rejection> {
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Rejection::Encoded);
    }
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(Rejection::NotJson) }
}

/// A POST within bounds can name more members than a message may carry: the groups over the bound are compared by
/// listing instead.
fn within_bounds(mut items: Vec<Hint>) -> Vec<Hint> {
    let mut room = MAX_MEMBERS_IN_MESSAGE;
    for item in &mut items {
        if let Subject::Group { members, truncated, .. } = &mut item.subject {
            if members.len() > room {
                members.clear();
                *truncated = true;
            }
            room -= members.len();
        }
    }
    items
}
