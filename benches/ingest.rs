//! T3: durable ingest on the embedded queue, as a share of *bare*, at 1 and at 10 items per POST.
//!
//! `cargo run --release -p lockstep-benches --bin ingest [SECONDS]`

use std::net::SocketAddr;
use std::time::Duration;

use lockstep_benches::statistics::{median, percentile};
use lockstep_benches::{bare, load};
use lockstep_core::ObjectId;
use lockstep_receiver::Limits;
use lockstep_simulator::SimClock;
use lockstep_store::{NewConnection, NewCredential, Resource};
use lockstep_testkit::{Parts, open_parts};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

const CONNECTIONS: usize = 256;
const REPETITIONS: usize = 3;

/// What a notification must name to be authentic.
struct Endpoint {
    path: String,
    tenant: Uuid,
    subscription: Uuid,
    client_state: String,
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5);
    let length = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The measurement is of work, not of the rate limit.
    let limits = Limits { posts_per_second: u32::MAX, posts_in_work: 4 * CONNECTIONS, ..Limits::default() };
    let parts = open_parts(folder.path(), &SimClock::real(), limits).await;
    let endpoint = subscribed(&parts).await;
    let bare = bare::serve().await.expect("a free port");
    println!(
        "{CONNECTIONS} connections, {seconds} s each, median of {REPETITIONS}; load, reference and receiver share the cores"
    );
    println!(
        "{:>10} {:>14} {:>14} {:>7} {:>10} {:>10} {:>6}",
        "items/POST", "bare POST/s", "ours POST/s", "share", "p50 ms", "p99 ms", "lost"
    );
    for items in [1, 10] {
        measure(&parts, bare, &endpoint, items, length).await;
    }
}

async fn measure(parts: &Parts, bare: SocketAddr, endpoint: &Endpoint, items: usize, length: Duration) {
    let request = load::request(&endpoint.path, &body(endpoint, items));
    let (mut bares, mut ours, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let mut milliseconds = Vec::new();
    let (mut accepted, mut other) = (0, 0);
    let before = parts.queue.depth().await.expect("the queue answers").messages;
    for _ in 0..REPETITIONS {
        let reference = load::run(bare, CONNECTIONS, length, request.clone()).await.expect("the reference answers");
        let seen =
            load::run(parts.receiver.addr, CONNECTIONS, length, request.clone()).await.expect("the receiver answers");
        bares.push(reference.rate());
        ours.push(seen.rate());
        shares.push(seen.rate() / reference.rate());
        milliseconds.extend(&seen.milliseconds);
        accepted += seen.accepted;
        other += seen.other;
    }
    let kept = parts.queue.depth().await.expect("the queue answers").messages - before;
    let lost = i128::from(accepted) - i128::from(kept);
    println!(
        "{items:>10} {:>14.0} {:>14.0} {:>6.1}% {:>10.1} {:>10.1} {lost:>6}",
        median(&mut bares),
        median(&mut ours),
        median(&mut shares) * 100.0,
        percentile(&mut milliseconds, 0.5),
        percentile(&mut milliseconds, 0.99),
    );
    assert_eq!(other, 0, "an answer was neither 2xx nor 503");
}

/// A connection with one live subscription, as a renewer would have left it.
async fn subscribed(parts: &Parts) -> Endpoint {
    let connection = NewConnection {
        name: "bench".to_owned(),
        tenant_id: ObjectId(Uuid::new_v4()),
        domain: "bench.example".to_owned(),
        client_id: Uuid::new_v4().to_string(),
        credential: NewCredential::ClientSecret(SecretString::from("unused")),
        cloud: "global".to_owned(),
        realm: None,
        guests: false,
        match_domains: Vec::new(),
        test_users: Vec::new(),
    };
    let connection = parts.store.add_connection(connection).await.expect("a connection");
    let client_state = Uuid::new_v4().to_string();
    let secret = SecretString::from(client_state.clone());
    let intent =
        parts.store.open_subscription_intent(connection.id, Resource::Users, &secret).await.expect("an intent");
    let subscription = Uuid::new_v4();
    let until = parts.store.now() + Duration::from_secs(86_400);
    parts.store.activate_subscription(intent, subscription, until, until).await.expect("a subscription");
    let token = parts.store.path_token(&connection).await.expect("a path token");
    let path = format!("/graph/{}/notifications", token.expose_secret());
    Endpoint { path, tenant: connection.tenant_id.0, subscription, client_state }
}

fn body(endpoint: &Endpoint, items: usize) -> String {
    let item = |_| {
        let user = Uuid::new_v4();
        json!({
            "changeType": "updated",
            "clientState": endpoint.client_state,
            "resource": format!("Users/{user}"),
            "resourceData": {
                "@odata.type": "#Microsoft.Graph.User",
                "@odata.id": format!("Users/{user}"),
                "id": user,
                "organizationId": endpoint.tenant,
            },
            "subscriptionExpirationDateTime": "2027-01-05T09:15:00+00:00",
            "subscriptionId": endpoint.subscription,
            "tenantId": endpoint.tenant,
        })
    };
    json!({"value": (0..items).map(item).collect::<Vec<_>>()}).to_string()
}
