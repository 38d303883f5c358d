//! Subscriptions: made, renewed, found, gone.

use std::time::Duration;

use lockstep_core::Timestamp;
use lockstep_graph::{GraphError, NewSubscription, ReauthorizeOutcome, RenewOutcome, WatchedResource};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

use crate::server::{Server, error, json, status};
use crate::stand::{Stand, client_of};

/// Answers Graph's handshake as the receiver does.
async fn receiver() -> Server {
    Server::start(|request| {
        let target = request.line.split(' ').nth(1).unwrap_or_default();
        let url = Url::parse("http://receiver").and_then(|base| base.join(target)).unwrap();
        let token = url.query_pairs().find(|(name, _)| name == "validationToken").map(|(_, token)| token.into_owned());
        status(200, "Content-Type: text/plain\r\n", &token.unwrap_or_default())
    })
    .await
}

fn wanted(base: &str, now: i64) -> NewSubscription {
    NewSubscription {
        resource: WatchedResource::Users,
        notification_url: format!("{base}/hooks/path-token").parse().unwrap(),
        lifecycle_url: format!("{base}/hooks/path-token/lifecycle").parse().unwrap(),
        client_state: SecretString::from("ls1.9f3kQx7vT2mZrB8wYc5nHd0uE4aJpL6s"),
        expires_at: Timestamp::from_micros(now) + Duration::from_secs(48 * 3600),
    }
}

#[tokio::test]
async fn a_subscription_lives_is_renewed_and_ends() {
    let stand = Stand::start().await;
    let receiver = receiver().await;
    let wanted = wanted(&receiver.base, stand.simulator.clock().now_micros());

    let made = stand.graph.create_subscription(&wanted).await.unwrap();
    assert_eq!(made.expires_at.since(wanted.expires_at).as_secs(), 0);
    assert_eq!(receiver.graph_requests().len(), 2, "Graph called both addresses");

    let again = stand.graph.create_subscription(&wanted).await.unwrap_err();
    assert_eq!(again, GraphError::SubscriptionExists { id: Some(made.id) });

    let [listed] = &stand.graph.list_subscriptions().await.unwrap()[..] else { panic!("one") };
    assert_eq!((listed.id, listed.resource.as_str()), (made.id, "users"));
    assert_eq!(listed.notification_url, wanted.notification_url.as_str());
    assert!(!format!("{listed:?}").contains("path-token"), "the path token is a secret (G-27)");

    let later = wanted.expires_at + Duration::from_secs(3600);
    let RenewOutcome::Renewed { expires_at } = stand.graph.renew_subscription(made.id, later).await.unwrap() else {
        panic!("it is there")
    };
    assert_eq!(later.since(expires_at).as_secs(), 0);

    stand.graph.delete_subscription(made.id).await.unwrap();
    stand.graph.delete_subscription(made.id).await.expect("deleting twice is fine");
    assert_eq!(stand.graph.renew_subscription(made.id, later).await.unwrap(), RenewOutcome::Gone);
    assert!(stand.graph.list_subscriptions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_subscription_is_reauthorized_until_it_is_gone() {
    let stand = Stand::start().await;
    let receiver = receiver().await;
    let wanted = wanted(&receiver.base, stand.simulator.clock().now_micros());
    let created = stand.graph.create_subscription(&wanted).await.unwrap();
    assert_eq!(stand.graph.reauthorize_subscription(created.id).await, Ok(ReauthorizeOutcome::Reauthorized));
    let [listed] = &stand.graph.list_subscriptions().await.unwrap()[..] else { panic!("one") };
    assert_eq!(listed.expires_at, created.expires_at, "its end did not move");

    stand.graph.delete_subscription(created.id).await.unwrap();
    assert_eq!(stand.graph.reauthorize_subscription(created.id).await, Ok(ReauthorizeOutcome::Gone));
}

#[tokio::test]
async fn fa21_the_list_of_subscriptions_is_read_to_its_last_page_or_not_at_all() {
    let server = Server::start(|request| {
        let entry = |number: u8| {
            format!(r#"{{"id":"0d7a2f31-9f5b-4a0c-8e21-6b3f5d8c1a5{number}","resource":"users","expirationDateTime":"2027-01-05T09:15:00Z"}}"#)
        };
        let link = format!("{}/v1.0/subscriptions?$skiptoken=2", request.base());
        match request.line.contains("skiptoken") {
            false => json(&format!(r#"{{"value":[{}],"@odata.nextLink":"{link}"}}"#, entry(1))),
            true => json(&format!(r#"{{"value":[{}]}}"#, entry(2))),
        }
    })
    .await;
    assert_eq!(client_of(&server.base).list_subscriptions().await.unwrap().len(), 2);
    let cut = Server::start(|request| match request.line.contains("skiptoken") {
        false => {
            json(&format!(r#"{{"value":[],"@odata.nextLink":"{}/v1.0/subscriptions?$skiptoken=2"}}"#, request.base()))
        }
        true => status(503, "", ""),
    })
    .await;
    assert!(matches!(client_of(&cut.base).list_subscriptions().await, Err(GraphError::ServerError { .. })));
}

#[tokio::test]
async fn an_address_that_does_not_answer_the_handshake_is_told_apart() {
    let stand = Stand::start().await;
    let deaf = Server::start(|_| status(200, "Content-Type: application/json\r\n", "{}")).await;
    let wanted = wanted(&deaf.base, stand.simulator.clock().now_micros());
    let failed = stand.graph.create_subscription(&wanted).await.unwrap_err();
    assert_eq!(failed, GraphError::NotificationAddressFailed);
    assert!(failed.operator_sentence().contains("notification address"));
}

#[tokio::test]
async fn a_refused_subscription_says_whether_right_or_room_is_missing() {
    let wanted = wanted("https://hooks.example", 1_800_000_000_000_000);
    for (answer, expected) in [
        (
            error(403, "Authorization_RequestDenied", "Insufficient privileges"),
            GraphError::PermissionMissing { call: "POST /subscriptions", permission: "User.Read.All" },
        ),
        (error(403, "ExtensionError", "Maximum number of subscriptions"), GraphError::SubscriptionQuota),
        (
            error(409, "ObjectIdentifierInUse", "Subscription Id 0d7a2f31-9f5b-4a0c-8e21-6b3f5d8c1a55 already exists"),
            GraphError::SubscriptionExists { id: Some(Uuid::from_u128(0x0d7a2f31_9f5b_4a0c_8e21_6b3f5d8c1a55)) },
        ),
        (error(409, "ObjectIdentifierInUse", "in other words"), GraphError::SubscriptionExists { id: None }),
    ] {
        let server = Server::start(move |_| answer.clone()).await;
        assert_eq!(client_of(&server.base).create_subscription(&wanted).await.unwrap_err(), expected);
    }
}
