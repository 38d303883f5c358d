//! Connections, endpoints and subscriptions (FA-19, G-22).

use std::time::Duration;

use lockstep_store::{
    ConnectionState, EndpointState, MacPurpose, NewConnection, NewCredential, Resource, StoreError, SubscriptionStatus,
    Trouble,
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::world::{World, mail, new_connection};

#[tokio::test]
async fn a_name_or_a_tenant_is_connected_once() {
    let world = World::new().await;
    let by_name = world.store.add_connection(new_connection("contoso")).await.err().unwrap();
    assert!(matches!(by_name, StoreError::Refused(_)), "{by_name}");
    let same_tenant = NewConnection { tenant_id: world.connection.tenant_id, ..new_connection("fabrikam") };
    let by_tenant = world.store.add_connection(same_tenant).await.err().unwrap();
    assert!(by_tenant.to_string().contains("one connection"), "{by_tenant}");
    assert!(world.connection.match_domains.contains("example.org"), "compared in one form");
}

/// C7: also when it is noted after somebody looked which credential holds.
#[tokio::test]
async fn c7_a_failure_of_a_replaced_credential_says_nothing_of_the_new_one() {
    let mut world = World::new().await;
    let before = world.connection.clone();
    world.store.note_connection_ok(before.id).await.unwrap();
    world.wait(Duration::from_secs(1));
    let second = NewCredential::ClientSecret(SecretString::from("second"));
    world.store.rotate_credential(before.id, &second).await.unwrap();
    let refused = Trouble {
        state: ConnectionState::NeedsAttention,
        reason: "refused".into(),
        remedy: "put a new secret".into(),
        next_try_at: Some(world.now() + Duration::from_secs(120)),
    };
    world.store.note_connection_trouble(&before, &refused).await.unwrap();
    world.reload().await;
    assert_eq!((world.connection.state, world.connection.next_try_at), (ConnectionState::Active, None));

    world.store.note_connection_trouble(&world.connection, &refused).await.unwrap();
    world.reload().await;
    assert_eq!(world.connection.state, ConnectionState::NeedsAttention);
}

#[tokio::test]
async fn trouble_says_why_and_since_when_and_success_ends_it() {
    let mut world = World::new().await;
    let trouble = |reason: &str| Trouble {
        state: ConnectionState::NeedsAttention,
        reason: reason.into(),
        remedy: "put a new secret".into(),
        next_try_at: None,
    };
    let since = world.now();
    world.store.note_connection_trouble(&world.connection, &trouble("expired")).await.unwrap();
    world.wait(Duration::from_secs(60));
    world.store.note_connection_trouble(&world.connection, &trouble("still expired")).await.unwrap();
    world.reload().await;
    let c = &world.connection;
    assert_eq!(
        (c.state, c.since, c.failures, c.reason.as_deref()),
        (ConnectionState::NeedsAttention, since, 2, Some("still expired"))
    );
    world.store.note_connection_ok(c.id).await.unwrap();
    world.reload().await;
    assert_eq!((world.connection.state, world.connection.reason.clone()), (ConnectionState::Active, None));
    assert_eq!(world.connection.checked_at, Some(world.now()));
}

#[tokio::test]
async fn fa_19_a_pending_intent_is_known_to_the_receiver_before_graph_answers() {
    let world = World::new().await;
    let token = world.store.path_token(&world.connection).await.unwrap();
    let mac = world.store.keys().mac(MacPurpose::PathToken, token.expose_secret().as_bytes());
    let state = SecretString::from("client-state");
    let id = world.store.open_subscription_intent(world.connection.id, Resource::Users, &state).await.unwrap();
    let endpoint = world.store.lookup_endpoint(&mac).await.unwrap().expect("the endpoint");
    let intent = &endpoint.subscriptions[0];
    assert_eq!((intent.id, intent.graph_id, intent.state), (id, None, EndpointState::Pending { since: world.now() }));
    assert!(world.store.keys().verify_mac(MacPurpose::ClientState, b"client-state", &intent.client_state_mac));

    let (graph_id, later) = (Uuid::new_v4(), world.now() + Duration::from_secs(3600));
    world.store.activate_subscription(id, graph_id, later, later).await.unwrap();
    let state_now = || async { world.store.list_endpoints().await.unwrap()[0].subscriptions[0].clone() };
    assert_eq!((state_now().await.graph_id, state_now().await.state), (Some(graph_id), EndpointState::Live));
    world.store.begin_renewal(id).await.unwrap();
    assert_eq!(state_now().await.state, EndpointState::Pending { since: world.now() });
    world.store.renew_subscription(id, later, later).await.unwrap();
    assert_eq!(state_now().await.state, EndpointState::Live);
    assert!(world.store.subscriptions_due(world.now()).await.unwrap().is_empty());
    assert_eq!(world.store.subscriptions_due(later).await.unwrap().len(), 1);
    world.store.mark_subscription_gone(id).await.unwrap();
    assert_eq!(state_now().await.state, EndpointState::Retired);
    assert_eq!(world.store.list_subscriptions(None).await.unwrap()[0].status, SubscriptionStatus::Gone);
    assert!(world.store.lookup_endpoint(&[0; 32]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_removed_connection_leaves_its_people_as_they_are() {
    let world = World::new().await;
    for n in 0..3 {
        let read = world.read(n, &mail(n), n != 0, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    world.store.open_subscription_intent(world.connection.id, Resource::Users, &SecretString::from("s")).await.unwrap();
    let records = world.number("SELECT count(*) FROM record WHERE status = 'active'").await;
    world.store.remove_connection(world.connection.id).await.unwrap();
    assert!(world.store.list_connections().await.unwrap().is_empty());
    assert_eq!(
        world.number("SELECT count(*) FROM record WHERE status = 'active' AND connection_id IS NULL").await,
        records
    );
    for table in
        ["SELECT count(*) FROM directory_user", "SELECT count(*) FROM membership", "SELECT count(*) FROM subscription"]
    {
        assert_eq!(world.number(table).await, 0, "{table}");
    }
    assert!(world.number("SELECT count(*) FROM history WHERE trigger = 'admin'").await >= records);
    let gone = world.store.remove_connection(world.connection.id).await.err().unwrap();
    assert!(matches!(gone, StoreError::NotFound { .. }));
}
