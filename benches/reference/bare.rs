//! The reference *bare*: an axum route that reads and parses the same bodies and answers 202. Nothing is checked, nothing
//! is kept. What it does in a second is what HTTP and JSON cost on these cores; the rest is Lockstep's.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;

/// The body as a minimal receiver would read it.
#[derive(Deserialize)]
struct Post {
    value: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    subscription_id: String,
    tenant_id: String,
    client_state: String,
    change_type: String,
    resource_data: ResourceData,
}

#[derive(Deserialize)]
struct ResourceData {
    id: String,
}

async fn read_and_answer(body: Bytes) -> StatusCode {
    let Ok(post) = serde_json::from_slice::<Post>(&body) else { return StatusCode::BAD_REQUEST };
    for item in &post.value {
        // Keeps the parse from being optimised away.
        std::hint::black_box((
            &item.subscription_id,
            &item.tenant_id,
            &item.client_state,
            &item.change_type,
            &item.resource_data.id,
        ));
    }
    StatusCode::ACCEPTED
}

/// Serves the reference on a free port of the loopback until the process ends.
///
/// # Errors
/// When no port can be bound.
pub(crate) async fn serve() -> std::io::Result<SocketAddr> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/graph/{token}/notifications", post(read_and_answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}
