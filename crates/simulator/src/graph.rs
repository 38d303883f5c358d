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
mod users;

use std::sync::Arc;

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
use crate::http::Base;
use crate::identity::token::Grant;
use crate::odata::query::Query;
use crate::sync::read;
use crate::world::{TenantState, World};
use answer::{Answer, Body, Failure, Trace};
use route::Route;

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
}

/// A request with the right to be answered.
pub(crate) struct Call<'a> {
    pub world: &'a World,
    pub tenant: &'a TenantState,
    pub permissions: &'a [String],
    pub base: &'a str,
    pub request: &'a Request,
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
    let trouble = world.faults.strike(name, &world.chance);
    let answer = match (trouble.status, route) {
        (Some(status), _) => in_trouble(status, &trouble, &trace, true),
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
    tokio::time::sleep(world.latency() + trouble.delay).await;
    respond(answer, &trace, trouble.drop)
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
    let lag = i64::try_from(trouble.lag.as_micros()).unwrap_or(i64::MAX);
    let instant = (lag > 0).then(|| world.clock.now_micros() - lag);
    let call = Call { world, tenant: &grant.tenant, permissions: &grant.permissions, base, request, instant };
    let units = route.units(&request.query);
    world.counting.units(route.name(), units);
    let answered = match route.permitted(&grant.permissions) {
        true => dispatch(&call, route).await,
        false => Err(Failure::denied()),
    };
    answered.unwrap_or_else(|failure| failure.answer(trace)).with_header("x-ms-resource-unit", units)
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
    if grant.expires <= world.clock.now_micros() { Err(Failure::expired_token()) } else { Ok(grant) }
}

fn unknown_route(request: &Request) -> Failure {
    let segment = request.segments().into_iter().next().unwrap_or_default();
    Failure::new(400, "BadRequest", format!("Resource not found for the segment '{segment}'."))
}

/// The answer a fault asks for. A 5xx comes from a proxy in front of Graph and is HTML, except
/// inside a batch.
fn in_trouble(status: u16, trouble: &Trouble, trace: &Trace, alone: bool) -> Answer {
    let answer = match status {
        429 => Failure::throttled("Tenant_Application/ReadWrite").answer(trace),
        500.. if alone => Answer::html(status),
        503 => Failure::unavailable().answer(trace),
        401 => Failure::expired_token().answer(trace),
        403 => Failure::denied().answer(trace),
        404 => Failure::not_found(Uuid::nil()).answer(trace),
        410 => Failure::resync_required().answer(trace),
        other => Failure::new(other, "UnknownError", "").answer(trace),
    };
    match trouble.retry_after {
        Some(seconds) => answer.with_header("Retry-After", seconds),
        None => answer,
    }
}

/// The answer on the wire; `cut` ends it in the middle of the body.
fn respond(answer: Answer, trace: &Trace, cut: bool) -> Response {
    let (kind, text) = match answer.body {
        Body::Json(value) => (Some("application/json;odata.metadata=minimal;charset=utf-8"), value.to_string()),
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

fn cut_short(text: String) -> HttpBody {
    let half = text.len() / 2;
    let pieces = [Ok(Bytes::from(text).slice(..half)), Err(std::io::Error::other("cut short on purpose"))];
    HttpBody::from_stream(futures::stream::iter(pieces))
}
