//! Hints become rows (G-05, G-06, TH-02, BI-24, BI-45).

use lockstep_core::hint::{Claim, LifecycleEvent, Subject};
use lockstep_core::{ConnectionId, ObjectId};
use lockstep_store::{DueClaim, DueKind};
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

use crate::world::{World, changed, mail, user};

/// A world in which these people are known.
async fn knowing(people: &[u128]) -> World {
    let world = World::new().await;
    for n in people {
        let read = world.read(*n, &mail(*n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    world
}

#[tokio::test]
async fn g_06_the_same_message_taken_twice_is_one_event() {
    let world = knowing(&[1]).await;
    let message = world.about(1);
    let first = world.store.take_hints(std::slice::from_ref(&message)).await.unwrap();
    let second = world.store.take_hints(&[message.clone(), message]).await.unwrap();
    assert_eq!((first.accepted, second.accepted), (1, 0));
    assert_eq!(world.number("SELECT count(*) FROM event").await, 1);
}

#[tokio::test]
async fn th_02_a_thousand_hints_about_one_person_are_one_due_row() {
    let world = knowing(&[1]).await;
    let message = world.message(vec![changed(1); 1000]);
    world.store.take_hints(&[message]).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM event").await, 1000);
    assert_eq!(world.number("SELECT count(*) FROM due").await, 1);
}

#[tokio::test]
async fn a_stranger_is_ignored_and_kept_in_seen_only() {
    let world = World::new().await;
    let taken = world.store.take_hints(&[world.about(9)]).await.unwrap();
    assert_eq!((taken.accepted, taken.ignored), (0, 1));
    assert_eq!(world.number("SELECT count(*) FROM due").await, 0);
    assert_eq!(world.number("SELECT count(*) FROM seen").await, 1);
    assert_eq!(world.text("SELECT status FROM event").await, "ignored");
}

#[tokio::test]
async fn a_mapped_groups_members_are_looked_at_each() {
    let world = knowing(&[1]).await;
    world.store.take_hints(&[world.about(2)]).await.unwrap();
    world.store.take_hints(&[world.members(&[(1, true), (2, false), (3, false)])]).await.unwrap();
    let due = world.store.claim_due(Uuid::new_v4(), 20).await.unwrap();
    let of = |n| due.iter().find(|due| due.object == user(n)).unwrap();
    assert_eq!((of(1).kind, of(1).claim), (DueKind::User, Some(DueClaim::Removed)));
    assert_eq!((of(2).kind, of(2).claim), (DueKind::User, Some(DueClaim::Added)), "seen in a user hint before");
    assert_eq!(of(3).kind, DueKind::Unknown);
    assert!(of(3).read_profile && of(3).read_membership);
}

#[tokio::test]
async fn a_group_without_members_has_its_listing_compared() {
    let world = World::new().await;
    let group = |id, members, truncated| Subject::Group { id, claim: Claim::Changed, members, truncated };
    let foreign = ObjectId(Uuid::new_v4());
    let message = world.message(vec![group(world.staff, vec![], false), group(foreign, vec![], false)]);
    let taken = world.store.take_hints(&[message]).await.unwrap();
    assert_eq!((taken.accepted, taken.ignored), (1, 1));
    let due = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert_eq!(due.iter().map(|due| (due.object, due.kind)).collect::<Vec<_>>(), [(world.staff, DueKind::Group)]);
}

/// M2: whoever comes into a group that was deleted tells that it is back.
#[tokio::test]
async fn members_of_a_group_known_as_deleted_have_its_listing_compared() {
    let world = knowing(&[1]).await;
    world.change("UPDATE directory_group SET state = 'deleted'").await;
    world.store.take_hints(&[world.members(&[(1, false)])]).await.unwrap();
    let due = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert_eq!(due.iter().map(|due| (due.object, due.kind)).collect::<Vec<_>>(), [(world.staff, DueKind::Group)]);
}

#[tokio::test]
async fn the_strongest_claim_stands() {
    let world = knowing(&[1]).await;
    let deleted = Subject::User { id: user(1), claim: Claim::Deleted };
    world.store.take_hints(&[world.message(vec![deleted])]).await.unwrap();
    let first = world.number("SELECT version FROM due").await;
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    let due = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert_eq!(due[0].claim, Some(DueClaim::Deleted));
    assert_eq!(due[0].version, first + 1);
}

#[tokio::test]
async fn g_04_what_is_not_understood_marks_the_connection_for_a_delta_run() {
    let mut world = World::new().await;
    world.store.take_hints(&[world.message(vec![Subject::Unclear])]).await.unwrap();
    world.reload().await;
    assert!(world.connection.gap_since.is_some());
    assert_eq!(world.text("SELECT kind || ' ' || status FROM event").await, "catch_up waiting");
}

#[tokio::test]
async fn a_lifecycle_item_is_given_again_when_its_taker_died_before_acting() {
    let world = World::new().await;
    let message = world.message(vec![Subject::Lifecycle { event: LifecycleEvent::Missed }]);
    let first = world.store.take_hints(std::slice::from_ref(&message)).await.unwrap();
    let second = world.store.take_hints(std::slice::from_ref(&message)).await.unwrap();
    assert_eq!(first.lifecycle, second.lifecycle);
    assert_eq!(first.lifecycle.len(), 1);
    assert_eq!(world.number("SELECT count(*) FROM event").await, 1);
}

#[tokio::test]
async fn g_22_a_message_of_an_unknown_connection_is_pointed_out_and_parked() {
    let world = knowing(&[1]).await;
    let mut stray = world.about(1);
    stray.connection = ConnectionId(Uuid::now_v7());
    let taken = world.store.take_hints(&[world.about(1), stray.clone()]).await.unwrap();
    assert_eq!(taken.unknown_connection, [1]);
    let body = vec![b'x'; 100_000];
    world.store.park(Some(stray.connection), &body, "unknown connection").await.unwrap();
    assert_eq!(world.number("SELECT length(body) FROM parked_body").await, 64 * 1024);
    assert_eq!(world.number("SELECT count(*) FROM event WHERE status = 'parked'").await, 1);
}

#[tokio::test]
async fn bi_45_parking_for_a_known_connection_owes_it_a_delta_run() {
    let mut world = World::new().await;
    world.store.park(Some(world.connection.id), b"?", "unknown version").await.unwrap();
    world.reload().await;
    assert!(world.connection.gap_since.is_some());
}

#[tokio::test]
async fn on_demand_is_never_filtered_by_scope() {
    let world = World::new().await;
    world.store.request_on_demand(world.connection.id, user(5)).await.unwrap();
    let due = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert!(due[0].read_profile && due[0].read_membership);
    assert_eq!(due[0].object, user(5));
}

/// G-13: the queue forgets a message only when its taking is on the disk. Where the log cannot be put there, all of it
/// goes into the file.
#[tokio::test]
async fn g_13_a_log_that_cannot_be_flushed_is_folded_into_the_file() {
    let world = knowing(&[1]).await;
    let Some(file) = world.file() else { return };
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    world.store.flush().await.unwrap();
    std::fs::rename(file.with_extension("db-wal"), file.with_extension("away")).unwrap();
    world.store.flush().await.unwrap();
    let copy = file.with_extension("copy");
    std::fs::copy(&file, &copy).unwrap();
    let mut alone = SqliteConnection::connect(&format!("sqlite://{}", copy.display())).await.unwrap();
    let events: i64 = sqlx::query_scalar("SELECT count(*) FROM event").fetch_one(&mut alone).await.unwrap();
    assert_eq!(events, 1);
}
