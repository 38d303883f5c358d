//! Answers to holds (D6, G-19): approve, reject, some of them, twice, and two at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::brake::{CauseClass, HoldAnswer, Judgement, Standing};
use lockstep_core::mirror::PersonRead;
use lockstep_core::plan::{Plan, Step};
use lockstep_core::record::Status;
use lockstep_core::{HoldId, RecordId};
use lockstep_store::view::hold::{HeldState, HoldFilter, HoldState, HoldView};
use lockstep_store::{Answered, Decided, DueReason, HoldDecision, PersonOutcome, Trigger};

use crate::world::{World, mail, user};

const PEOPLE: u128 = 10;

/// Ten people, disabled, all of them held.
async fn all_held() -> (World, HoldId) {
    let world = World::new().await;
    let mut reads = Vec::new();
    for n in 0..PEOPLE {
        reads.push(world.read(n, &mail(n), true, &[world.staff]).await);
    }
    world.sync(&reads).await.unwrap();
    let held = looked_at(&world, 0..PEOPLE, false).await;
    assert_eq!(held, [PersonOutcome::Held; PEOPLE as usize]);
    let id = the_hold(&world).await.id;
    (world, id)
}

/// Reads these people and settles them, by what their hold says, else by a brake that lets nobody go.
async fn looked_at(world: &World, people: impl Iterator<Item = u128>, enabled: bool) -> Vec<PersonOutcome> {
    let mut reads: Vec<PersonRead> = Vec::new();
    for n in people {
        reads.push(world.read(n, &mail(n), enabled, &[world.staff]).await);
    }
    let mut tx = world.store.begin("look").await.unwrap();
    let people = tx.mirror(&world.connection, &reads).await.unwrap();
    let rules = world.store.rule_set(world.connection.id).await.unwrap();
    let plans: Vec<Plan> = people.iter().map(|person| world.plan(person, &rules)).collect();
    let decided: Vec<Decided<'_>> = people
        .iter()
        .zip(&plans)
        .zip(&reads)
        .map(|((person, plan), read)| {
            let reasons = plan.steps.iter().find_map(|step| match step {
                Step::Deactivate { reasons } => Some(reasons.clone()),
                _ => None,
            });
            let said = person
                .open_hold
                .as_ref()
                .zip(reasons)
                .and_then(|(held, reasons)| held.judgement(&person.user, &reasons, &rules, false));
            let profile = read.profile.as_ref().unwrap();
            Decided {
                person,
                plan,
                judgement: said.unwrap_or(Judgement::Hold { limit: "none at all".to_owned() }),
                ticket: profile.ticket,
                read_at: profile.read_at,
                trigger: Trigger::Hint,
                rules_version: rules.version,
                remembered: false,
            }
        })
        .collect();
    let applied = tx.apply(&world.connection, &decided).await.unwrap();
    tx.commit().await.unwrap();
    applied.per_person
}

async fn the_hold(world: &World) -> HoldView {
    let mut holds = world.store.list_holds(&HoldFilter::default()).await.unwrap();
    assert_eq!(holds.len(), 1);
    holds.remove(0)
}

async fn records(world: &World, people: impl Iterator<Item = u128>) -> Vec<RecordId> {
    let mut records = Vec::new();
    for n in people {
        records.push(world.record(n).await.id);
    }
    records
}

fn now(people: u64) -> Answered {
    Answered { now: people, ..Answered::default() }
}

#[tokio::test]
async fn d6_approved_people_are_read_first_and_go_without_counting() {
    let (world, hold) = all_held().await;
    let everybody = records(&world, 0..PEOPLE).await;
    let answered = world.store.answer_hold(hold, HoldDecision::Approve, &everybody, "they left").await.unwrap();
    assert_eq!(answered, now(10));
    let view = the_hold(&world).await;
    assert_eq!((view.state, view.count(HeldState::Approved)), (HoldState::Approved, 10), "all are in until read");
    for n in 0..PEOPLE {
        assert_eq!(world.record(n).await.status, Status::Active);
    }
    let due = world.store.claim_due(uuid::Uuid::now_v7(), 20).await.unwrap();
    assert_eq!(due.len(), 10);
    assert!(due.iter().all(|due| due.read_profile && due.read_membership && due.reason == DueReason::OnDemand));

    world.wait(Duration::from_secs(1));
    assert_eq!(looked_at(&world, 0..6, false).await, [PersonOutcome::Applied; 6]);
    assert_eq!(looked_at(&world, 6..PEOPLE, true).await, [PersonOutcome::Unchanged; 4], "back in scope: skipped");
    let view = the_hold(&world).await;
    assert_eq!((view.count(HeldState::Gone), view.count(HeldState::Back)), (6, 4));
    assert_eq!(view.state, HoldState::Approved);
    assert_eq!(world.number("SELECT count(*) FROM removal WHERE exempt").await, 6);
    assert_eq!(world.number("SELECT count(*) FROM removal").await, 6);
}

#[tokio::test]
async fn d6_some_are_approved_and_the_others_rejected_and_both_are_in_the_trail() {
    let (world, hold) = all_held().await;
    let half = records(&world, 0..5).await;
    world.store.answer_hold(hold, HoldDecision::Approve, &half, "they left").await.unwrap();
    assert_eq!(the_hold(&world).await.state, HoldState::Open, "five still wait");
    let rest = records(&world, 5..PEOPLE).await;
    assert_eq!(world.store.answer_hold(hold, HoldDecision::Reject, &rest, "a mistake").await.unwrap(), now(5));
    assert_eq!(the_hold(&world).await.state, HoldState::PartlyApproved);
    assert_eq!(world.person(7).await.open_hold.unwrap().class, CauseClass::Revoked);
    let actions = "SELECT action FROM audit WHERE object_kind = 'hold' ORDER BY id";
    assert_eq!(world.texts(actions).await, ["hold.open", "hold.approve", "hold.reject"]);
    let detail = world.text("SELECT detail FROM audit WHERE action = 'hold.reject'").await;
    assert!(detail.contains("a mistake") && detail.contains(&rest[0].to_string()), "{detail}");
}

#[tokio::test]
async fn d6_whoever_is_rejected_stays_and_nobody_is_asked_again_until_they_change() {
    let (mut world, hold) = all_held().await;
    let everybody = records(&world, 0..PEOPLE).await;
    world.store.answer_hold(hold, HoldDecision::Reject, &everybody, "a mistake").await.unwrap();
    assert_eq!(the_hold(&world).await.state, HoldState::Rejected);
    let HoldAnswer::Rejected(Standing { enabled, exists, .. }) = world.person(0).await.open_hold.unwrap().answer else {
        panic!("not rejected")
    };
    assert_eq!((enabled, exists), (Some(false), Some(true)));
    world.wait(Duration::from_secs(3 * 24 * 60 * 60));
    assert_eq!(looked_at(&world, 0..PEOPLE, false).await, [PersonOutcome::Kept; 10]);
    assert_eq!(the_hold(&world).await.count(HeldState::Kept), 10);

    // The same rules once more are no change.
    world.set_rules(vec![crate::world::rule(world.staff, 20, "staff")]).await;
    assert_eq!(looked_at(&world, 0..PEOPLE, false).await, [PersonOutcome::Kept; 10]);

    // New rules: they are asked about again, in a hold of its own.
    world.set_rules(vec![crate::world::rule(world.staff, 10, "technician")]).await;
    assert_eq!(looked_at(&world, 0..PEOPLE, false).await, [PersonOutcome::Held; 10]);
    let holds = world.store.list_holds(&HoldFilter::default()).await.unwrap();
    assert_eq!(holds.iter().map(|hold| hold.state).collect::<Vec<_>>(), [HoldState::Open, HoldState::Rejected]);
    assert_eq!(holds[1].count(HeldState::Overtaken), 10);

    // Read back, the answer has had its time.
    assert_eq!(looked_at(&world, 0..1, true).await, [PersonOutcome::Unchanged]);
    assert!(world.person(0).await.open_hold.is_none());
}

#[tokio::test]
async fn a_second_answer_is_harmless_and_the_first_of_two_stands() {
    let (world, hold) = all_held().await;
    let everybody = records(&world, 0..PEOPLE).await;
    assert_eq!(world.store.answer_hold(hold, HoldDecision::Approve, &everybody, "they left").await.unwrap(), now(10));
    let again = world.store.answer_hold(hold, HoldDecision::Approve, &everybody, "they left").await.unwrap();
    assert_eq!(again, Answered { before: 10, ..Answered::default() });
    let otherwise = world.store.answer_hold(hold, HoldDecision::Reject, &everybody, "no").await.unwrap();
    assert_eq!(otherwise, Answered { contested: 10, ..Answered::default() });
    assert_eq!(world.number("SELECT count(*) FROM audit WHERE object_kind = 'hold'").await, 2, "opened, approved");
    assert_eq!(the_hold(&world).await.count(HeldState::Approved), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_yes_and_a_no_at_once_one_wins() {
    let (world, hold) = all_held().await;
    let everybody = records(&world, 0..PEOPLE).await;
    let world = Arc::new(world);
    let other = world.another_process().await;
    let (yes, no) = tokio::join!(
        world.store.answer_hold(hold, HoldDecision::Approve, &everybody, "they left"),
        other.answer_hold(hold, HoldDecision::Reject, &everybody, "a mistake"),
    );
    let sums: BTreeSet<(u64, u64)> = [yes.unwrap(), no.unwrap()].map(|sum| (sum.now, sum.contested)).into();
    assert_eq!(sums, BTreeSet::from([(10, 0), (0, 10)]));
    let view = the_hold(&world).await;
    let states: BTreeSet<HeldState> = view.people.iter().map(|person| person.state).collect();
    assert_eq!(states.len(), 1, "nobody is answered both ways");
}

#[tokio::test]
async fn whoever_left_the_hold_before_is_not_answered() {
    let (world, hold) = all_held().await;
    let everybody = records(&world, 0..PEOPLE).await;
    looked_at(&world, 0..3, true).await;
    let answered = world.store.answer_hold(hold, HoldDecision::Approve, &everybody, "they left").await.unwrap();
    assert_eq!(answered, Answered { now: 7, left: 3, ..Answered::default() });
    assert!(world.store.answer_hold(HoldId(uuid::Uuid::now_v7()), HoldDecision::Reject, &[], "no").await.is_err());
    assert!(world.person(0).await.open_hold.is_none());
    assert_eq!(world.person(5).await.user.id, user(5));
}

#[tokio::test]
async fn fa_29_holds_are_told_of_at_once_and_again_each_day_until_nobody_is_kept_by_them() {
    let (world, hold) = all_held().await;
    let told = async || {
        let alarms = world.store.take_hold_alarms().await.unwrap();
        alarms.iter().map(|alarm| (alarm.held, alarm.kept)).collect::<Vec<_>>()
    };
    assert_eq!(told().await, [(10, 0)]);
    world.wait(Duration::from_secs(23 * 60 * 60));
    assert!(told().await.is_empty());
    world.wait(Duration::from_secs(60 * 60));
    assert_eq!(told().await, [(10, 0)], "a day later");
    let (yes, no) = (records(&world, 0..4).await, records(&world, 4..PEOPLE).await);
    world.store.answer_hold(hold, HoldDecision::Approve, &yes, "they left").await.unwrap();
    world.store.answer_hold(hold, HoldDecision::Reject, &no, "a mistake").await.unwrap();
    assert_eq!(told().await, [(0, 6)], "kept by a no: told of as well (G-16)");
    looked_at(&world, 4..PEOPLE, true).await;
    world.wait(Duration::from_secs(2 * 24 * 60 * 60));
    assert!(told().await.is_empty(), "everybody is back");
}
