//! The identity platform: tokens, and the documents that say where to get them.

mod assertion;
pub(crate) mod certificate;
pub(crate) mod error;
pub(crate) mod token;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::Base;
use crate::world::World;
use error::IdentityError;

/// Tenants that stand for many; their issuer is a template.
const SHARED: [&str; 3] = ["common", "organizations", "consumers"];

/// `GET /{tenant}/v2.0/.well-known/openid-configuration`
pub(crate) async fn openid_configuration(
    State(world): State<Arc<World>>,
    Path(tenant): Path<String>,
    base: Base,
) -> Response {
    world.counting.request("GET openid-configuration");
    let issuer_tenant = match world.tenant(&tenant) {
        Some(known) => known.id.to_string(),
        None if SHARED.contains(&tenant.to_ascii_lowercase().as_str()) => "{tenantid}".to_owned(),
        None => {
            return IdentityError::unknown_tenant_in_discovery(&tenant).respond(world.clock.now_micros(), None);
        }
    };
    Json(configuration(&base.0, &tenant, &issuer_tenant)).into_response()
}

fn configuration(base: &str, tenant: &str, issuer_tenant: &str) -> Value {
    json!({
        "issuer": format!("{base}/{issuer_tenant}/v2.0"),
        "authorization_endpoint": format!("{base}/{tenant}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
        "end_session_endpoint": format!("{base}/{tenant}/oauth2/v2.0/logout"),
        "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
        "userinfo_endpoint": format!("{base}/oidc/userinfo"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["code", "id_token", "code id_token"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "frontchannel_logout_supported": true,
    })
}

/// `GET /{tenant}/discovery/v2.0/keys`; nothing here signs a token that a client may verify yet.
pub(crate) async fn keys() -> Json<Value> {
    Json(json!({"keys": []}))
}

/// `GET /common/discovery/instance`, which Microsoft's libraries ask about hosts they do not know.
pub(crate) async fn instance_discovery(base: Base) -> Json<Value> {
    let host = base.0.split_once("://").map_or(base.0.as_str(), |(_, host)| host).to_owned();
    Json(json!({
        "tenant_discovery_endpoint": format!("{}/common/v2.0/.well-known/openid-configuration", base.0),
        "api-version": "1.1",
        "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
    }))
}
