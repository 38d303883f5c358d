//! Our subscriptions against Graph's own list: whatever differs is put right, and one of each is left (FA-19 to FA-21).

use lockstep_core::record::Status;
use lockstep_graph::{GraphClient, NewSubscription, WatchedResource};
use lockstep_receiver::RunningReceiver;
use lockstep_simulator::Fault;
use lockstep_store::{ConnectionState, Resource, SubscriptionStatus};
use lockstep_worker::graph_client;
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use uuid::Uuid;

use crate::subscription::{hires, listening, live, notified_at, receive, subscribed};
use crate::world::{World, connection_to, employees, eventually, minutes, seconds};

/// Both resources are watched once, as far as Graph and we know.
async fn stands(world: &World) -> bool {
    let known = live(world).await;
    let remote = world.tenant.subscriptions();
    let of = |resource| known.iter().filter(|one| one.resource == resource).count();
    remote.len() == 2
        && (of(Resource::Users), of(Resource::Groups)) == (1, 1)
        && known.iter().all(|one| one.graph_id.is_some_and(|id| remote.contains(&id)))
}

async fn client(world: &World) -> GraphClient {
    graph_client(&world.store, &world.connection, &world.graph()).await.unwrap()
}

async fn wanted(world: &World, receiver: &RunningReceiver, client_state: SecretString) -> NewSubscription {
    let token = world.store.path_token(&world.connection).await.unwrap();
    let at = |leaf| {
        let url = format!("http://{}/graph/{}/{leaf}", receiver.addr, token.expose_secret());
        url.parse::<Url>().unwrap()
    };
    NewSubscription {
        resource: WatchedResource::Users,
        notification_url: at("notifications"),
        lifecycle_url: at("lifecycle"),
        client_state,
        expires_at: world.store.now() + minutes(60 * 48),
    }
}

/// What a process leaves that is killed between Graph's create and its own save.
async fn killed_over_a_create(world: &World, receiver: &RunningReceiver) -> Uuid {
    let secret = SecretString::from("a client state");
    world.store.open_subscription_intent(world.connection.id, Resource::Users, &secret).await.unwrap();
    let wanted = wanted(world, receiver, secret).await;
    client(world).await.create_subscription(&wanted).await.unwrap().id
}

#[tokio::test]
async fn fa19_killed_between_create_and_save_the_orphan_is_deleted_and_made_anew() {
    let (mut world, receiver, staff) = listening().await;
    let orphan = killed_over_a_create(&world, &receiver).await;
    world.work_as(notified_at(&world, &receiver));
    world.sync().await;
    assert!(world.tenant.subscriptions().contains(&orphan), "whoever creates it may still be at work");

    world.sim.clock().advance(seconds(61));
    eventually("the orphan stays", async || !world.tenant.subscriptions().contains(&orphan) && stands(&world).await)
        .await;
    eventually("the intent stays", async || {
        let all = world.store.list_subscriptions(None).await.unwrap();
        all.iter().all(|one| one.status != SubscriptionStatus::Pending)
    })
    .await;
    hires(&world, "Ada", staff).await;
    world.rest().await;
    receiver.stop().await;
}

/// The store does not even know the intent: it was restored from a copy.
#[tokio::test]
async fn fa19_unknown_subscriptions_that_post_to_us_are_replaced() {
    let (mut world, receiver, _) = subscribed().await;
    let orphans = world.tenant.subscriptions();
    for one in live(&world).await {
        world.store.mark_subscription_gone(one.id).await.unwrap();
    }
    eventually("they are not replaced", async || {
        world.tenant.subscriptions().iter().all(|id| !orphans.contains(id)) && stands(&world).await
    })
    .await;
    world.rest().await;
    receiver.stop().await;
}

#[tokio::test]
async fn fa20_two_schedulers_at_once_end_with_one_subscription_of_each() {
    let (mut world, receiver, staff) = listening().await;
    world.work();
    world.sync().await;
    world.rest().await;

    let config = notified_at(&world, &receiver);
    let second = lockstep_worker::start(config.clone(), world.store.clone(), world.queue.clone());
    world.work_as(config);
    eventually("they do not come to agree", async || stands(&world).await).await;
    for _ in 0..3 {
        world.sim.clock().advance(minutes(16));
        world.settled().await;
        eventually("they fall out", async || stands(&world).await).await;
    }
    let created = world.store.list_subscriptions(None).await.unwrap().len();
    assert!(created <= 4, "{created} were created: they fight each other");
    hires(&world, "Ada", staff).await;
    second.stop().await;
    world.rest().await;
    receiver.stop().await;
}

/// FA-21: gone in Graph without a word; found by the comparison, created anew, and the gap is closed.
#[tokio::test]
async fn fa21_subscriptions_that_are_gone_are_created_anew_and_caught_up() {
    let (mut world, receiver, staff) = subscribed().await;
    world.tenant.lose_subscriptions();
    let ada = world.hire("Ada", &[staff]);
    world.sim.clock().advance(minutes(16));
    eventually("they are not created anew", async || stands(&world).await).await;
    eventually("what happened meanwhile is not caught up", async || world.status(ada).await == Some(Status::Active))
        .await;
    world.rest().await;
    receiver.stop().await;
}

/// FA-21: ended while nobody was at work.
#[tokio::test]
async fn fa21_subscriptions_that_expired_while_down_are_created_anew_and_caught_up() {
    let (mut world, receiver, staff) = subscribed().await;
    world.rest().await;
    world.sim.clock().advance(minutes(60 * 49));
    assert!(world.tenant.subscriptions().is_empty());
    let ada = world.hire("Ada", &[staff]);
    world.work_as(notified_at(&world, &receiver));
    eventually("they are not created anew", async || stands(&world).await).await;
    eventually("what happened meanwhile is not caught up", async || world.status(ada).await == Some(Status::Active))
        .await;
    world.rest().await;
    receiver.stop().await;
}

/// A renewal that fails is tried again long before the end, and nobody needs to do anything.
#[tokio::test]
async fn a_renewal_that_fails_is_tried_again() {
    let (mut world, receiver, _) = subscribed().await;
    let before = live(&world).await;
    world.sim.set_fault(Fault { status: Some(400), ..Fault::on("PATCH /subscriptions/{id}") });
    world.sim.clock().advance(minutes(60 * 30));
    eventually("nothing is said", async || {
        world.reload().await.reason.is_some_and(|reason| reason.starts_with("Microsoft does not notify"))
    })
    .await;
    assert_eq!(world.reload().await.state, ConnectionState::Active, "everything else goes on");

    world.sim.clear_faults();
    eventually("nothing is renewed", async || {
        world.sim.clock().advance(seconds(30));
        live(&world).await.iter().all(|one| before.iter().all(|old| one.expires_at > old.expires_at))
    })
    .await;
    eventually("the reason stays", async || world.reload().await.reason.is_none()).await;
    assert!(stands(&world).await);
    world.rest().await;
    receiver.stop().await;
}

/// 409: what a connection left behind that was removed and is added again stands in the way, and is deleted.
#[tokio::test]
async fn a_conflict_names_the_one_to_delete() {
    let (mut world, receiver, staff) = subscribed().await;
    world.rest().await;
    let left = world.tenant.subscriptions();
    world.store.remove_connection(world.connection.id).await.unwrap();
    world.connection = world.store.add_connection(connection_to(&world.tenant)).await.unwrap();
    world.apply(vec![employees(staff)]).await;
    world.work_as(notified_at(&world, &receiver));
    world.sync().await;
    assert!(stands(&world).await);
    assert!(world.tenant.subscriptions().iter().all(|id| !left.contains(id)));
    world.rest().await;
    receiver.stop().await;
}

/// 403: Microsoft's limit is reached. Said on the connection, and people are kept in step all the same.
#[tokio::test]
async fn a_limit_of_subscriptions_is_said_and_keeps_nobody_from_work() {
    let (mut world, receiver, staff) = listening().await;
    world.sim.set_fault(Fault { status: Some(403), ..Fault::on("POST /subscriptions") });
    world.hire("Ada", &[staff]);
    world.work_as(notified_at(&world, &receiver));
    world.sync().await;
    assert_eq!(world.active().await, 1);
    let connection = world.reload().await;
    assert_eq!(connection.state, ConnectionState::Active);
    assert!(connection.reason.is_some_and(|reason| reason.contains("limit")));
    assert!(connection.remedy.is_some_and(|remedy| remedy.contains("Delete subscriptions")));

    world.sim.clear_faults();
    eventually("it is not tried again", async || {
        world.sim.clock().advance(seconds(30));
        stands(&world).await
    })
    .await;
    eventually("the reason stays", async || world.reload().await.reason.is_none()).await;
    world.rest().await;
    receiver.stop().await;
}

#[tokio::test]
async fn an_address_that_microsoft_cannot_reach_is_said_and_tried_again() {
    let (mut world, receiver, staff) = listening().await;
    let nowhere = notified_at(&world, &receiver);
    receiver.stop().await;
    world.hire("Ada", &[staff]);
    world.work_as(nowhere);
    world.sync().await;
    assert_eq!(world.active().await, 1, "a full sync needs no notification");
    let connection = world.reload().await;
    assert_eq!(connection.state, ConnectionState::Active);
    assert!(connection.remedy.is_some_and(|remedy| remedy.contains("reachable")));
    let all = world.store.list_subscriptions(None).await.unwrap();
    assert!(all.is_empty(), "a refused create leaves no intent");
    world.rest().await;
}

#[tokio::test]
async fn another_public_url_redirects_the_subscriptions() {
    let (mut world, old, staff) = subscribed().await;
    let before = world.tenant.subscriptions();
    world.rest().await;
    old.stop().await;
    let receiver = receive(&world).await;
    world.sim.reset_counters();
    world.work_as(notified_at(&world, &receiver));
    eventually("they stay where they were", async || world.requests("PATCH /subscriptions/{id}") >= 2).await;
    eventually("the gap stays", async || world.reload().await.gap_since.is_none()).await;
    hires(&world, "Ada", staff).await;
    assert!(stands(&world).await);
    let mut after = world.tenant.subscriptions();
    after.retain(|id| before.contains(id));
    assert_eq!(after.len(), 2, "at no moment was there none");
    assert_eq!(world.requests("DELETE /subscriptions/{id}") + world.requests("POST /subscriptions"), 0);

    // Where lifecycle notifications go cannot be changed: that waits until they would be renewed.
    world.sim.clock().advance(minutes(60 * 30));
    eventually("lifecycle notifications still go elsewhere", async || {
        world.tenant.subscriptions().iter().all(|id| !before.contains(id)) && stands(&world).await
    })
    .await;
    hires(&world, "Grace", staff).await;
    world.rest().await;
    receiver.stop().await;
}
