//! `/sim/users`

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use serde_json::Value;

use super::objects::{all, shown, user_id};
use super::{Answered, Chosen, Hardness, read_properties};
use crate::directory::schema::Kind;
use crate::tenant::check_names;

pub(super) async fn list(Chosen(tenant): Chosen) -> Json<Vec<Value>> {
    Json(all(&tenant, Kind::User))
}

pub(super) async fn get(Chosen(tenant): Chosen, Path(id): Path<String>) -> Answered<Json<Value>> {
    Ok(Json(shown(&tenant, user_id(&tenant, &id)?)))
}

pub(super) async fn create(Chosen(tenant): Chosen, body: Bytes) -> Answered<(StatusCode, Json<Value>)> {
    let properties = read_properties(&body)?;
    check_names(Kind::User, &properties)?;
    let id = tenant.create_user_from(properties)?;
    Ok((StatusCode::CREATED, Json(shown(&tenant, id))))
}

pub(super) async fn patch(Chosen(tenant): Chosen, Path(id): Path<String>, body: Bytes) -> Answered<Json<Value>> {
    let properties = read_properties(&body)?;
    let id = user_id(&tenant, &id)?;
    tenant.patch_user(id, Value::Object(properties))?;
    Ok(Json(shown(&tenant, id)))
}

pub(super) async fn delete(
    Chosen(tenant): Chosen,
    Path(id): Path<String>,
    Query(Hardness { hard }): Query<Hardness>,
) -> Answered<StatusCode> {
    tenant.delete_user(user_id(&tenant, &id)?, hard)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn set_manager(
    Chosen(tenant): Chosen,
    Path((id, manager)): Path<(String, String)>,
) -> Answered<StatusCode> {
    tenant.set_manager(user_id(&tenant, &id)?, Some(user_id(&tenant, &manager)?))?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn remove_manager(Chosen(tenant): Chosen, Path(id): Path<String>) -> Answered<StatusCode> {
    tenant.set_manager(user_id(&tenant, &id)?, None)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn restore(Chosen(tenant): Chosen, Path(id): Path<String>) -> Answered<Json<Value>> {
    let id = user_id(&tenant, &id)?;
    tenant.restore_user(id)?;
    Ok(Json(shown(&tenant, id)))
}
