//! Client credentials: an opaque token bound to a tenant and to what was consented there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;
use url::form_urlencoded;
use uuid::Uuid;

use super::assertion::{self, Expected};
use super::error::IdentityError;
use crate::fault::{Trouble, Twist};
use crate::http::{Base, cut_short};
use crate::settings::Settings;
use crate::sync::{lock, read};
use crate::tenant::AppState;
use crate::world::{TenantState, World};

/// The route's name in counters and faults.
const ROUTE: &str = "POST token";

/// Hosts a token may be asked for, beside the simulator itself.
const GRAPH_HOSTS: [&str; 4] =
    ["graph.microsoft.com", "graph.microsoft.us", "dod-graph.microsoft.us", "microsoftgraph.chinacloudapi.cn"];

/// What a token stands for.
#[derive(Clone)]
pub(crate) struct Grant {
    pub tenant: Arc<TenantState>,
    /// The application permissions consented when it was given out.
    pub permissions: Vec<String>,
    /// Microseconds.
    pub expires: i64,
}

/// The tokens given out.
#[derive(Default)]
pub(crate) struct Tokens {
    grants: Mutex<HashMap<String, Grant>>,
}

impl Tokens {
    fn give(&self, tenant: &Arc<TenantState>, now: i64) -> String {
        let token = format!("sim.{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let lifetime = i64::try_from(read(&tenant.token_lifetime).as_micros()).unwrap_or(i64::MAX);
        let grant = Grant {
            tenant: tenant.clone(),
            permissions: read(&tenant.permissions).clone(),
            expires: now.saturating_add(lifetime),
        };
        let mut grants = lock(&self.grants);
        // Expired ones are kept for a day, since Graph answers them differently from unknown ones.
        grants.retain(|_, grant| grant.expires > now - 24 * 3600 * 1_000_000);
        grants.insert(token.clone(), grant);
        token
    }

    /// Takes from all tokens of a tenant what is not among these permissions.
    pub fn narrow(&self, tenant: Uuid, permissions: &[String]) {
        let mut grants = lock(&self.grants);
        for grant in grants.values_mut().filter(|grant| grant.tenant.id == tenant) {
            grant.permissions.retain(|permission| permissions.contains(permission));
        }
    }

    /// Ends all tokens of a tenant.
    pub fn expire(&self, tenant: Uuid, now: i64) {
        let mut grants = lock(&self.grants);
        for grant in grants.values_mut().filter(|grant| grant.tenant.id == tenant) {
            grant.expires = grant.expires.min(now);
        }
    }

    pub fn lookup(&self, token: &str) -> Option<Grant> {
        lock(&self.grants).get(token).cloned()
    }
}

/// `POST /{tenant}/oauth2/v2.0/token`
pub(crate) async fn request_token(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    base: Base,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    world.counting.request(ROUTE);
    let trouble = world.faults.strike(ROUTE, &world.chance);
    tokio::time::sleep(trouble.delay).await;
    let form = Form::parse(&body);
    let correlation =
        headers.get("client-request-id").and_then(|id| id.to_str().ok()).or(form.get("client-request-id"));
    let correlation = correlation.and_then(|id| Uuid::parse_str(id).ok());
    if let Some(status) = trouble.status {
        return out_of_order(status, &trouble);
    }
    let now = world.clock.now_micros();
    match grant(&world, &tenant, &base.0, &form, &trouble) {
        Ok(tenant) => given(&world, &tenant, &trouble, now),
        Err(error) => error.respond(now, correlation),
    }
}

/// The token, as the faults in force let it be seen.
fn given(world: &World, tenant: &Arc<TenantState>, trouble: &Trouble, now: i64) -> Response {
    let lifetime = i64::try_from(read(&tenant.token_lifetime).as_secs()).unwrap_or(i64::MAX);
    let claimed = trouble.expires_in.unwrap_or(lifetime);
    let kind = if trouble.has(Twist::OtherTokenType) { "pop" } else { "Bearer" };
    let mut body = json!({"token_type": kind, "expires_in": claimed, "ext_expires_in": claimed});
    if !trouble.has(Twist::NoAccessToken) {
        body["access_token"] = json!(world.tokens.give(tenant, now));
    }
    let text = match trouble {
        trouble if trouble.has(Twist::NotJson) => "The service is being moved.".to_owned(),
        trouble if trouble.has(Twist::Empty) => String::new(),
        _ => body.to_string(),
    };
    let body = if trouble.drop { cut_short(text) } else { Body::from(text) };
    ([("Content-Type", "application/json; charset=utf-8")], body).into_response()
}

fn out_of_order(status: u16, trouble: &Trouble) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let mut answer = (status, Html(format!("<html><body><h1>{status}</h1></body></html>"))).into_response();
    let retry_after = trouble.retry_after.as_ref().and_then(|text| HeaderValue::from_str(text).ok());
    if let Some(text) = retry_after {
        answer.headers_mut().insert("Retry-After", text);
    }
    answer
}

/// Decides, in Entra's order: tenant, grant, app, credential, scope.
fn grant(
    world: &World,
    tenant: &str,
    base: &str,
    form: &Form,
    trouble: &Trouble,
) -> Result<Arc<TenantState>, IdentityError> {
    let tenant = world.tenant(tenant).ok_or_else(|| IdentityError::unknown_tenant(tenant))?;
    if let Some(code) = trouble.aadsts {
        return Err(IdentityError::of_code(code, tenant.app.client_id, tenant.id));
    }
    let kind = form.get("grant_type").unwrap_or_default();
    if kind != "client_credentials" {
        return Err(IdentityError::unsupported_grant(kind));
    }
    let app = form.get("client_id").unwrap_or_default();
    if Uuid::parse_str(app).ok() != Some(tenant.app.client_id) {
        return Err(IdentityError::unknown_app(app, &tenant.spec.display_name));
    }
    match *read(&tenant.app_state) {
        AppState::Active => {}
        AppState::Disabled => return Err(IdentityError::app_disabled(tenant.app.client_id)),
        AppState::Removed => return Err(IdentityError::no_service_principal(tenant.app.client_id, tenant.id)),
    }
    check_credential(world, &tenant, base, form)?;
    check_scope(form.get("scope").unwrap_or_default(), base)?;
    Ok(tenant)
}

/// A secret, or an assertion signed by a registered certificate.
fn check_credential(world: &World, tenant: &TenantState, base: &str, form: &Form) -> Result<(), IdentityError> {
    match (form.get("client_secret"), form.get("client_assertion")) {
        (Some(secret), _) if secret == *read(&tenant.secret) => Ok(()),
        (Some(_), _) => Err(IdentityError::secret_wrong(tenant.app.client_id)),
        (None, Some(text)) if form.get("client_assertion_type") == Some(assertion::TYPE) => {
            let Settings { login_hosts: mut hosts, assertions_once: once, .. } = world.settings();
            hosts.extend(base.split_once("://").map(|(_, host)| host.to_owned()));
            assertion::check(text, &Expected { tenant, hosts: &hosts, once, now: world.clock.now_micros() })
        }
        (None, _) => Err(IdentityError::no_credential()),
    }
}

/// Exactly one `<Graph>/.default`.
fn check_scope(scope: &str, base: &str) -> Result<(), IdentityError> {
    let host = scope.strip_suffix("/.default").map(|resource| resource.trim_end_matches('/'));
    let graph = GRAPH_HOSTS.iter().any(|known| host == Some(&format!("https://{known}")));
    let bare = |url: &str| url.split_once("://").map(|(_, host)| host.to_owned());
    let ours = host.is_some_and(|host| bare(host) == bare(base) || is_loopback(host));
    if graph || ours { Ok(()) } else { Err(IdentityError::invalid_scope(scope)) }
}

fn is_loopback(resource: &str) -> bool {
    let host = url::Url::parse(resource).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.is_some_and(|host| ["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str()))
}

struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_scope_for_graph_or_this_simulator_is_good() {
        let base = "http://127.0.0.1:4000";
        for scope in [
            "https://graph.microsoft.com/.default",
            "http://127.0.0.1:4000/.default",
            "https://graph.microsoft.us//.default",
        ] {
            assert!(check_scope(scope, base).is_ok(), "{scope}");
        }
        for scope in [
            "",
            "https://graph.example/.default",
            "https://graph.microsoft.com/User.Read",
            "https://graph.microsoft.com/.default openid",
        ] {
            assert!(check_scope(scope, base).is_err(), "{scope}");
        }
    }
}
