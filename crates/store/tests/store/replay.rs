//! Replay: a new event that reads now and converges (R2, G-06, BI-58); failed events run again by themselves.

use std::time::Duration;

use lockstep_core::EventId;
use lockstep_core::hint::{self, Claim, Subject};
use lockstep_store::view::event::{EventFilter, EventView};
use lockstep_store::{Due, DueKind, DueReason, EventOutcome, FailedFilter, NoReplay, Replay};
use uuid::Uuid;

use crate::world::{World, changed, mail, user};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Person 1 is in scope, and a hint about them was looked at in vain until it was given up.
async fn with_failed() -> (World, EventId) {
    let world = World::new().await;
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    give_up(&world, "the answer has no id").await;
    let failed = events(&world).await.remove(0);
    (world, failed.id)
}

async fn give_up(world: &World, reason: &str) {
    for due in claim(world).await {
        world.store.fail_object(&due, reason).await.unwrap();
    }
}

async fn claim(world: &World) -> Vec<Due> {
    world.store.claim_due(Uuid::new_v4(), 100).await.unwrap()
}

/// Oldest first.
async fn events(world: &World) -> Vec<EventView> {
    let mut events = world.store.list_events(&EventFilter::default()).await.unwrap();
    events.reverse();
    events
}

async fn statuses(world: &World) -> Vec<String> {
    events(world).await.iter().map(|event| event.status.to_string()).collect()
}

async fn replay(world: &World, id: EventId) -> Replay {
    world.store.replay_events(&[id]).await.unwrap().remove(0)
}

async fn begin(world: &World, id: EventId) -> EventId {
    match replay(world, id).await {
        Replay::Begun(begun) => begun,
        other => panic!("not begun: {other:?}"),
    }
}

/// A read of person 1 that began now says that all is well.
async fn applied(world: &World) {
    let due = claim(world).await.remove(0);
    let ticket = world.store.draw_ticket().await.unwrap();
    let mut tx = world.store.begin("settle").await.unwrap();
    tx.settle_due(&due, None, world.now()).await.unwrap();
    tx.settle_events(world.connection.id, &[(due.object, ticket, EventOutcome::applied())]).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn r2_a_replay_is_an_event_of_its_own_that_reads_both_facets() {
    let (world, failed) = with_failed().await;
    let begun = begin(&world, failed).await;
    let events = events(&world).await;
    assert_eq!((events[1].id, events[1].replay_of), (begun, Some(failed)));
    assert_eq!(statuses(&world).await, ["failed", "in_work"]);
    assert_eq!(events[0].reason.as_deref(), Some("the answer has no id"), "the original keeps its error");
    let due = claim(&world).await.remove(0);
    assert_eq!((due.object, due.kind, due.reason), (user(1), DueKind::User, DueReason::Replay));
    assert!(due.read_profile && due.read_membership);
    assert_eq!(world.text("SELECT action FROM audit ORDER BY id DESC LIMIT 1").await, "event_replayed");
}

#[tokio::test]
async fn bi_58_asked_twice_it_is_the_same_job_while_it_is_undecided() {
    let (world, failed) = with_failed().await;
    let begun = begin(&world, failed).await;
    assert_eq!(replay(&world, failed).await, Replay::UnderWay(begun));
    assert_eq!(
        world.store.replay_events(&[failed, failed]).await.unwrap(),
        [Replay::UnderWay(begun), Replay::UnderWay(begun)]
    );
    assert_eq!(events(&world).await.len(), 2, "no second row");
    assert_eq!(replay(&world, begun).await, Replay::Refused(NoReplay::Undecided));
}

#[tokio::test]
async fn bi_58_an_applied_event_may_be_replayed_and_nothing_comes_of_it_but_a_read() {
    let world = World::new().await;
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    applied(&world).await;
    begin(&world, events(&world).await[0].id).await;
    applied(&world).await;
    assert_eq!(statuses(&world).await, ["applied", "applied"]);
}

#[tokio::test]
async fn bi_58_a_running_a_held_and_an_unknown_event_are_refused() {
    let world = World::new().await;
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    let read = world.read(2, &mail(2), true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    world.store.take_hints(&[world.about(2)]).await.unwrap();
    let running = events(&world).await[1].id;
    assert_eq!(replay(&world, running).await, Replay::Refused(NoReplay::Undecided));
    let ticket = world.store.draw_ticket().await.unwrap();
    let mut tx = world.store.begin("hold").await.unwrap();
    tx.settle_events(world.connection.id, &[(user(2), ticket, EventOutcome::held("the brake"))]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(replay(&world, running).await, Replay::Refused(NoReplay::Held));
    assert_eq!(replay(&world, EventId(Uuid::now_v7())).await, Replay::Refused(NoReplay::Unknown));
}

/// "Settle, replay and on-demand are never filtered by scope."
#[tokio::test]
async fn an_event_that_was_out_of_scope_is_read_when_it_is_replayed() {
    let world = World::new().await;
    world.store.take_hints(&[world.about(9)]).await.unwrap();
    assert_eq!(statuses(&world).await, ["ignored"]);
    begin(&world, events(&world).await[0].id).await;
    assert_eq!(claim(&world).await[0].object, user(9));
}

#[tokio::test]
async fn what_a_replay_answers_is_superseded_and_keeps_its_error() {
    let (world, failed) = with_failed().await;
    let first = begin(&world, failed).await;
    give_up(&world, "again no id").await;
    assert_eq!(statuses(&world).await, ["failed", "failed"]);
    let second = begin(&world, first).await;
    applied(&world).await;
    assert_eq!(statuses(&world).await, ["superseded", "superseded", "applied"]);
    assert_eq!(events(&world).await[0].reason.as_deref(), Some("the answer has no id"));
    let chain: Vec<EventId> =
        world.store.replay_chain(first).await.unwrap().into_iter().map(|event| event.id).collect();
    assert_eq!(chain, [failed, first, second]);
}

#[tokio::test]
async fn all_failed_of_one_cause_are_replayed_once_each() {
    let (world, failed) = with_failed().await;
    for n in 2..150 {
        let read = world.read(n, &mail(n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    world.store.take_hints(&[world.message((2..150).map(changed).collect())]).await.unwrap();
    while world.number("SELECT count(*) FROM event WHERE status = 'in_work'").await > 0 {
        give_up(&world, "100% of it refused").await;
    }
    let by_reason = |reason| FailedFilter { reason: Some(reason), ..FailedFilter::default() };
    assert_eq!(world.store.replay_failed(&by_reason("1___ of")).await.unwrap(), [], "words, no pattern");
    assert_eq!(world.store.replay_failed(&by_reason("100% of")).await.unwrap().len(), 148);
    let elsewhere = FailedFilter { connection: Some("fabrikam"), ..FailedFilter::default() };
    assert_eq!(world.store.replay_failed(&elsewhere).await.unwrap(), []);
    let rest = world.store.replay_failed(&FailedFilter::default()).await.unwrap();
    assert_eq!(rest.len(), 1, "what is under way is not begun again");
    assert_eq!(events(&world).await.last().and_then(|event| event.replay_of), Some(failed));
}

#[tokio::test]
async fn a_replayed_group_event_looks_at_everyone_it_named() {
    let world = World::new().await;
    world.store.take_hints(&[world.members(&[(1, false), (2, true)])]).await.unwrap();
    give_up(&world, "no id").await;
    begin(&world, events(&world).await[0].id).await;
    let mut due: Vec<_> = claim(&world).await.iter().map(|due| (due.object, due.kind)).collect();
    due.sort_by_key(|(object, _)| *object);
    assert_eq!(due, [(user(1), DueKind::Unknown), (user(2), DueKind::Unknown)]);
}

/// FA-27, BI-45: parked by a worker that could not read it, taken up by one that can.
#[tokio::test]
async fn a_parked_message_is_read_again_when_it_is_replayed() {
    let world = World::new().await;
    let message = world.message(vec![
        changed(1),
        Subject::Group { id: world.staff, claim: Claim::Changed, members: vec![], truncated: false },
    ]);
    let parked = world.store.park(None, &hint::encode(&message), "another version").await.unwrap();
    begin(&world, parked).await;
    let mut due: Vec<_> = claim(&world).await.iter().map(|due| (due.object, due.kind)).collect();
    due.sort_by_key(|(id, _)| *id != user(1));
    assert_eq!(due, [(user(1), DueKind::User), (world.staff, DueKind::Group)]);

    let garbage = world.store.park(Some(world.connection.id), b"\xff", "not readable").await.unwrap();
    assert_eq!(replay(&world, garbage).await, Replay::Refused(NoReplay::Unreadable));
}

#[tokio::test]
async fn failed_events_run_again_and_are_the_same_events() {
    let (world, failed) = with_failed().await;
    assert_eq!(world.store.rerun_failed(None, world.now() - SECOND).await.unwrap(), 0, "not at once");
    world.wait(DAY);
    assert_eq!(world.store.rerun_failed(None, world.now() - DAY).await.unwrap(), 1);
    assert_eq!(statuses(&world).await, ["waiting"]);
    assert_eq!(events(&world).await[0].reason.as_deref(), Some("the answer has no id"));
    applied(&world).await;
    assert_eq!((statuses(&world).await, events(&world).await[0].id), (vec!["applied".to_owned()], failed));
    world.wait(DAY);
    assert_eq!(world.store.rerun_failed(None, world.now()).await.unwrap(), 0);
}

/// A settle or a delta row has no event until it fails; then it has one, however often it fails.
#[tokio::test]
async fn g_05_what_fails_without_an_event_becomes_one() {
    let world = World::new().await;
    for _ in 0..2 {
        let mut tx = world.store.begin("mark").await.unwrap();
        let mark = lockstep_store::MarkDue {
            object: user(1),
            kind: DueKind::User,
            at: world.now(),
            urgent: false,
            read_profile: true,
            read_membership: true,
            reason: DueReason::Relist,
        };
        tx.mark_due(world.connection.id, &[mark]).await.unwrap();
        tx.commit().await.unwrap();
        give_up(&world, "no id").await;
    }
    let events = events(&world).await;
    assert_eq!((events.len(), events[0].object_id), (1, Some(user(1))));
    assert_eq!(statuses(&world).await, ["failed"]);
}

#[tokio::test]
async fn what_is_put_off_waits_for_a_reason_and_spends_no_attempt() {
    let (world, _) = with_failed().await;
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    let worker = Uuid::new_v4();
    let claimed = world.store.claim_due(worker, 5).await.unwrap();
    let at = world.now() + SECOND * 30;
    world.store.put_off(worker, &claimed, Some(at), "Graph answered 503").await.unwrap();
    let event = events(&world).await.remove(1);
    assert_eq!((event.status.to_string().as_str(), event.reason.as_deref()), ("waiting", Some("Graph answered 503")));
    assert_eq!(world.store.next_due_at().await.unwrap(), Some(at));
    world.wait(SECOND * 30);
    assert_eq!(claim(&world).await[0].attempts, 1);
}

/// FA-11: suspects first, then the urgent, then the rest.
#[tokio::test]
async fn fa_11_whoever_may_be_gone_is_looked_at_first() {
    let world = World::new().await;
    for n in 1..4 {
        let read = world.read(n, &mail(n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    world.wait(SECOND);
    world.store.take_hints(&[world.about(2)]).await.unwrap();
    world.wait(SECOND);
    world.store.take_hints(&[world.members(&[(3, true)])]).await.unwrap();
    let order: Vec<_> = claim(&world).await.iter().map(|due| due.object).collect();
    assert_eq!(order, [user(3), user(1), user(2)]);
}
