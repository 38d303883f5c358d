//! The listeners, and what every handler wants to know of a request.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::header::HOST;
use axum::http::request::Parts;
use axum::routing::{any, get, post};
use axum::{Extension, Router};

use crate::world::World;
use crate::{control, graph, identity};

/// Graph refuses bodies over about this size.
pub(crate) const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// The scheme of the listener a request came in by.
#[derive(Clone, Copy)]
pub(crate) struct Scheme(pub &'static str);

/// Scheme and host as the client used them, so that links lead back the same way.
pub(crate) struct Base(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Base {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let scheme = parts.extensions.get::<Scheme>().map_or("http", |scheme| scheme.0);
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = host.or(parts.uri.authority().map(|authority| authority.as_str()));
        Ok(Self(format!("{scheme}://{}", host.unwrap_or("localhost"))))
    }
}

/// A body that ends in its middle, as when a connection breaks.
pub(crate) fn cut_short(text: String) -> Body {
    let half = text.len() / 2;
    let pieces = [Ok(Bytes::from(text).slice(..half)), Err(std::io::Error::other("cut short on purpose"))];
    Body::from_stream(futures::stream::iter(pieces))
}

/// Everything one listener serves.
pub(crate) fn router(world: Arc<World>, scheme: Scheme) -> Router {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(identity::token::request_token))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(identity::openid_configuration))
        .route("/{tenant}/discovery/v2.0/keys", get(identity::keys))
        .route("/common/discovery/instance", get(identity::instance_discovery))
        .route("/v1.0/{*path}", any(graph::serve))
        .merge(control::router())
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(Extension(scheme))
        .with_state(world)
}
