//! The brake: eight workers together let through exactly the limit (G-19).

use std::collections::BTreeSet;

use lockstep_core::ErrorClass;
use lockstep_core::brake::{BrakeLimits, CauseClass, Judgement, Removal, judge};
use lockstep_core::mirror::PersonRead;
use lockstep_core::plan::{Plan, Step};
use lockstep_core::record::Status;
use lockstep_store::import::ImportedRecord;
use lockstep_store::view::hold::{HoldFilter, HoldState};
use lockstep_store::view::record::RecordFilter;
use lockstep_store::{Decided, PersonOutcome, StoreError, Trigger};

use crate::world::{World, mail};

const PEOPLE: u128 = 200;

async fn crowd() -> World {
    let world = World::new().await;
    let mut reads = Vec::new();
    for n in 0..PEOPLE {
        reads.push(world.read(n, &mail(n), true, &[world.staff]).await);
    }
    world.sync(&reads).await.unwrap();
    world
}

/// D6: the first sync's one hold is for people who were there before it; who is in by the sync itself lost nothing before.
#[tokio::test]
async fn d6_whoever_was_imported_was_there_before_the_first_sync() {
    let world = World::new().await;
    let line = format!(r#"{{"kind": "employee", "email": "{}"}}"#, mail(1));
    let lines = ImportedRecord::parse_file(&line).unwrap_or_else(|_| panic!("the line is good"));
    world.store.import_records(&world.connection, &lines).await.unwrap();
    let reads = [world.read(2, &mail(2), true, &[world.staff]).await];
    world.sync(&reads).await.unwrap();
    let records = world.store.list_records(&RecordFilter::default()).await.unwrap();
    let imported = records.iter().find(|record| record.entra_id.is_none()).unwrap().id;

    let mut tx = world.store.begin("brake").await.unwrap();
    tx.mirror(&world.connection, &reads).await.unwrap();
    let before = tx.there_before(&world.connection, records.iter().map(|record| record.id)).await.unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(before, BTreeSet::from([imported]));
}

/// As a worker does it: a lock that came too late is waited for once more (FA-08).
async fn judged(world: &World, store: &lockstep_store::Store, reads: &[PersonRead]) -> Vec<PersonOutcome> {
    for _ in 0..50 {
        match judged_once(world, store, reads).await {
            Ok(outcomes) => return outcomes,
            Err(error) => assert!(matches!(error.class(), ErrorClass::Transient { .. }), "{error:?}"),
        }
    }
    panic!("fifty tries were not enough");
}

/// One worker's transaction: read, judge under the lock, apply.
async fn judged_once(
    world: &World,
    store: &lockstep_store::Store,
    reads: &[PersonRead],
) -> Result<Vec<PersonOutcome>, StoreError> {
    let mut tx = store.begin("brake").await?;
    let people = tx.mirror(&world.connection, reads).await?;
    let rules = store.rule_set(world.connection.id).await?;
    let plans: Vec<Plan> = people.iter().map(|person| world.plan(person, &rules)).collect();
    let state = tx.brake_state(&world.connection).await?;
    let removals: Vec<Removal> = people
        .iter()
        .zip(&plans)
        .map(|(person, plan)| {
            let class = plan.steps.iter().find_map(|step| match step {
                Step::Deactivate { reasons } => Some(CauseClass::of(reasons)),
                _ => None,
            });
            let record = person.record.as_ref().unwrap().id;
            Removal { record, class: class.expect("a removal"), exempt: state.exempt.contains(&record) }
        })
        .collect();
    let limits = BrakeLimits::default();
    let judgements: Vec<Judgement> = judge(&limits, &state.connection, &state.installation, false, &removals);
    let decided: Vec<Decided<'_>> = people
        .iter()
        .zip(&plans)
        .zip(judgements)
        .zip(reads)
        .map(|(((person, plan), judgement), read)| Decided {
            person,
            plan,
            judgement,
            ticket: read.profile.as_ref().unwrap().ticket,
            read_at: read.profile.as_ref().unwrap().read_at,
            trigger: Trigger::Hint,
            rules_version: rules.version,
            remembered: false,
        })
        .collect();
    let applied = tx.apply(&world.connection, &decided).await?;
    tx.commit().await?;
    Ok(applied.per_person)
}

async fn disabled(world: &World, people: impl Iterator<Item = u128>) -> Vec<PersonRead> {
    let mut reads = Vec::new();
    for n in people {
        reads.push(world.read(n, &mail(n), false, &[world.staff]).await);
    }
    reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g_19_eight_workers_together_let_through_exactly_the_limit() {
    let world = std::sync::Arc::new(crowd().await);
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let world = std::sync::Arc::clone(&world);
        workers.spawn(async move {
            // Half of them in another process.
            let store = if worker % 2 == 0 { world.store.clone() } else { world.another_process().await };
            let mut outcomes = Vec::new();
            for n in (worker..PEOPLE).step_by(8) {
                let reads = disabled(&world, std::iter::once(n)).await;
                outcomes.extend(judged(&world, &store, &reads).await);
            }
            outcomes
        });
    }
    let outcomes: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    // Revoked in 30 min: max(50, 30 % of 200).
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == PersonOutcome::Applied).count(), 60);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == PersonOutcome::Held).count(), 140);
    assert_eq!(world.number("SELECT count(*) FROM removal").await, 60);
    assert_eq!(world.number("SELECT count(*) FROM hold WHERE state = 'open'").await, 1);
    assert_eq!(world.number("SELECT count(*) FROM hold_person WHERE state = 'held'").await, 140);
}

#[tokio::test]
async fn who_is_held_stays_active_and_is_held_once() {
    let world = crowd().await;
    let all = disabled(&world, 0..PEOPLE).await;
    let outcomes = judged(&world, &world.store.clone(), &all).await;
    let held = outcomes.iter().position(|outcome| *outcome == PersonOutcome::Held).unwrap() as u128;
    assert_eq!(world.record(held).await.status, Status::Active);
    assert_eq!(world.person(held).await.open_hold.unwrap().class, CauseClass::Revoked);
    let again = disabled(&world, std::iter::once(held)).await;
    judged(&world, &world.store.clone(), &again).await;
    let rows = world.number("SELECT count(*) FROM hold_person WHERE state = 'held'").await;
    assert_eq!(rows, outcomes.iter().filter(|outcome| **outcome == PersonOutcome::Held).count() as i64);
}

#[tokio::test]
async fn time_lets_nobody_out_of_a_hold() {
    let world = crowd().await;
    let outcomes = judged(&world, &world.store.clone(), &disabled(&world, 0..PEOPLE).await).await;
    let held = outcomes.iter().position(|outcome| *outcome == PersonOutcome::Held).unwrap() as u128;
    world.wait(std::time::Duration::from_secs(2 * 24 * 3600));
    let later = judged(&world, &world.store.clone(), &disabled(&world, std::iter::once(held)).await).await;
    assert_eq!(later, [PersonOutcome::Held]);
    assert_eq!(world.record(held).await.status, Status::Active);
}

#[tokio::test]
async fn whoever_is_read_back_leaves_the_hold() {
    let world = crowd().await;
    let outcomes = judged(&world, &world.store.clone(), &disabled(&world, 0..PEOPLE).await).await;
    let held: Vec<u128> = (0..PEOPLE).filter(|n| outcomes[*n as usize] == PersonOutcome::Held).collect();
    let mut back = Vec::new();
    for n in &held {
        back.push(world.read(*n, &mail(*n), true, &[world.staff]).await);
    }
    world.sync(&back).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM hold_person WHERE state = 'back'").await, held.len() as i64);
    assert_eq!(world.text("SELECT state FROM hold").await, "emptied");
    assert_emptied(&world).await;
    assert!(world.person(held[0]).await.open_hold.is_none());
}

#[tokio::test]
async fn people_on_a_confirmed_plan_do_not_count() {
    let mut world = crowd().await;
    let ids: Vec<_> = {
        let mut ids = Vec::new();
        for n in 0..100 {
            ids.push(world.record(n).await.id);
        }
        ids
    };
    let rules = world.store.rule_set(world.connection.id).await.unwrap().rules().to_vec();
    let c = &world.connection;
    world.store.apply_rules(c.id, rules, &c.fields, &c.defaults, &c.settings, &ids).await.unwrap();
    world.reload().await;
    let outcomes = judged(&world, &world.store.clone(), &disabled(&world, 0..100).await).await;
    assert_eq!(
        outcomes.iter().copied().map(|o| o == PersonOutcome::Applied).collect::<BTreeSet<_>>(),
        BTreeSet::from([true])
    );
    assert_eq!(world.number("SELECT count(*) FROM removal WHERE exempt").await, 100);
    assert_eq!(world.number("SELECT count(*) FROM exemption").await, 0, "used up");
}

#[tokio::test]
async fn a_new_cause_class_is_judged_at_once_and_leaves_the_old_hold() {
    let world = crowd().await;
    world
        .change(
            "INSERT INTO hold (id, connection_id, opened_at, limit_reached, cause, state)
        SELECT id, id, 0, 'lost scope', 'lost_scope', 'open' FROM connection",
        )
        .await;
    world.change("INSERT INTO hold_person (hold_id, connection_id, record_id, user_id, cause, class, state, held_at)
        SELECT connection_id, connection_id, id, entra_id, '[]', 'lost_scope', 'held', 0 FROM record WHERE email_key = 'person3@example.org'")
        .await;
    assert_eq!(world.person(3).await.open_hold.unwrap().class, CauseClass::LostScope);
    let outcomes = judged(&world, &world.store.clone(), &disabled(&world, std::iter::once(3)).await).await;
    assert_eq!(outcomes, [PersonOutcome::Applied]);
    assert_eq!(world.text("SELECT state FROM hold_person").await, "overtaken");
    assert_eq!(world.text("SELECT state FROM hold").await, "emptied");
}

/// Nobody is on it any more, and it can still be shown.
async fn assert_emptied(world: &World) {
    let shown = world.store.list_holds(&HoldFilter::default()).await.unwrap();
    assert!(!shown.is_empty() && shown.iter().all(|hold| hold.state == HoldState::Emptied && hold.people.is_empty()));
}
