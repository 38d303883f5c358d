//! The control API under `/sim`: what people and scripts use to play the administrator.

mod app;
mod groups;
mod objects;
mod settings;
mod users;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::SimulatorError;
use crate::tenant::Tenant;
use crate::world::World;

/// All routes under `/sim`; each takes `?tenant=<id or domain>` and means the default tenant without.
pub(crate) fn router() -> Router<Arc<World>> {
    Router::new()
        .route("/sim", get(settings::show))
        .route("/sim/users", get(users::list).post(users::create))
        .route("/sim/users/{id}", patch(users::patch).delete(users::delete).get(users::get))
        .route("/sim/users/{id}/restore", post(users::restore))
        .route("/sim/users/{id}/manager", delete(users::remove_manager))
        .route("/sim/users/{id}/manager/{manager}", put(users::set_manager))
        .route("/sim/groups", get(groups::list).post(groups::create))
        .route("/sim/groups/{id}", patch(groups::patch).delete(groups::delete).get(groups::get))
        .route("/sim/groups/{id}/restore", post(groups::restore))
        .route("/sim/groups/{group}/members/{member}", put(groups::add_member).delete(groups::remove_member))
        .route("/sim/truth", get(settings::truth))
        .route("/sim/seed", post(settings::seed))
        .route("/sim/tenants", get(settings::tenants).post(settings::add_tenant))
        .route("/sim/app", patch(app::change))
        .route("/sim/subscriptions", get(app::subscriptions).delete(app::lose_subscriptions))
        .route("/sim/subscriptions/{id}", delete(app::lose_subscription))
        .route("/sim/lifecycle", post(app::lifecycle))
        .route("/sim/faults", post(settings::add_fault).delete(settings::clear_faults))
        .route("/sim/clock", get(settings::clock).post(settings::set_clock))
        .route("/sim/settings", get(settings::settings).post(settings::change))
        .route("/sim/counters", get(settings::counters).delete(settings::reset_counters))
        .route("/sim/reset", post(settings::reset))
}

/// The tenant a request is about.
struct Chosen(Tenant);

#[derive(Deserialize)]
struct Choice {
    tenant: Option<String>,
}

impl FromRequestParts<Arc<World>> for Chosen {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, world: &Arc<World>) -> Result<Self, ControlError> {
        let Query(choice) = Query::<Choice>::try_from_uri(&parts.uri)
            .map_err(|_| ControlError::bad("tenant must be given once, as ?tenant=<id or domain>"))?;
        let state = match &choice.tenant {
            Some(wanted) => world.tenant(wanted),
            None => world.default_tenant(),
        };
        let state =
            state.ok_or_else(|| ControlError::missing("tenant", choice.tenant.as_deref().unwrap_or("default")))?;
        Ok(Self(Tenant::of(world.clone(), state)))
    }
}

/// `?hard=true`
#[derive(Deserialize)]
struct Hardness {
    #[serde(default)]
    hard: bool,
}

/// What went wrong, in words.
#[derive(Debug)]
struct ControlError {
    status: StatusCode,
    message: String,
}

impl ControlError {
    fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    fn missing(kind: &str, id: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: format!("there is no {kind} {id}") }
    }
}

impl From<SimulatorError> for ControlError {
    fn from(error: SimulatorError) -> Self {
        let status = match error {
            SimulatorError::NotFound { .. } => StatusCode::NOT_FOUND,
            SimulatorError::Refused(_) => StatusCode::BAD_REQUEST,
            SimulatorError::Bind { .. }
            | SimulatorError::Certificate(_)
            | SimulatorError::Tls(_)
            | SimulatorError::Sender(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, message: error.to_string() }
    }
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({"error": self.message}))).into_response()
    }
}

type Answered<T> = Result<T, ControlError>;

/// The body as JSON whatever its content type says, so that a bare `curl -d` works; empty is `{}`.
fn read_body<T: DeserializeOwned>(body: &Bytes) -> Answered<T> {
    let text: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(text).map_err(|error| ControlError::bad(format!("the body is not as expected: {error}")))
}

/// The body as Graph-style properties.
fn read_properties(body: &Bytes) -> Answered<serde_json::Map<String, Value>> {
    read_body(body)
}
