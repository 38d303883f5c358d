//! Graph v1.0: token, permission, faults and lag first, then the route.

pub(crate) mod answer;
mod batch;
mod deleted;
mod delta;
mod groups;
mod listing;
mod organization;
mod resolve;
pub(crate) mod route;
mod subscriptions;
mod trouble;
mod users;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::clock::timestamp;
use crate::directory::{Directory, View};
use crate::fault::Trouble;
use crate::http::{Base, cut_short};
use crate::identity::token::Grant;
use crate::limit::Draw;
use crate::odata::query::Query;
use crate::sync::read;
use crate::tenant::AppState;
use crate::world::{TenantState, World};
use answer::{Answer, Body, Failure, Trace};
use route::Route;
use trouble::{in_trouble, spoil};

/// One request to Graph, from the wire or from inside a batch.
pub(crate) struct Request {
    pub method: Method,
    /// Below `/v1.0/`, as the client wrote it; links to the next page repeat it.
    pub path: String,
    pub query: Query,
    pub prefer: String,
    pub body: Bytes,
}

impl Request {
    /// The decoded segments of the path.
    fn segments(&self) -> Vec<String> {
        let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        self.path.split('/').filter(|segment| !segment.is_empty()).map(decode).collect()
    }

    /// Whether this object stands in its address or its body.
    fn names(&self, object: Uuid) -> bool {
        let id = object.to_string();
        let body = || String::from_utf8_lossy(&self.body).to_lowercase().contains(&id);
        self.path.to_lowercase().contains(&id) || self.query.text().to_lowercase().contains(&id) || body()
    }
}

/// A request with the right to be answered.
pub(crate) struct Call<'a> {
    pub world: &'a World,
    pub tenant: &'a TenantState,
    pub permissions: &'a [String],
    pub base: &'a str,
    pub request: &'a Request,
    /// What goes wrong with this request.
    pub trouble: &'a Trouble,
    /// What a lagging replica shows; `None` is now.
    pub instant: Option<i64>,
}

impl Call<'_> {
    pub fn query(&self) -> &Query {
        &self.request.query
    }

    /// Reads the directory as this request sees it.
    pub fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        let directory = read(&self.tenant.directory);
        look(View::new(&directory as &Directory, self.instant))
    }

    /// The body as a JSON object.
    pub fn body(&self) -> Result<Map<String, Value>, Failure> {
        serde_json::from_slice(&self.request.body)
            .map_err(|_| Failure::new(400, "BadRequest", "Unable to read JSON request payload."))
    }

    /// As `x-ms-throttle-scope` names it.
    fn throttle_scope(&self) -> String {
        format!("Tenant_Application/ReadWrite/{}/{}", self.tenant.app.client_id, self.tenant.id)
    }

    pub fn context(&self, what: &str) -> String {
        format!("{}/v1.0/$metadata#{what}", self.base)
    }
}

/// Serves everything below `/v1.0/`.
pub(crate) async fn serve(
    State(world): State<Arc<World>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    base: Base,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let request = Request {
        method,
        path: uri.path().strip_prefix("/v1.0/").unwrap_or_default().to_owned(),
        query: Query::parse(uri.query().unwrap_or_default()),
        prefer: text("Prefer").unwrap_or_default().to_owned(),
        body,
    };
    let request_id = Uuid::new_v4();
    let client_request_id = text("client-request-id").map_or_else(|| request_id.to_string(), str::to_owned);
    let trace = Trace { request_id, client_request_id, now: world.clock.now_micros() };
    let route = Route::parse(&request.method, &request.segments());
    let name = route.as_ref().map_or("unknown", Route::name);
    debug_assert!(route.is_none() || name == "POST /$batch" || Route::NAMES.contains(&name), "{name}");
    world.counting.request(name);
    let trouble = world.faults.strike_over(name, |object| request.names(object), &world.chance);
    let answer = match (trouble.status, route) {
        (Some(status), _) => in_trouble(status, name, &trouble, &trace, true),
        (None, None) => unknown_route(&request).answer(&trace),
        (None, Some(route)) => {
            let grant = authenticate(&world, text("Authorization"));
            match grant {
                Ok(grant) => routed(&world, &grant, &base.0, &request, route, &trouble, &trace).await,
                Err(failure) => failure.answer(&trace),
            }
        }
    };
    // After the answer is made: a slow answer tells an old state, as on a real network.
    wait(Duration::from_millis(world.settings().latency_ms) + trouble.delay).await;
    respond(answer, &trace, trouble.drop)
}

/// Tokio's timer counts in milliseconds and wakes late, which would show in what is measured: a thread waits for the rest.
async fn wait(span: Duration) {
    const LATE: Duration = Duration::from_millis(3);
    if span.is_zero() {
        return;
    }
    let until = Instant::now() + span;
    tokio::time::sleep(span.saturating_sub(LATE)).await;
    let rest = move || std::thread::sleep(until.saturating_duration_since(Instant::now()));
    // It cannot panic.
    let _ = tokio::task::spawn_blocking(rest).await;
}

async fn routed(
    world: &World,
    grant: &Grant,
    base: &str,
    request: &Request,
    route: Route,
    trouble: &Trouble,
    trace: &Trace,
) -> Answer {
    match route {
        Route::Batch => batch::answer(world, grant, base, request, trace).await,
        route => answer_one(world, grant, base, request, route, trouble, trace).await,
    }
}

/// Answers anything but a batch.
async fn answer_one(
    world: &World,
    grant: &Grant,
    base: &str,
    request: &Request,
    route: Route,
    trouble: &Trouble,
    trace: &Trace,
) -> Answer {
    let (tenant, now) = (&*grant.tenant, world.clock.now_micros());
    tenant.unfold(now);
    let instant = instant(tenant, trouble, now);
    let call = Call { world, tenant, permissions: &grant.permissions, base, request, trouble, instant };
    let units = route.units(&request.query);
    world.counting.units(route.name(), units);
    let draw = draw(&call, units, now);
    let answered = match draw.and_then(|draw| draw.wait) {
        Some(seconds) => Err(Failure::throttled(&call.throttle_scope()).with_header("Retry-After", seconds)),
        None if !route.permitted(&grant.permissions) => Err(Failure::denied()),
        None => dispatch(&call, route).await,
    };
    let answer = answered.unwrap_or_else(|failure| failure.answer(trace)).with_header("x-ms-resource-unit", units);
    let used = draw.map(|draw| draw.share.min(1.8)).filter(|share| *share >= 0.8);
    let answer = match used {
        Some(share) => answer.with_header("x-ms-throttle-limit-percentage", format!("{share:.1}")),
        None => answer,
    };
    spoil(answer, &call)
}

/// What a read shows: now, unless a replica lags or some user is not yet complete.
fn instant(tenant: &TenantState, trouble: &Trouble, now: i64) -> Option<i64> {
    let lag = i64::try_from(trouble.lag.as_micros()).unwrap_or(i64::MAX);
    (lag > 0 || read(&tenant.directory).has_stages_ahead()).then(|| now.saturating_sub(lag))
}

/// Takes the units from the app's allowance, where limits are enforced.
fn draw(call: &Call<'_>, units: u64, now: i64) -> Option<Draw> {
    let enforced = call.world.settings().enforce_limits;
    enforced.then(|| call.tenant.bucket.draw(units, read(&call.tenant.directory).user_count(), now))
}

async fn dispatch(call: &Call<'_>, route: Route) -> Result<Answer, Failure> {
    match route {
        Route::Users => users::list(call),
        Route::User { id } => users::get(call, &id),
        Route::UserDelta => delta::users(call),
        Route::MemberOf { id, cast, transitive } => users::member_of(call, &id, cast, transitive),
        Route::GroupMemberOf { id, cast, transitive } => groups::member_of(call, &id, cast, transitive),
        Route::GetMemberGroups { id } => users::get_member_groups(call, &id),
        Route::GetByIds => resolve::get_by_ids(call),
        Route::Groups => groups::list(call),
        Route::Group { id } => groups::get(call, &id),
        Route::GroupDelta => delta::groups(call),
        Route::Members { id, cast, transitive } => groups::members(call, &id, cast, transitive),
        Route::DeletedItem { id } => deleted::get(call, &id),
        Route::DeletedItems { kind } => deleted::list(call, kind),
        Route::Organization => Ok(organization::list(call)),
        Route::Application { app_id } => organization::application(call, &app_id),
        Route::CreateSubscription => subscriptions::create(call).await,
        Route::ListSubscriptions => Ok(subscriptions::list(call)),
        Route::GetSubscription { id } => subscriptions::get(call, &id),
        Route::RenewSubscription { id } => subscriptions::renew(call, &id).await,
        Route::DeleteSubscription { id } => subscriptions::delete(call, &id),
        Route::Reauthorize { id } => subscriptions::reauthorize(call, &id),
        Route::Batch => Err(Failure::new(400, "BadRequest", "A batch cannot contain a batch.")),
    }
}

fn authenticate(world: &World, authorization: Option<&str>) -> Result<Grant, Failure> {
    let token = authorization.and_then(|header| header.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
    let grant = world.tokens.lookup(token.ok_or_else(Failure::no_token)?).ok_or_else(Failure::invalid_token)?;
    if grant.expires <= world.clock.now_micros() {
        return Err(Failure::expired_token());
    }
    let removed = *read(&grant.tenant.app_state) == AppState::Removed;
    if removed { Err(Failure::identity_not_found()) } else { Ok(grant) }
}

fn unknown_route(request: &Request) -> Failure {
    let segment = request.segments().into_iter().next().unwrap_or_default();
    Failure::new(400, "BadRequest", format!("Resource not found for the segment '{segment}'."))
}

/// The answer on the wire; `cut` ends it in the middle of the body.
fn respond(answer: Answer, trace: &Trace, cut: bool) -> Response {
    let (kind, text) = match answer.body {
        Body::Json(value) => (Some("application/json;odata.metadata=minimal;charset=utf-8"), value.to_string()),
        Body::Raw(text) => (Some("application/json;odata.metadata=minimal;charset=utf-8"), text),
        Body::Html(html) => (Some("text/html; charset=utf-8"), html),
        Body::Empty => (None, String::new()),
    };
    let body = if cut { cut_short(text) } else { HttpBody::from(text) };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp(trace.now));
    let fixed = [
        ("request-id", trace.request_id.to_string()),
        ("client-request-id", trace.client_request_id.clone()),
        ("OData-Version", "4.0".to_owned()),
        ("Date", date.unwrap_or_default()),
        ("Content-Type", kind.unwrap_or_default().to_owned()),
    ];
    for (name, value) in fixed.into_iter().chain(answer.headers).filter(|(_, value)| !value.is_empty()) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
