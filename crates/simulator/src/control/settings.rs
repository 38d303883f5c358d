//! Everything of the control API that is not about one user or group.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Answered, Chosen, ControlError, read_body};
use crate::clock::timestamp;
use crate::counter::Counters;
use crate::fault::Fault;
use crate::http::Base;
use crate::new_object::TenantSpec;
use crate::settings::Settings;
use crate::sync::write;
use crate::tenant::{Tenant, TruthUser};
use crate::world::World;

type Shared = State<Arc<World>>;

/// `GET /sim`: what a client needs to connect.
pub(super) async fn show(Chosen(tenant): Chosen, base: Base) -> Json<Value> {
    Json(described(&tenant, &base))
}

fn described(tenant: &Tenant, base: &Base) -> Value {
    json!({
        "tenant_id": tenant.id(),
        "domain": tenant.domain(),
        "client_id": tenant.client_id(),
        "client_secret": tenant.client_secret(),
        "graph_url": base.0,
        "login_url": base.0,
    })
}

pub(super) async fn truth(Chosen(tenant): Chosen) -> Json<Vec<TruthUser>> {
    Json(tenant.truth())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Seed {
    users: usize,
    in_groups: usize,
    groups: Vec<String>,
}

impl Default for Seed {
    fn default() -> Self {
        Self { users: 100, in_groups: 100, groups: vec!["Staff".to_owned()] }
    }
}

pub(super) async fn seed(Chosen(tenant): Chosen, body: Bytes) -> Answered<(StatusCode, Json<Value>)> {
    let seed: Seed = read_body(&body)?;
    let names: Vec<&str> = seed.groups.iter().map(String::as_str).collect();
    let (users, groups) = tenant.seed(seed.users, seed.in_groups, &names);
    let groups: Vec<Value> =
        groups.iter().zip(&names).map(|(id, name)| json!({"id": id, "displayName": name})).collect();
    Ok((StatusCode::CREATED, Json(json!({"users": users.len(), "groups": groups}))))
}

pub(super) async fn tenants(State(world): Shared, base: Base) -> Json<Vec<Value>> {
    let all = world.tenants().into_iter().map(|state| described(&Tenant::of(world.clone(), state), &base));
    Json(all.collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTenant {
    domain: String,
    display_name: Option<String>,
    token_lifetime_seconds: Option<u64>,
}

pub(super) async fn add_tenant(State(world): Shared, base: Base, body: Bytes) -> Answered<(StatusCode, Json<Value>)> {
    let wanted: NewTenant = read_body(&body)?;
    let usual = TenantSpec::default();
    let spec = TenantSpec {
        display_name: wanted.display_name.unwrap_or_else(|| wanted.domain.clone()),
        domain: wanted.domain,
        token_lifetime: wanted.token_lifetime_seconds.map_or(usual.token_lifetime, Duration::from_secs),
    };
    let tenant = Tenant::of(world.clone(), world.add_tenant(spec));
    Ok((StatusCode::CREATED, Json(described(&tenant, &base))))
}

pub(super) async fn add_fault(State(world): Shared, body: Bytes) -> Answered<(StatusCode, Json<Fault>)> {
    let fault: Fault = read_body(&body)?;
    if !(0.0..=1.0).contains(&fault.probability) {
        return Err(ControlError::bad("probability must be between 0 and 1"));
    }
    if fault.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        return Err(ControlError::bad("share must be between 0 and 1"));
    }
    if !fault.can_strike() {
        return Err(ControlError::bad(format!(
            "there is no route {}; write it as in /sim/counters, or `token`, `notifications`, `*`",
            fault.route
        )));
    }
    world.faults.set(fault.clone());
    Ok((StatusCode::CREATED, Json(fault)))
}

pub(super) async fn clear_faults(State(world): Shared) -> StatusCode {
    world.faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    advance_seconds: Option<f64>,
    scale: Option<f64>,
}

pub(super) async fn clock(State(world): Shared) -> Json<Value> {
    Json(json!({"now": timestamp(world.clock.now_micros()).to_string(), "scale": world.clock.scale()}))
}

pub(super) async fn set_clock(State(world): Shared, body: Bytes) -> Answered<Json<Value>> {
    let change: ClockChange = read_body(&body)?;
    if let Some(scale) = change.scale {
        world.clock.set_scale(scale);
    }
    if let Some(seconds) = change.advance_seconds {
        let by = Duration::try_from_secs_f64(seconds);
        world.clock.advance(by.map_err(|_| ControlError::bad("advance_seconds must not be negative"))?);
    }
    Ok(clock(State(world)).await)
}

/// `GET /sim/settings`
pub(super) async fn settings(State(world): Shared) -> Json<Settings> {
    Json(world.settings())
}

/// `POST /sim/settings`: any of the fields of [`Settings`]; the others stay as they are.
pub(super) async fn change(State(world): Shared, body: Bytes) -> Answered<StatusCode> {
    let change: Map<String, Value> = read_body(&body)?;
    let mut settings = write(&world.settings);
    let mut merged = serde_json::to_value(&*settings).unwrap_or_default();
    if let Value::Object(merged) = &mut merged {
        merged.extend(change);
    }
    *settings = serde_json::from_value(merged)
        .map_err(|error| ControlError::bad(format!("the settings are not as expected: {error}")))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn counters(State(world): Shared) -> Json<Counters> {
    Json(world.counting.snapshot())
}

pub(super) async fn reset_counters(State(world): Shared) -> StatusCode {
    world.counting.reset();
    StatusCode::NO_CONTENT
}

/// `POST /sim/reset`: an empty tenant, no faults, counters at 0.
pub(super) async fn reset(State(world): Shared, Chosen(tenant): Chosen) -> StatusCode {
    tenant.state().reset();
    world.faults.clear();
    world.counting.reset();
    StatusCode::NO_CONTENT
}
