//! Due rows: leases, versions, urgency, settles (FA-18, BI-24, design "the way of a change").

use std::time::Duration;

use lockstep_core::timing::Timing;
use lockstep_store::{ConnectionState, DueClaim, DueKind, DueReason, MarkDue, NextLook, Room, Trouble};
use uuid::Uuid;

use crate::world::{World, mail, rule, user};

const SECOND: Duration = Duration::from_secs(1);

fn mark(n: u128, at: lockstep_core::Timestamp, urgent: bool) -> MarkDue {
    MarkDue {
        object: user(n),
        kind: DueKind::User,
        at,
        urgent,
        read_profile: true,
        read_membership: true,
        reason: DueReason::Relist,
    }
}

async fn marked(world: &World, marks: &[MarkDue]) {
    let mut tx = world.store.begin("mark").await.unwrap();
    tx.mark_due(world.connection.id, marks).await.unwrap();
    tx.commit().await.unwrap();
}

async fn with_hint() -> World {
    let world = World::new().await;
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    world
}

#[tokio::test]
async fn a_hint_that_comes_during_the_read_keeps_the_row_due() {
    let world = with_hint().await;
    let claimed = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    let mut tx = world.store.begin("settle").await.unwrap();
    tx.settle_due(&claimed[0], None, world.now()).await.unwrap();
    tx.commit().await.unwrap();
    let due_at = world.store.next_due_at().await.unwrap().expect("still due");
    assert_eq!(due_at, world.now() + Timing::default().coalesce, "one read per object and 5 s (BI-24)");
    world.wait(Timing::default().coalesce);
    let again = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert_eq!((again.len(), again[0].attempts), (1, 1));
}

#[tokio::test]
async fn a_settled_row_goes_or_is_set_to_its_next_look() {
    let world = with_hint().await;
    let claimed = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    let at = world.now() + SECOND * 60;
    let next = NextLook { at, reason: DueReason::Settle, read_profile: true, read_membership: false, settle_at: None };
    let mut tx = world.store.begin("settle").await.unwrap();
    tx.settle_due(&claimed[0], Some(next), world.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.store.next_due_at().await.unwrap(), Some(at));
    world.wait(SECOND * 60);
    let settle = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert_eq!((settle[0].reason, settle[0].hinted_at), (DueReason::Settle, claimed[0].hinted_at));
    let mut tx = world.store.begin("settle").await.unwrap();
    tx.settle_due(&settle[0], None, world.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM due").await, 0);
}

#[tokio::test]
async fn a_hint_soon_after_a_read_waits_for_coalesce() {
    let world = with_hint().await;
    let claimed = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    let at = world.now() + SECOND * 60;
    let next = NextLook { at, reason: DueReason::Settle, read_profile: true, read_membership: false, settle_at: None };
    let mut tx = world.store.begin("settle").await.unwrap();
    tx.settle_due(&claimed[0], Some(next), world.now()).await.unwrap();
    tx.commit().await.unwrap();
    let read_at = world.now();
    world.wait(SECOND);
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    assert_eq!(world.store.next_due_at().await.unwrap(), Some(read_at + Timing::default().coalesce));
}

#[tokio::test]
async fn fa_18_a_lease_runs_out_and_another_worker_takes_over() {
    let world = with_hint().await;
    let (lost, other) = (Uuid::new_v4(), Uuid::new_v4());
    assert_eq!(world.store.claim_due(lost, 5).await.unwrap().len(), 1);
    assert!(world.store.claim_due(other, 5).await.unwrap().is_empty());
    world.wait(SECOND * 10);
    world.store.extend_leases(lost).await.unwrap();
    world.wait(SECOND * 10);
    assert!(world.store.claim_due(other, 5).await.unwrap().is_empty(), "a worker that lives keeps its work");
    world.wait(SECOND * 6);
    let taken_over = world.store.claim_due(other, 5).await.unwrap();
    assert_eq!((taken_over.len(), taken_over[0].attempts), (1, 2), "the lost attempt is counted (FA-24)");
}

/// FA-26: a clock that jumps past the leases does not make a worker do its own work twice.
#[tokio::test]
async fn fa_26_what_a_worker_has_in_hand_it_does_not_get_again() {
    let world = with_hint().await;
    let worker = Uuid::new_v4();
    assert_eq!(world.store.claim_due(worker, 5).await.unwrap().len(), 1);
    world.wait(SECOND * 600);
    assert!(world.store.claim_due(worker, 5).await.unwrap().is_empty());
    world.store.release_all(worker).await.unwrap();
    assert_eq!(world.store.claim_due(worker, 5).await.unwrap().len(), 1, "its loop began anew");
}

#[tokio::test]
async fn released_work_spends_no_attempt() {
    let world = with_hint().await;
    let worker = Uuid::new_v4();
    let claimed = world.store.claim_due(worker, 5).await.unwrap();
    world.store.release(worker, &claimed).await.unwrap();
    let again = world.store.claim_due(worker, 5).await.unwrap();
    assert_eq!(again[0].attempts, 1);
}

#[tokio::test]
async fn nothing_of_a_paused_or_waiting_connection_is_claimed() {
    let world = with_hint().await;
    let trouble = |state, next_try_at| Trouble { state, reason: "away".into(), remedy: "wait".into(), next_try_at };
    let later = world.now() + SECOND * 30;
    world
        .store
        .note_connection_trouble(&world.connection, &trouble(ConnectionState::Degraded, Some(later)))
        .await
        .unwrap();
    assert!(world.store.claim_due(Uuid::new_v4(), 5).await.unwrap().is_empty());
    assert_eq!(world.store.next_due_at().await.unwrap(), Some(later));
    world.wait(SECOND * 30);
    let worker = Uuid::new_v4();
    let claimed = world.store.claim_due(worker, 5).await.unwrap();
    world.store.release(worker, &claimed).await.unwrap();
    world.store.note_connection_trouble(&world.connection, &trouble(ConnectionState::Paused, None)).await.unwrap();
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    assert!(world.store.claim_due(Uuid::new_v4(), 5).await.unwrap().is_empty());
    assert_eq!(world.store.next_due_at().await.unwrap(), None);
    world.store.note_connection_ok(world.connection.id).await.unwrap();
    assert!(world.store.claim_due(Uuid::new_v4(), 5).await.unwrap().is_empty(), "a check does not end a pause");
}

#[tokio::test]
async fn background_keeps_a_tenth_of_the_places() {
    let world = World::new().await;
    let now = world.now();
    let urgent: Vec<_> = (0..100).map(|n| mark(n, now, true)).collect();
    let background: Vec<_> = (100..200).map(|n| mark(n, now, false)).collect();
    marked(&world, &urgent).await;
    marked(&world, &background).await;
    let claimed = world.store.claim_due(Uuid::new_v4(), 40).await.unwrap();
    let of_background = claimed.iter().filter(|due| background.iter().any(|mark| mark.object == due.object)).count();
    assert_eq!((claimed.len(), of_background), (40, 4));
    let mut one_by_one = 0;
    for _ in 0..20 {
        let claimed = world.store.claim_due(Uuid::new_v4(), 1).await.unwrap();
        one_by_one += claimed.iter().filter(|due| background.iter().any(|mark| mark.object == due.object)).count();
    }
    assert_eq!(one_by_one, 2, "also when places come singly");
}

#[tokio::test]
async fn of_two_looks_the_earlier_is_due_and_the_later_is_owed() {
    let world = World::new().await;
    let (soon, late) = (world.now() + SECOND * 10, world.now() + SECOND * 300);
    marked(&world, &[mark(1, late, false)]).await;
    marked(&world, &[mark(1, soon, true)]).await;
    world.wait(SECOND * 10);
    let claimed = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert_eq!((claimed[0].due_at, claimed[0].settle_at), (soon, Some(late)));
}

#[tokio::test]
async fn a_retried_object_waits_and_a_failed_one_is_shown() {
    let world = with_hint().await;
    let claimed = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    let at = world.now() + SECOND * 30;
    world.store.retry_object(&claimed[0], at, "Graph answered 500").await.unwrap();
    assert_eq!(world.text("SELECT status FROM event").await, "waiting");
    assert_eq!(world.store.next_due_at().await.unwrap(), Some(at));
    world.wait(SECOND * 30);
    let claimed = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    assert_eq!(claimed[0].attempts, 2);
    world.store.fail_object(&claimed[0], "the answer has no id").await.unwrap();
    assert_eq!(
        world.text("SELECT status || ': ' || reason || ' ' || attempts FROM event").await,
        "failed: the answer has no id 2"
    );
    assert_eq!(world.number("SELECT count(*) FROM due").await, 0);
}

#[tokio::test]
async fn a_hint_during_the_last_attempt_is_not_given_up_with_it() {
    let world = with_hint().await;
    let claimed = world.store.claim_due(Uuid::new_v4(), 5).await.unwrap();
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    world.store.fail_object(&claimed[0], "gave up").await.unwrap();
    assert_eq!(world.store.claim_due(Uuid::new_v4(), 5).await.unwrap().len(), 1);
}

/// FA-25: whatever waits of connections that are not at work is not in the way of others.
#[tokio::test]
async fn fa_25_the_backlog_of_a_paused_connection_holds_nobody_up() {
    let world = World::new().await;
    let paused = world.store.add_connection(crate::world::new_connection("fabrikam")).await.unwrap();
    let now = world.now();
    let backlog: Vec<_> = (0..1_000).map(|n| mark(n, now, true)).collect();
    let mut tx = world.store.begin("mark").await.unwrap();
    tx.mark_due(paused.id, &backlog).await.unwrap();
    tx.commit().await.unwrap();
    world.store.pause_connection(paused.id).await.unwrap();
    world.wait(SECOND);
    marked(&world, &[mark(1, world.now(), false)]).await;
    assert_eq!(world.store.next_due_at().await.unwrap(), Some(now + SECOND));
    let claimed = world.store.claim_due(Uuid::new_v4(), 10).await.unwrap();
    assert_eq!(claimed.iter().map(|due| due.connection).collect::<Vec<_>>(), [world.connection.id]);
}

/// Of two connections the work that is due longest comes first, whichever it belongs to.
#[tokio::test]
async fn connections_are_served_by_the_age_of_their_work() {
    let world = World::new().await;
    let other = world.store.add_connection(crate::world::new_connection("fabrikam")).await.unwrap();
    world.store.note_connection_ok(other.id).await.unwrap();
    let start = world.now();
    for (connection, n) in [(world.connection.id, 1), (other.id, 2), (world.connection.id, 3), (other.id, 4)] {
        let mut tx = world.store.begin("mark").await.unwrap();
        tx.mark_due(connection, &[mark(n, start + SECOND * n as u32, true)]).await.unwrap();
        tx.commit().await.unwrap();
    }
    world.wait(SECOND * 10);
    let claimed = world.store.claim_due(Uuid::new_v4(), 3).await.unwrap();
    assert_eq!(claimed.iter().map(|due| due.object).collect::<Vec<_>>(), [1, 2, 3].map(user));
}

/// FA-11: who may be gone comes before all that is urgent, and that before the rest.
#[tokio::test]
async fn fa_11_suspects_come_first() {
    let world = World::new().await;
    for n in [1, 2] {
        let read = world.read(n, &mail(n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    marked(&world, &[mark(9, world.now(), false)]).await;
    world.wait(SECOND);
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    world.wait(SECOND);
    world.store.take_hints(&[world.members(&[(2, true)])]).await.unwrap();
    let claimed = world.store.claim_due(Uuid::new_v4(), 9).await.unwrap();
    assert_eq!(claimed.iter().map(|due| due.object).collect::<Vec<_>>(), [2, 1, 9].map(user));
}

/// Of two claims about one group the later stands; of claims about several the one that may take access.
#[tokio::test]
async fn a_claim_says_which_group_it_is_about() {
    let mut world = World::new().await;
    let (staff, office) = (world.staff, lockstep_core::ObjectId(Uuid::new_v4()));
    world.set_rules(vec![rule(staff, 10, "staff"), rule(office, 20, "office")]).await;
    let claim = async |world: &World| {
        let worker = Uuid::new_v4();
        let claimed = world.store.claim_due(worker, 5).await.unwrap();
        world.store.release(worker, &claimed).await.unwrap();
        (claimed[0].claim, claimed[0].claim_group)
    };
    world.store.take_hints(&[world.members(&[(1, true)])]).await.unwrap();
    assert_eq!(claim(&world).await, (Some(DueClaim::Removed), Some(staff)));
    world.staff = office;
    world.store.take_hints(&[world.members(&[(1, false)])]).await.unwrap();
    assert_eq!(claim(&world).await, (Some(DueClaim::Removed), Some(staff)), "that of another group may take access");
    world.staff = staff;
    world.store.take_hints(&[world.members(&[(1, false)])]).await.unwrap();
    assert_eq!(claim(&world).await, (Some(DueClaim::Added), Some(staff)), "came back");
    let left = [world.members(&[(1, false)]), world.members(&[(1, true)])];
    world.store.take_hints(&left).await.unwrap();
    assert_eq!(claim(&world).await, (Some(DueClaim::Removed), Some(staff)), "within one taking too");
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    assert_eq!(claim(&world).await, (Some(DueClaim::Removed), Some(staff)));
}

/// T5: while work of a connection is in hand, what comes gathers until it fills a request; whoever may be gone does not wait.
#[tokio::test]
async fn t5_beside_work_in_hand_only_a_full_batch_or_a_suspect_is_taken() {
    let world = World::new().await;
    for n in [1, 2, 3, 4] {
        let read = world.read(n, &mail(n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    let (worker, at_work) = (Uuid::new_v4(), [world.connection.id]);
    let claim = async |limit| {
        let room = Room { places: limit, urgent_at_work: &at_work, at_work: &at_work, ..Room::default() };
        let claimed = world.store.claim_due_beside(worker, &room).await.unwrap();
        world.store.release(worker, &claimed).await.unwrap();
        claimed.iter().map(|due| due.object).collect::<Vec<_>>()
    };
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    world.wait(SECOND);
    world.store.take_hints(&[world.about(2)]).await.unwrap();
    assert_eq!(claim(3).await, []);
    assert_eq!(claim(2).await, [1, 2].map(user), "they fill it");
    world.store.take_hints(&[world.members(&[(3, true)])]).await.unwrap();
    assert_eq!(claim(3).await, [1, 2, 3].map(|n| user((n + 1) % 3 + 1)), "with the suspect they fill it");
    assert_eq!(claim(5).await, [user(3)], "FA-11");
    let other = world.store.add_connection(crate::world::new_connection("fabrikam")).await.unwrap();
    world.store.note_connection_ok(other.id).await.unwrap();
    let mut tx = world.store.begin("mark").await.unwrap();
    tx.mark_due(other.id, &[mark(4, world.now(), true)]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(claim(5).await, [3, 4].map(user), "another connection has nothing in hand");
}

/// T14: behind a backlog, and where there is no place for any of it, a lone hint waits for nothing but other hints.
#[tokio::test]
async fn t14_what_is_urgent_does_not_wait_behind_a_backlog() {
    let world = World::new().await;
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    let backlog: Vec<MarkDue> = (2..40).map(|n| mark(n, world.now(), false)).collect();
    let mut tx = world.store.begin("mark").await.unwrap();
    tx.mark_due(world.connection.id, &backlog).await.unwrap();
    tx.commit().await.unwrap();
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    world.wait(SECOND);
    let (worker, at_work) = (Uuid::new_v4(), [world.connection.id]);
    let claim = async |room: Room<'_>| {
        let claimed = world.store.claim_due_beside(worker, &room).await.unwrap();
        world.store.release(worker, &claimed).await.unwrap();
        claimed.iter().map(|due| (due.object, due.urgent)).collect::<Vec<_>>()
    };
    let backlog_in_hand = Room { at_work: &at_work, ..Room::default() };
    assert_eq!(claim(Room { urgent_beside: 8, ..backlog_in_hand }).await, [(user(1), true)]);
    assert_eq!(claim(Room { places: 10, urgent_beside: 8, ..backlog_in_hand }).await[0], (user(1), true));
    assert_eq!(claim(Room { places: 10, ..backlog_in_hand }).await.len(), 10, "the backlog fills a batch");
    let hints_in_hand = Room { urgent_at_work: &at_work, ..backlog_in_hand };
    assert_eq!(claim(Room { urgent_beside: 8, ..hints_in_hand }).await, []);
}
