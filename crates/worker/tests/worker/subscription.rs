//! Two subscriptions per connection, over the real receiver: created with the handshake, renewed, recreated when gone.

use lockstep_core::record::Status;
use lockstep_receiver::{Limits, Receiver, ReceiverConfig, RunningReceiver};
use lockstep_simulator::LifecycleEvent;
use lockstep_store::{Subscription, SubscriptionStatus};
use lockstep_worker::{WorkerConfig, remove_connection, renew_subscriptions_now};
use serde_json::json;

use crate::world::{World, employees, eventually, minutes};

/// A world whose receiver listens, with one mapped group, synced and subscribed.
async fn subscribed() -> (World, RunningReceiver, uuid::Uuid) {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    world.apply(vec![employees(staff)]).await;
    let bind = "127.0.0.1:0".parse().unwrap();
    let config = ReceiverConfig { bind, limits: Limits::default() };
    let clock = world.store.clock().clone();
    let receiver = Receiver::start(config, world.store.clone(), world.queue.clone(), clock).await.unwrap();
    let public_url = format!("http://{}/", receiver.addr).parse().unwrap();
    world.work_as(WorkerConfig { public_url: Some(public_url), ..world.config() });
    world.sync().await;
    (world, receiver, staff)
}

async fn live(world: &World) -> Vec<Subscription> {
    let all = world.store.list_subscriptions(Some(world.connection.id)).await.unwrap();
    all.into_iter().filter(|one| one.status == SubscriptionStatus::Active).collect()
}

#[tokio::test]
async fn a_change_in_microsoft_reaches_the_record_by_its_notification() {
    let (mut world, receiver, staff) = subscribed().await;
    assert_eq!(live(&world).await.len(), 2);
    let ada = world.hire("Ada", &[staff]);
    eventually("nobody is hired", async || world.status(ada).await == Some(Status::Active)).await;

    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    eventually("access is not taken", async || {
        world.sim.clock().advance(std::time::Duration::from_millis(500));
        world.status(ada).await == Some(Status::Inactive)
    })
    .await;
    world.rest().await;
    receiver.stop().await;
}

/// Half-life, give or take a tenth of 48 h.
#[tokio::test]
async fn subscriptions_are_renewed_at_half_life() {
    let (mut world, receiver, _) = subscribed().await;
    let before = live(&world).await;
    world.sim.clock().advance(minutes(60 * 18));
    world.settled().await;
    assert_eq!(
        live(&world).await.iter().map(|one| one.expires_at).max(),
        before.iter().map(|one| one.expires_at).max()
    );

    world.sim.clock().advance(minutes(60 * 12));
    eventually("nothing is renewed", async || {
        live(&world).await.iter().all(|one| before.iter().all(|old| one.expires_at > old.expires_at))
    })
    .await;
    assert_eq!(world.tenant.subscriptions().len(), 2, "renewed, not created anew");
    world.rest().await;
    receiver.stop().await;
}

/// FA-21: gone in Graph without a word; found at the renewal, created anew, and the gap is closed.
#[tokio::test]
async fn fa21_subscriptions_that_are_gone_are_created_anew_and_caught_up() {
    let (mut world, receiver, staff) = subscribed().await;
    world.tenant.lose_subscriptions();
    let ada = world.hire("Ada", &[staff]);
    world.sim.clock().advance(minutes(60 * 30));
    eventually("they are not created anew", async || world.tenant.subscriptions().len() == 2).await;
    eventually("what happened meanwhile is not caught up", async || world.status(ada).await == Some(Status::Active))
        .await;
    world.rest().await;
    receiver.stop().await;
}

/// FA-19: Graph created it, we died before saving it. The orphan is deleted and made anew.
#[tokio::test]
async fn fa19_an_orphaned_subscription_is_replaced() {
    let (mut world, receiver, _) = subscribed().await;
    for one in live(&world).await {
        world.store.mark_subscription_gone(one.id).await.unwrap();
    }
    let orphans = world.tenant.subscriptions();
    eventually("they are not replaced", async || {
        let now = world.tenant.subscriptions();
        now.len() == 2 && now.iter().all(|id| !orphans.contains(id)) && live(&world).await.len() == 2
    })
    .await;
    world.rest().await;
    receiver.stop().await;
}

#[tokio::test]
async fn reauthorization_required_renews_at_once() {
    let (mut world, receiver, _) = subscribed().await;
    let before = live(&world).await;
    world.sim.clock().advance(minutes(60));
    for id in world.tenant.subscriptions() {
        world.tenant.send_lifecycle(id, LifecycleEvent::ReauthorizationRequired).unwrap();
    }
    eventually("nothing is renewed", async || {
        live(&world).await.iter().all(|one| before.iter().all(|old| one.expires_at > old.expires_at))
    })
    .await;
    world.rest().await;
    receiver.stop().await;
}

#[tokio::test]
async fn renewing_and_removing_by_command() {
    let (mut world, receiver, staff) = subscribed().await;
    let ada = world.hire("Ada", &[staff]);
    eventually("nobody is hired", async || world.status(ada).await == Some(Status::Active)).await;
    let renewed = renew_subscriptions_now(&world.store, &world.connection, &world.graph(), None).await.unwrap();
    assert!(renewed.len() == 2 && renewed.iter().all(|one| one.expires_at.is_some()));

    world.rest().await;
    let removed = remove_connection(&world.store, &world.connection, &world.graph()).await.unwrap();
    assert_eq!((removed.deleted, removed.left), (2, 0));
    assert!(world.tenant.subscriptions().is_empty());
    assert!(world.store.lookup_connection(world.connection.id).await.unwrap().is_none());
    receiver.stop().await;
}
