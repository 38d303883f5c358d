//! Subscriptions as rows: one creates at a time, and a gap is kept with its start and end (FA-19 to FA-21).

use std::time::Duration;

use lockstep_core::{SubscriptionId, Timestamp};
use lockstep_store::{Resource, StoreError, SubscriptionStatus};
use secrecy::SecretString;
use serde_json::Value;
use uuid::Uuid;

use crate::world::World;

async fn intend(world: &World, resource: Resource) -> Result<SubscriptionId, StoreError> {
    world.store.open_subscription_intent(world.connection.id, resource, &SecretString::from("s")).await
}

async fn activate(world: &World, intent: SubscriptionId) -> bool {
    let end = world.now() + world.store.timing().sub_lifetime;
    world.store.activate_subscription(intent, Uuid::new_v4(), end, end).await.unwrap()
}

#[tokio::test]
async fn fa20_one_intent_at_a_time_for_each_resource() {
    let world = World::new().await;
    let first = intend(&world, Resource::Users).await.unwrap();
    assert!(matches!(intend(&world, Resource::Users).await, Err(StoreError::Conflict { .. })));
    intend(&world, Resource::Groups).await.expect("another resource is another matter");

    world.wait(Duration::from_secs(61));
    let second = intend(&world, Resource::Users).await.expect("its process died over the first");
    world.store.drop_subscription_intent(first).await.unwrap();
    assert!(!activate(&world, first).await, "who comes so late may not keep what he created");
    assert!(activate(&world, second).await);
    intend(&world, Resource::Users).await.expect("nobody is creating now");
}

#[tokio::test]
async fn fa21_a_gap_is_kept_with_its_start_and_end() {
    let mut world = World::new().await;
    let first = intend(&world, Resource::Users).await.unwrap();
    assert!(activate(&world, first).await);
    world.wait(Duration::from_secs(3600));
    let end = world.now() + world.store.timing().sub_lifetime;
    world.store.renew_subscription(first, end, end).await.unwrap();
    let renewed_at = world.now();

    world.wait(Duration::from_secs(7200));
    world.store.mark_subscription_gone(first).await.unwrap();
    world.store.mark_subscription_gone(first).await.unwrap();
    let second = intend(&world, Resource::Users).await.unwrap();
    assert!(activate(&world, second).await);

    let gone = "SELECT count(*) FROM audit WHERE action = 'subscription.gone'";
    assert_eq!(world.number(gone).await, 1, "gone twice is gone once");
    let told =
        world.text("SELECT detail FROM audit WHERE action = 'subscription.create' ORDER BY id DESC LIMIT 1").await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let at = |key: &str| told[key].as_str().and_then(Timestamp::parse);
    assert_eq!((at("gap_from"), at("gap_until")), (Some(renewed_at), Some(world.now())), "{told}");
    assert_eq!(told["resource"], "users");
    world.reload().await;
    assert!(world.connection.gap_since.is_some(), "a delta run is owed");
}

#[tokio::test]
async fn th_03_a_dismissed_subscription_is_believed_no_more_and_audited() {
    let world = World::new().await;
    let id = intend(&world, Resource::Groups).await.unwrap();
    assert!(activate(&world, id).await);
    world.store.dismiss_subscription(id).await.unwrap();
    assert_eq!(world.store.list_subscriptions(None).await.unwrap()[0].status, SubscriptionStatus::Gone);
    let by_hand = "SELECT count(*) FROM audit WHERE action = 'subscription.dismiss' AND actor = 'cli'";
    assert_eq!(world.number(by_hand).await, 1);
}
