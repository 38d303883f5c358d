//! No event disappears (G-05).

use lockstep_store::EventOutcome;
use uuid::Uuid;

use crate::world::{World, mail, user};

async fn knowing(people: u128) -> World {
    let world = World::new().await;
    for n in 0..people {
        let read = world.read(n, &mail(n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    world
}

async fn settle(world: &World, objects: &[(u128, lockstep_core::Ticket, EventOutcome)]) {
    let objects: Vec<_> = objects.iter().map(|(n, ticket, outcome)| (user(*n), *ticket, outcome.clone())).collect();
    let mut tx = world.store.begin("settle").await.unwrap();
    tx.settle_events(world.connection.id, &objects).await.unwrap();
    tx.commit().await.unwrap();
}

async fn statuses(world: &World) -> String {
    world.texts("SELECT status FROM event ORDER BY id").await.join(" ")
}

#[tokio::test]
async fn only_a_read_that_began_after_the_event_was_taken_settles_it() {
    let world = knowing(1).await;
    let early = world.store.draw_ticket().await.unwrap();
    world.store.take_hints(&[world.about(0)]).await.unwrap();
    settle(&world, &[(0, early, EventOutcome::applied())]).await;
    assert_eq!(statuses(&world).await, "in_work");
    let later = world.store.draw_ticket().await.unwrap();
    settle(&world, &[(0, later, EventOutcome::applied())]).await;
    assert_eq!(statuses(&world).await, "applied");
}

/// T4: a read may begin before the hint is written down; it settles that hint, and none that comes later.
#[tokio::test]
async fn a_read_that_began_when_the_hint_was_there_settles_it() {
    let world = knowing(1).await;
    let at_rest = async || world.store.draw_ticket_at_rest(world.connection.id, user(0)).await.unwrap();
    let read = at_rest().await.expect("nothing is planned for them");
    let taken = world.store.take_hints_before(&[world.about(0)], Some(read)).await.unwrap();
    let claimed = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert_eq!(taken.look, Some(claimed[0].version), "by which the look is known to be about this hint alone");
    assert_eq!(at_rest().await, None, "a look at them is under way");
    let taken = world.store.take_hints(&[world.about(0)]).await.unwrap();
    assert!(taken.look > Some(claimed[0].version));
    settle(&world, &[(0, read, EventOutcome::applied())]).await;
    assert_eq!(statuses(&world).await, "applied in_work");
    let stranger = world.store.draw_ticket_at_rest(world.connection.id, user(9)).await.unwrap();
    assert_eq!(stranger, None, "about strangers nothing is asked");
}

#[tokio::test]
async fn the_newest_gets_the_outcome_and_older_ones_are_superseded() {
    let world = knowing(1).await;
    for _ in 0..3 {
        world.store.take_hints(&[world.about(0)]).await.unwrap();
    }
    let ticket = world.store.draw_ticket().await.unwrap();
    settle(&world, &[(0, ticket, EventOutcome::held("over the limit"))]).await;
    assert_eq!(statuses(&world).await, "superseded superseded held");
}

#[tokio::test]
async fn a_groups_event_is_decided_when_everyone_is_with_the_worst_outcome() {
    let world = knowing(3).await;
    world.store.take_hints(&[world.members(&[(0, true), (1, true), (2, false)])]).await.unwrap();
    let ticket = world.store.draw_ticket().await.unwrap();
    settle(&world, &[(0, ticket, EventOutcome::applied())]).await;
    assert_eq!(statuses(&world).await, "in_work");
    settle(
        &world,
        &[(1, ticket, EventOutcome::held("over the limit")), (2, ticket, EventOutcome::waiting("second read"))],
    )
    .await;
    assert_eq!(statuses(&world).await, "waiting");
    let ticket = world.store.draw_ticket().await.unwrap();
    settle(&world, &[(2, ticket, EventOutcome::applied())]).await;
    assert_eq!(statuses(&world).await, "held");
    assert_eq!(world.text("SELECT reason FROM event").await, "over the limit");
}

#[tokio::test]
async fn g_05_the_sums_agree_with_what_was_accepted() {
    let world = knowing(4).await;
    let mut accepted = 0;
    for n in 0..6 {
        let message = world.message(vec![crate::world::changed(n), crate::world::changed(n % 4)]);
        accepted += message.items.len() as i64;
        world.store.take_hints(&[message]).await.unwrap();
    }
    world.store.park(Some(world.connection.id), b"?", "not readable").await.unwrap();
    accepted += 1;
    let ticket = world.store.draw_ticket().await.unwrap();
    settle(&world, &[(0, ticket, EventOutcome::applied()), (1, ticket, EventOutcome::waiting("again"))]).await;
    let sum = "SELECT count(*) FROM event WHERE status IN
        ('in_work', 'waiting', 'applied', 'superseded', 'ignored', 'held', 'parked', 'failed')";
    assert_eq!(world.number(sum).await, accepted);
    let unnamed = "SELECT count(*) FROM event e WHERE status IN ('in_work', 'waiting') AND NOT EXISTS
        (SELECT 1 FROM event_object o JOIN due d ON d.connection_id = o.connection_id AND d.object_id = o.object_id
         WHERE o.event_id = e.id AND o.outcome IS NULL)";
    assert_eq!(world.number(unnamed).await, 0, "whatever is undecided is due");
}
