//! What has had its time goes, little by little; what waits for a person never does.

use std::time::Duration;

use lockstep_store::{EventOutcome, FailedFilter, Replay, Resource};
use secrecy::SecretString;
use uuid::Uuid;

use crate::world::{World, mail, user};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// One event about each, decided like this; the last one stays in work.
async fn with_events(outcomes: &[EventOutcome]) -> World {
    let world = World::new().await;
    let mut objects = Vec::new();
    for n in 0..=outcomes.len() as u128 {
        let read = world.read(n, &mail(n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
        world.store.take_hints(&[world.about(n)]).await.unwrap();
    }
    let ticket = world.store.draw_ticket().await.unwrap();
    for (n, outcome) in (0..).zip(outcomes) {
        objects.push((user(n), ticket, outcome.clone()));
    }
    let mut tx = world.store.begin("settle").await.unwrap();
    tx.settle_events(world.connection.id, &objects).await.unwrap();
    tx.commit().await.unwrap();
    world
}

async fn sweep(world: &World) {
    world.store.sweep_old(world.now()).await.unwrap();
}

async fn statuses(world: &World) -> String {
    world.texts("SELECT status FROM event ORDER BY status").await.join(" ")
}

/// G-05: of events settled 90 days ago only the count is kept, and the sums still tell of everything accepted.
#[tokio::test]
async fn g_05_settled_events_go_after_90_days_and_stay_accounted_for() {
    let outcomes =
        [EventOutcome::applied(), EventOutcome::applied(), EventOutcome::held("kept back"), EventOutcome::failed("no")];
    let world = with_events(&outcomes).await;
    world.store.park(Some(world.connection.id), b"?", "not readable").await.unwrap();
    let before = world.store.ledger(world.connection.id).await.unwrap();
    world.wait(DAY * 90);
    sweep(&world).await;
    assert_eq!(statuses(&world).await, "applied applied failed held in_work parked");

    world.wait(DAY);
    sweep(&world).await;
    assert_eq!(statuses(&world).await, "failed held in_work parked", "a person, or a worker, is still to see them");
    assert_eq!(world.store.ledger(world.connection.id).await.unwrap(), before);
    assert_eq!(world.number("SELECT count(*) FROM event_object").await, 3);
    sweep(&world).await;
    assert_eq!(world.store.ledger(world.connection.id).await.unwrap(), before, "counted once");
}

#[tokio::test]
async fn more_events_than_one_transaction_takes_all_go() {
    let outcomes: Vec<EventOutcome> = (0..120).map(|_| EventOutcome::applied()).collect();
    let world = with_events(&outcomes).await;
    world.wait(DAY * 91);
    sweep(&world).await;
    assert_eq!(statuses(&world).await, "in_work");
    assert_eq!(world.store.ledger(world.connection.id).await.unwrap().applied, 120);
}

/// What was replayed is kept as long as its replay, which names it.
#[tokio::test]
async fn a_replayed_event_is_kept_with_its_replay() {
    let world = with_events(&[EventOutcome::failed("no")]).await;
    let replays = world.store.replay_failed(&FailedFilter::default()).await.unwrap();
    world.change("UPDATE event SET status = 'superseded' WHERE status = 'failed'").await;
    world.wait(DAY * 91);
    sweep(&world).await;
    assert_eq!(statuses(&world).await, "in_work in_work superseded");
    let chain = world.store.replay_chain(replays[0]).await.unwrap();
    assert_eq!(chain.len(), 2);
    assert!(matches!(world.store.replay_events(&[chain[0].id]).await.unwrap()[..], [Replay::UnderWay(_)]));
}

#[tokio::test]
async fn subscriptions_gone_for_31_days_go() {
    let world = World::new().await;
    for _ in 0..2 {
        let state = SecretString::from("s");
        let intent = world.store.open_subscription_intent(world.connection.id, Resource::Users, &state).await.unwrap();
        let end = world.now() + DAY * 2;
        assert!(world.store.activate_subscription(intent, Uuid::new_v4(), end, end).await.unwrap());
        world.store.mark_subscription_gone(intent).await.unwrap();
        world.wait(DAY * 30);
    }
    let known = async || world.store.list_subscriptions(None).await.unwrap().len();
    sweep(&world).await;
    assert_eq!(known().await, 1);
    world.wait(DAY * 30);
    sweep(&world).await;
    assert_eq!(known().await, 0);
}
