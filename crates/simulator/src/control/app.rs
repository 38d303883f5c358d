//! `/sim/app`, `/sim/subscriptions`, `/sim/lifecycle`: the tenant's view of Lockstep.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Answered, Chosen, read_body};
use crate::subscription::LifecycleEvent;
use crate::tenant::AppState;
use crate::world::World;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppChange {
    client_secret: Option<String>,
    /// PEM; they replace those registered before.
    certificates: Option<Vec<String>>,
    permissions: Option<Vec<String>>,
    /// Tokens given out lose the withdrawn permissions as well.
    #[serde(default)]
    at_once: bool,
    state: Option<AppState>,
    token_lifetime_seconds: Option<u64>,
    #[serde(default)]
    expire_tokens: bool,
}

/// `PATCH /sim/app`: rotate secret or certificates, consent to other permissions, switch the app
/// off, change the life of tokens.
pub(super) async fn change(Chosen(tenant): Chosen, body: Bytes) -> Answered<StatusCode> {
    let change: AppChange = read_body(&body)?;
    if let Some(certificates) = change.certificates {
        tenant.set_certificates(&certificates)?;
    }
    if let Some(secret) = change.client_secret {
        tenant.set_client_secret(&secret);
    }
    match change.permissions {
        Some(permissions) if change.at_once => tenant.set_permissions_at_once(permissions),
        Some(permissions) => tenant.set_permissions(permissions),
        None => {}
    }
    if let Some(state) = change.state {
        tenant.set_app_state(state);
    }
    if let Some(seconds) = change.token_lifetime_seconds {
        tenant.set_token_lifetime(Duration::from_secs(seconds));
    }
    if change.expire_tokens {
        tenant.expire_tokens();
    }
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn subscriptions(State(world): State<Arc<World>>, Chosen(tenant): Chosen) -> Json<Vec<Value>> {
    let live = tenant.state().live_subscriptions(world.clock.now_micros());
    let app = &tenant.state().app;
    Json(live.iter().map(|subscription| subscription.show(app.client_id, app.service_principal, false)).collect())
}

pub(super) async fn lose_subscriptions(Chosen(tenant): Chosen) -> StatusCode {
    tenant.lose_subscriptions();
    StatusCode::NO_CONTENT
}

/// `DELETE /sim/subscriptions/{id}`: silently, as has been seen in the field.
pub(super) async fn lose_subscription(Chosen(tenant): Chosen, Path(id): Path<Uuid>) -> Answered<StatusCode> {
    tenant.lose_subscription(id)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Lifecycle {
    subscription: Uuid,
    event: LifecycleEvent,
}

pub(super) async fn lifecycle(Chosen(tenant): Chosen, body: Bytes) -> Answered<StatusCode> {
    let wanted: Lifecycle = read_body(&body)?;
    tenant.send_lifecycle(wanted.subscription, wanted.event)?;
    Ok(StatusCode::NO_CONTENT)
}
