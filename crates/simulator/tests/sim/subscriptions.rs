//! Subscriptions (graph-contract.md, section 1).

use std::time::Duration;

use lockstep_simulator::{Fault, SimClock};
use serde_json::{Value, json};

use crate::stage::{Echo, Receiver, Stage};

#[tokio::test]
async fn creating_shakes_hands_with_both_urls_and_echoes_the_client_state_once() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let created = stage.subscribe("users", &receiver).await;
    assert_eq!(receiver.handshakes(), 2);
    assert_eq!(created["clientState"], "the-client-state");
    assert_eq!(created["applicationId"], json!(stage.tenant.client_id()));
    assert_eq!(created["encryptionCertificate"], Value::Null);

    let (_, list) = stage.get("subscriptions").await;
    assert_eq!(list["value"][0]["id"], created["id"]);
    assert_eq!(list["value"][0]["clientState"], Value::Null);
    let id = created["id"].as_str().unwrap();
    assert_eq!(stage.get(&format!("subscriptions/{id}")).await.1["resource"], "users");
}

#[tokio::test]
async fn a_wrong_handshake_makes_no_subscription() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    for wrong in [Echo::Encoded, Echo::Json, Echo::Status(202), Echo::Status(500)] {
        receiver.echo(wrong);
        let (status, refused) = stage.post("subscriptions", stage.subscription("users", &receiver)).await;
        assert_eq!((status, refused["error"]["code"].as_str()), (400, Some("InvalidRequest")));
    }
    assert!(stage.tenant.subscriptions().is_empty());
}

#[tokio::test]
async fn plain_http_is_for_loopback_only() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let mut wanted = stage.subscription("users", &receiver);
    wanted["notificationUrl"] = json!("http://hooks.example.test/notifications");
    assert_eq!(stage.post("subscriptions", wanted).await.0, 400);
}

#[tokio::test]
async fn the_same_combination_is_a_duplicate_and_names_the_first() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let first = stage.subscribe("groups", &receiver).await;
    let mut wanted = stage.subscription("/Groups", &receiver);
    wanted["changeType"] = json!("deleted,updated");
    let (status, duplicate) = stage.post("subscriptions", wanted).await;
    let id = first["id"].as_str().unwrap();
    let message = format!("Subscription Id {id} already exists for the requested combination");
    assert_eq!((status, duplicate["error"]["message"].as_str()), (409, Some(message.as_str())));

    assert_eq!(stage.delete(&format!("subscriptions/{id}")).await, 204);
    stage.subscribe("groups", &receiver).await;
}

#[tokio::test]
async fn a_subscription_expires_on_the_simulated_clock_and_is_then_gone() {
    let clock = SimClock::real();
    let mut stage = Stage::at(clock.clone()).await;
    let receiver = Receiver::listen().await;
    let created = stage.subscribe("users", &receiver).await;
    let path = format!("subscriptions/{}", created["id"].as_str().unwrap());

    clock.advance(Duration::from_secs(23 * 3600));
    stage.renew_token().await;
    let (status, renewed) = stage.patch(&path, json!({"expirationDateTime": stage.in_minutes(60 * 24)})).await;
    assert_eq!(status, 200);
    assert!(renewed["expirationDateTime"].as_str() > created["expirationDateTime"].as_str());
    let (status, _) = stage.post(&format!("{path}/reauthorize"), json!({})).await;
    assert_eq!(status, 204);

    clock.advance(Duration::from_secs(25 * 3600));
    stage.renew_token().await;
    let (status, gone) = stage.patch(&path, json!({"expirationDateTime": stage.in_minutes(60)})).await;
    assert_eq!((status, gone["error"]["code"].as_str()), (404, Some("ResourceNotFound")));
    assert_eq!(stage.get("subscriptions").await.1["value"], json!([]));
}

#[tokio::test]
async fn a_short_life_is_raised_and_a_long_one_refused() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let mut wanted = stage.subscription("users", &receiver);
    wanted["expirationDateTime"] = json!(stage.in_minutes(41_770));
    let (status, refused) = stage.post("subscriptions", wanted.clone()).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (400, Some("ExtensionError")));

    wanted["expirationDateTime"] = json!(stage.in_minutes(1));
    let (status, created) = stage.post("subscriptions", wanted).await;
    assert_eq!(status, 201);
    assert!(created["expirationDateTime"].as_str() > Some(stage.in_minutes(44).as_str()));
}

#[tokio::test]
async fn the_quota_is_a_hundred_per_app() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let (people, _) = stage.tenant.seed(101, 0, &[]);
    for person in &people[..100] {
        stage.subscribe(&format!("users/{person}"), &receiver).await;
    }
    let over = stage.subscription(&format!("users/{}", people[100]), &receiver);
    let (status, refused) = stage.post("subscriptions", over).await;
    assert_eq!((status, refused["error"]["code"].as_str()), (403, Some("ExtensionError")));
}

#[tokio::test]
async fn without_the_permission_to_read_a_subscription_is_neither_made_nor_renewed() {
    let mut stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let created = stage.subscribe("groups", &receiver).await;
    let path = format!("subscriptions/{}", created["id"].as_str().unwrap());
    stage.tenant.set_permissions(vec!["User.Read.All".to_owned()]);
    stage.renew_token().await;

    let expiry = json!({"expirationDateTime": stage.in_minutes(60)});
    assert_eq!(stage.patch(&path, expiry).await.0, 403);
    assert_eq!(stage.post(&format!("{path}/reauthorize"), json!({})).await.0, 403);
    let other = stage.subscription("groups/3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c01", &receiver);
    assert_eq!(stage.post("subscriptions", other).await.0, 403);
    stage.subscribe("users", &receiver).await;
}

#[tokio::test]
async fn the_cap_and_the_quota_can_be_lower_than_documented() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    stage.sim.change_settings(|settings| {
        settings.subscription_cap_minutes = 41_700;
        settings.subscription_quota = 1;
    });
    let mut wanted = stage.subscription("users", &receiver);
    wanted["expirationDateTime"] = json!(stage.in_minutes(41_750));
    let (_, refused) = stage.post("subscriptions", wanted).await;
    assert_eq!(refused["error"]["message"], "Subscription expiration can only be 41700 minutes in the future.");
    stage.subscribe("users", &receiver).await;
    assert_eq!(stage.post("subscriptions", stage.subscription("groups", &receiver)).await.0, 403);
}

#[tokio::test]
async fn a_renewal_can_ask_for_the_handshake_again() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let created = stage.subscribe("users", &receiver).await;
    let path = format!("subscriptions/{}", created["id"].as_str().unwrap());
    let renew = async || stage.patch(&path, json!({"expirationDateTime": stage.in_minutes(600)})).await.0;
    assert_eq!((renew().await, receiver.handshakes()), (200, 2));
    stage.sim.change_settings(|settings| settings.handshake_on_renewal = true);
    assert_eq!((renew().await, receiver.handshakes()), (200, 3));
    receiver.echo(Echo::Status(500));
    assert_eq!(renew().await, 400);
}

/// FA-21
#[tokio::test]
async fn one_subscription_is_lost_without_a_word() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let users = stage.subscribe("users", &receiver).await;
    let groups = stage.subscribe("groups", &receiver).await;
    let id = users["id"].as_str().unwrap();
    let request = stage.http.delete(format!("{}/sim/subscriptions/{id}", stage.sim.url()));
    assert_eq!(stage.send(request).await.0, 204);
    assert_eq!(stage.get("subscriptions").await.1["value"][0]["id"], groups["id"]);
    assert_eq!(stage.patch(&format!("subscriptions/{id}"), json!({})).await.0, 404);
    assert_eq!(receiver.posts().len(), 0);
}

#[tokio::test]
async fn refusals_on_demand_read_as_the_real_ones() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let on = |route: &str, status| Fault { status: Some(status), remaining: Some(1), ..Fault::on(route) };
    let create = async || stage.post("subscriptions", stage.subscription("users", &receiver)).await;
    for (status, code) in [(403, "ExtensionError"), (409, "ObjectIdentifierInUse")] {
        stage.sim.set_fault(on("POST /subscriptions", status));
        let (answered, refused) = create().await;
        assert_eq!((answered, refused["error"]["code"].as_str()), (status, Some(code)));
    }
    let (_, created) = create().await;
    stage.sim.set_fault(on("PATCH /subscriptions/{id}", 404));
    let (status, gone) = stage.patch(&format!("subscriptions/{}", created["id"].as_str().unwrap()), json!({})).await;
    assert_eq!((status, gone["error"]["code"].as_str()), (404, Some("ResourceNotFound")));
}
