//! Two subscriptions per connection, over the real receiver: created with the handshake, renewed, recreated when gone.

use lockstep_core::hint::Subject;
use lockstep_core::record::Status;
use lockstep_receiver::{Limits, Receiver, ReceiverConfig, RunningReceiver};
use lockstep_simulator::{Fault, LifecycleEvent};
use lockstep_store::{ConnectionState, Subscription, SubscriptionStatus};
use lockstep_worker::{WorkerConfig, dismiss_subscriptions, remove_connection, renew_subscriptions_now};
use serde_json::json;

use crate::world::{World, employees, eventually, minutes};

/// A world with one mapped group whose receiver listens; nobody is at work.
pub async fn listening() -> (World, RunningReceiver, uuid::Uuid) {
    let world = World::open().await;
    let staff = world.group("Staff");
    world.apply(vec![employees(staff)]).await;
    let receiver = receive(&world).await;
    (world, receiver, staff)
}

pub async fn receive(world: &World) -> RunningReceiver {
    let bind = "127.0.0.1:0".parse().unwrap();
    let config = ReceiverConfig { bind, limits: Limits::default() };
    let clock = world.store.clock().clone();
    Receiver::start(config, world.store.clone(), world.queue.clone(), clock).await.unwrap()
}

/// The settings of a worker that subscribes with this receiver's address.
pub fn notified_at(world: &World, receiver: &RunningReceiver) -> WorkerConfig {
    let public_url = format!("http://{}/", receiver.addr).parse().unwrap();
    WorkerConfig { public_url: Some(public_url), ..world.config() }
}

/// A world whose receiver listens, with one mapped group, synced and subscribed.
pub async fn subscribed() -> (World, RunningReceiver, uuid::Uuid) {
    let (mut world, receiver, staff) = listening().await;
    world.work_as(notified_at(&world, &receiver));
    world.sync().await;
    (world, receiver, staff)
}

pub async fn live(world: &World) -> Vec<Subscription> {
    let all = world.store.list_subscriptions(Some(world.connection.id)).await.unwrap();
    all.into_iter().filter(|one| one.status == SubscriptionStatus::Active).collect()
}

/// Hired with nobody told but by Microsoft, and there in the end.
pub async fn hires(world: &World, name: &str, staff: uuid::Uuid) {
    let person = world.hire(name, &[staff]);
    eventually("nobody is hired", async || world.status(person).await == Some(Status::Active)).await;
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
    hires(&world, "Ada", staff).await;
    let renewed = renew_subscriptions_now(&world.store, &world.connection, &world.graph(), None).await.unwrap();
    assert!(renewed.len() == 2 && renewed.iter().all(|one| one.expires_at.is_some()));

    world.rest().await;
    let removed = remove_connection(&world.store, &world.connection, &world.graph()).await.unwrap();
    assert_eq!((removed.deleted, removed.left), (2, 0));
    assert!(world.tenant.subscriptions().is_empty());
    assert!(world.store.lookup_connection(world.connection.id).await.unwrap().is_none());
    receiver.stop().await;
}

/// TH-03: whoever learnt the secret of a subscription can be locked out; nothing is missed over it.
#[tokio::test]
async fn recreating_by_command_changes_the_secret_and_misses_nothing() {
    let (mut world, receiver, staff) = subscribed().await;
    let before: Vec<_> = live(&world).await.into_iter().map(|one| one.id).collect();
    let users = before[0];
    let dismissed = dismiss_subscriptions(&world.store, &world.connection, &world.graph(), Some(users)).await.unwrap();
    assert_eq!(dismissed, [users]);
    let ada = world.hire("Ada", &[staff]);
    eventually("it is not made anew", async || live(&world).await.len() == 2).await;
    assert!(live(&world).await.iter().any(|one| one.id == before[1]), "the other one is left alone");
    assert_eq!(world.tenant.subscriptions().len(), 2);
    eventually("what happened meanwhile is lost", async || world.status(ada).await == Some(Status::Active)).await;
    world.rest().await;
    receiver.stop().await;
}

#[tokio::test]
async fn a_removed_subscription_is_created_anew_and_caught_up() {
    let (mut world, receiver, staff) = subscribed().await;
    let before = world.tenant.subscriptions();
    let ada = unnoticed(&world, staff);
    world.tenant.send_lifecycle(before[0], LifecycleEvent::SubscriptionRemoved).unwrap();
    eventually("it is not created anew", async || {
        let now = world.tenant.subscriptions();
        now.len() == 2 && !now.contains(&before[0]) && live(&world).await.len() == 2
    })
    .await;
    eventually("the gap is not closed", async || world.status(ada).await == Some(Status::Active)).await;
    world.rest().await;
    receiver.stop().await;
}

#[tokio::test]
async fn missed_notifications_are_caught_up() {
    let (mut world, receiver, staff) = subscribed().await;
    let ada = unnoticed(&world, staff);
    world.tenant.send_lifecycle(world.tenant.subscriptions()[0], LifecycleEvent::Missed).unwrap();
    eventually("the gap is not closed", async || world.status(ada).await == Some(Status::Active)).await;
    world.rest().await;
    receiver.stop().await;
}

/// BI-21: an event that does not exist yet; the subscriptions are compared and everything is caught up.
#[tokio::test]
async fn bi21_an_unknown_lifecycle_event_compares_and_catches_up() {
    let (mut world, receiver, staff) = subscribed().await;
    let ada = unnoticed(&world, staff);
    world.tenant.lose_subscriptions();
    world.publish(vec![Subject::Lifecycle { event: lockstep_core::hint::LifecycleEvent::Unknown }]).await;
    eventually("they are not created anew", async || world.tenant.subscriptions().len() == 2).await;
    eventually("the gap is not closed", async || world.status(ada).await == Some(Status::Active)).await;
    world.rest().await;
    receiver.stop().await;
}

/// C5: during a pause hints are taken and wait, and subscriptions are kept; afterwards they are decided.
#[tokio::test]
async fn c5_a_paused_connection_keeps_what_it_is_told_and_decides_it_later() {
    let (mut world, receiver, staff) = subscribed().await;
    let known = world.hire("Ada", &[staff]);
    eventually("nobody is hired", async || world.status(known).await == Some(Status::Active)).await;
    world.settled().await;
    assert!(world.store.pause_connection(world.connection.id).await.unwrap());
    let ends = live(&world).await.iter().filter_map(|one| one.expires_at).max().unwrap();
    world.tenant.patch_user(known, json!({ "accountEnabled": false })).unwrap();
    eventually("the hint is not taken", async || world.ledger().await.in_work > 0).await;

    world.sim.clock().advance(minutes(60 * 30));
    eventually("subscriptions are not kept", async || {
        let live = live(&world).await;
        live.len() == 2 && live.iter().all(|one| one.expires_at > Some(ends))
    })
    .await;
    assert_eq!(world.status(known).await, Some(Status::Active), "nothing is decided during the pause");
    assert_eq!(world.reload().await.state, ConnectionState::Paused);

    assert!(world.store.resume_connection(world.connection.id).await.unwrap());
    eventually("it does not go on", async || {
        world.sim.clock().advance(std::time::Duration::from_millis(500));
        world.status(known).await == Some(Status::Inactive)
    })
    .await;
    world.rest().await;
    receiver.stop().await;
}

/// Somebody hired of whom no notification tells.
pub fn unnoticed(world: &World, staff: uuid::Uuid) -> uuid::Uuid {
    world.sim.set_fault(Fault { drop: true, ..Fault::on("notifications") });
    let person = world.hire("Grace", &[staff]);
    world.sim.clear_faults();
    person
}
