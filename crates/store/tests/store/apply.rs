//! Applying: exactly once, swaps included (G-13, G-14, G-20, G-24).

use std::time::Duration;

use lockstep_core::ErrorClass;
use lockstep_core::record::{Reason, Status};
use lockstep_store::{Applied, PersonOutcome, StoreError};

use crate::world::{World, mail, rule, user};

const TRACE: &str = "SELECT (SELECT count(*) FROM history) + (SELECT count(*) FROM audit WHERE object_kind = 'record')";

async fn in_staff(people: &[u128]) -> World {
    let world = World::new().await;
    let mut reads = Vec::new();
    for n in people {
        reads.push(world.read(*n, &mail(*n), true, &[world.staff]).await);
    }
    let applied = world.sync(&reads).await.unwrap();
    assert_eq!(applied.created, people.len() as u64);
    world
}

#[tokio::test]
async fn somebody_in_a_mapped_group_gets_a_record_with_its_history() {
    let world = in_staff(&[1]).await;
    let record = world.record(1).await;
    assert_eq!((record.status, record.role.as_deref()), (Status::Active, Some("staff")));
    assert_eq!(record.email.as_deref(), Some(mail(1).as_str()));
    assert_eq!(world.number(TRACE).await, 2);
    assert_eq!(world.number("SELECT active FROM people_count").await, 1);
    assert_eq!(
        world.number("SELECT count(*) FROM record WHERE verified_at IS NOT NULL AND rule_group_id IS NOT NULL").await,
        1
    );
}

#[tokio::test]
async fn g_14_the_same_reads_applied_twice_leave_the_same_rows() {
    let world = in_staff(&[1, 2]).await;
    let read = world.read(1, "changed@example.org", true, &[world.staff]).await;
    world.sync(std::slice::from_ref(&read)).await.unwrap();
    let (record, trace) = (world.record(1).await, world.number(TRACE).await);
    let again = world.sync(&[read]).await.unwrap();
    assert_eq!(again.per_person, [PersonOutcome::Unchanged]);
    assert_eq!(world.record(1).await, record);
    assert_eq!(world.number(TRACE).await, trace);
}

#[tokio::test]
async fn disabled_in_microsoft_takes_access_and_keeps_the_record() {
    let world = in_staff(&[1]).await;
    let before = world.record(1).await;
    let read = world.read(1, &mail(1), false, &[world.staff]).await;
    let applied = world.sync(&[read]).await.unwrap();
    assert_eq!(applied.deactivated, 1);
    let record = world.record(1).await;
    assert_eq!((record.id, record.status), (before.id, Status::Inactive));
    assert!(record.reasons.contains(&Reason::UpstreamDisabled));
    assert_eq!(world.text("SELECT class FROM removal").await, "revoked");
    assert_eq!(world.text("SELECT active || ' ' || inactive FROM people_count").await, "0 1");
}

#[tokio::test]
async fn two_people_swap_their_addresses_in_one_transaction() {
    let world = in_staff(&[1, 2]).await;
    let swapped =
        [world.read(1, &mail(2), true, &[world.staff]).await, world.read(2, &mail(1), true, &[world.staff]).await];
    let applied = world.sync(&swapped).await.unwrap();
    assert_eq!(applied.updated, 2, "{applied:?}");
    assert_eq!(world.record(1).await.email, Some(mail(2)));
    assert_eq!(world.record(2).await.email, Some(mail(1)));
    assert_eq!(world.number("SELECT count(*) FROM record WHERE email_key IS NULL").await, 0);
}

#[tokio::test]
async fn three_people_pass_their_addresses_round() {
    let world = in_staff(&[1, 2, 3]).await;
    let mut round = Vec::new();
    for (n, of) in [(1, 2), (2, 3), (3, 1)] {
        round.push(world.read(n, &mail(of), true, &[world.staff]).await);
    }
    world.sync(&round).await.unwrap();
    assert_eq!(world.record(3).await.email, Some(mail(1)));
}

#[tokio::test]
async fn bi_36_of_two_new_people_with_one_address_the_second_waits_and_then_becomes_a_question() {
    let world = World::new().await;
    let reads = [
        world.read(1, "same@example.org", true, &[world.staff]).await,
        world.read(2, "same@example.org", true, &[world.staff]).await,
    ];
    let applied = world.sync(&reads).await.unwrap();
    assert_eq!(applied.per_person, [PersonOutcome::Applied, PersonOutcome::Waiting]);
    world.wait(Duration::from_secs(5));
    let due = world.store.claim_due(uuid::Uuid::new_v4(), 5).await.unwrap();
    assert_eq!(due[0].object, user(2));
    let again = world.read(2, "same@example.org", true, &[world.staff]).await;
    let applied = world.sync(&[again]).await.unwrap();
    assert_eq!((applied.created, applied.reviews), (0, 1));
    let once_more = world.read(2, "same@example.org", true, &[world.staff]).await;
    assert_eq!(world.sync(&[once_more]).await.unwrap().reviews, 0, "one open question per person and kind");
    let moved_on = world.read(2, &mail(2), true, &[world.staff]).await;
    assert_eq!(world.sync(&[moved_on]).await.unwrap().created, 1);
    assert_eq!(world.text("SELECT state FROM review").await, "obsolete");
}

#[tokio::test]
async fn decisions_by_older_rules_fail_at_the_commit() {
    let mut world = in_staff(&[1]).await;
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    let mut tx = world.store.begin("late").await.unwrap();
    let people = tx.mirror(&world.connection, std::slice::from_ref(&read)).await.unwrap();
    drop(tx);
    let stale_rules = world.store.rule_set(world.connection.id).await.unwrap();
    world.set_rules(vec![rule(world.staff, 5, "other")]).await;
    let plan = world.plan(&people[0], &stale_rules);
    let mut tx = world.store.begin("late").await.unwrap();
    let decided = [lockstep_store::Decided {
        person: &people[0],
        plan: &plan,
        judgement: lockstep_core::brake::Judgement::Go,
        ticket: read.profile.as_ref().unwrap().ticket,
        read_at: world.now(),
        trigger: lockstep_store::Trigger::Hint,
        rules_version: stale_rules.version,
        remembered: false,
    }];
    let refused = tx.apply(&world.connection, &decided).await.expect_err("older rules");
    assert!(matches!(refused, StoreError::Conflict { .. }));
    assert_eq!(refused.class(), ErrorClass::Transient { retry_after: None });
}

#[tokio::test]
async fn g_08_a_read_older_than_work_timeout_is_refused_at_commit() {
    let world = World::new().await;
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    world.wait(Duration::from_secs(61));
    let refused = world.sync(&[read]).await.expect_err("too old");
    assert!(matches!(refused, StoreError::Conflict { .. }), "{refused}");
    assert_eq!(world.number("SELECT count(*) FROM directory_user").await, 0, "nothing half-written");
}

#[tokio::test]
async fn lost_scope_waits_for_its_second_read_and_the_agreement_is_kept() {
    let world = in_staff(&[1]).await;
    let first = world.read(1, &mail(1), true, &[]).await;
    let applied = world.sync(&[first]).await.unwrap();
    assert_eq!(applied.per_person, [PersonOutcome::Waiting]);
    assert!(world.person(1).await.user.agreements.loss.is_some());
    world.wait(Duration::from_secs(10));
    let second = world.read(1, &mail(1), true, &[]).await;
    assert_eq!(world.sync(&[second]).await.unwrap().deactivated, 1);
    assert_eq!(world.record(1).await.reasons.into_iter().collect::<Vec<_>>(), [Reason::OutOfScope]);
    assert_eq!(world.text("SELECT class FROM removal").await, "lost_scope");
}

#[tokio::test]
async fn five_hundred_people_are_applied_at_once() {
    let world = World::new().await;
    let mut reads = Vec::new();
    for n in 0..500 {
        reads.push(world.read(n, &mail(n), true, &[world.staff]).await);
    }
    let applied: Applied = world.sync(&reads).await.unwrap();
    assert_eq!(applied.created, 500);
    assert_eq!(world.number("SELECT active FROM people_count").await, 500);
    assert_eq!(world.number(TRACE).await, 1000);
}

#[tokio::test]
async fn m3_an_imported_record_is_linked_and_keeps_its_id() {
    let world = World::new().await;
    let known = in_staff_then_unlinked(&world).await;
    let read = world.read(2, &mail(1), true, &[world.staff]).await;
    let mut tx = world.store.begin("link").await.unwrap();
    let people = tx.mirror(&world.connection, std::slice::from_ref(&read)).await.unwrap();
    assert_eq!(people[0].candidates.iter().map(|candidate| candidate.id).collect::<Vec<_>>(), [known]);
    let rules = world.store.rule_set(world.connection.id).await.unwrap();
    let mut plan = world.plan(&people[0], &rules);
    plan.steps = vec![lockstep_core::plan::Step::Link { record: known }];
    plan.reviews.clear();
    let decided = [lockstep_store::Decided {
        person: &people[0],
        plan: &plan,
        judgement: lockstep_core::brake::Judgement::Go,
        ticket: read.profile.as_ref().unwrap().ticket,
        read_at: world.now(),
        trigger: lockstep_store::Trigger::Hint,
        rules_version: rules.version,
        remembered: false,
    }];
    let applied = tx.apply(&world.connection, &decided).await.unwrap();
    assert_eq!(applied.linked, 1);
    let again = tx.look_again(&world.connection, &[&people[0]]).await.unwrap();
    assert_eq!(again[0].record.as_ref().unwrap().id, known);
    assert!(again[0].user.fresh.profile && again[0].user.fresh.membership, "what was read in this task is still fresh");
    tx.commit().await.unwrap();
    assert_eq!(world.record(2).await.id, known);
    assert_eq!(world.number("SELECT active FROM people_count").await, 1);
}

/// A record that holds person 1's address and is linked to nobody, as an import leaves it.
async fn in_staff_then_unlinked(world: &World) -> lockstep_core::RecordId {
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
    let id = world.record(1).await.id;
    world.change("UPDATE record SET connection_id = NULL, entra_id = NULL").await;
    world.change("UPDATE people_count SET active = 0").await;
    id
}

#[tokio::test]
async fn g_24_nothing_the_directory_says_changes_root() {
    let world = in_staff(&[1]).await;
    let before = world.record(1).await;
    world.change("UPDATE record SET root = TRUE").await;
    let read = world.read(1, "other@example.org", false, &[]).await;
    let applied = world.sync(&[read]).await.unwrap();
    assert_eq!(applied.per_person, [PersonOutcome::Unchanged]);
    let after = world.record(1).await;
    assert_eq!((after.status, after.email), (before.status, before.email));
}

#[tokio::test]
async fn g_20_one_person_never_has_two_live_logins() {
    let world = in_staff(&[1, 2]).await;
    let second = "UPDATE record SET entra_id = (SELECT entra_id FROM record ORDER BY id LIMIT 1)";
    assert!(world.try_change(second).await.is_err(), "the database itself refuses it");
}
