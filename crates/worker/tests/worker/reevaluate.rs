//! Other rules for people who are known: decided anew from the mirror (T9), the confirmed plan being the evidence (G-10 e).

use std::time::Instant;

use lockstep_core::expression::Expression;
use lockstep_core::field::{FieldMap, FieldRule};
use lockstep_core::record::{Kind, Reason, Status};
use lockstep_core::rule::Rule;
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::{RecordId, TaskId};
use lockstep_store::{NewRules, SyncProgress, TaskKind, TaskState};
use serde_json::Value;
use uuid::Uuid;

use crate::world::{World, employees, minutes, rule};

/// Puts these rules in force as `rule apply` does where every group is mirrored.
async fn start(world: &World, rules: Vec<Rule>, fields: &FieldMap, confirmed: &[RecordId]) -> TaskId {
    let planned_on = world.reload().await.rules_version;
    let (defaults, settings) = (&Defaults::default(), &Settings::default());
    let (plan, follow_up) = (Value::Null, TaskKind::Reevaluate);
    let new = NewRules { rules, fields, defaults, settings, confirmed, plan, planned_on, follow_up };
    world.store.put_rules_in_force(world.connection.id, new).await.unwrap().1
}

async fn end(world: &World, task: TaskId) -> SyncProgress {
    let until = Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let view = world.store.lookup_task(task).await.unwrap().unwrap();
        match view.state {
            TaskState::Done => return view.progress,
            TaskState::Failed => panic!("{:?}", view.reason),
            TaskState::Due => assert!(Instant::now() < until, "{:?}", view.reason),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn reevaluate(world: &World, rules: Vec<Rule>, confirmed: &[RecordId]) -> SyncProgress {
    let task = start(world, rules, &FieldMap::default(), confirmed).await;
    end(world, task).await
}

async fn id(world: &World, user: Uuid) -> RecordId {
    world.record(user).await.unwrap().id
}

async fn with_two_groups() -> (World, [Uuid; 2], [Uuid; 2]) {
    let mut world = World::open().await;
    let [staff, sales] = ["Staff", "Sales"].map(|name| world.group(name));
    world.apply(vec![employees(staff), rule(sales, 20, Kind::Employee, "sales")]).await;
    let people = [world.hire("Ada", &[staff]), world.hire("Bo", &[sales])];
    world.work();
    world.sync().await;
    world.later(minutes(20)).await;
    world.sim.reset_counters();
    (world, [staff, sales], people)
}

/// T9: no request to Graph, and one history row for each record that changes.
#[tokio::test]
async fn t9_another_role_reaches_its_people_without_a_request_to_graph() {
    let (mut world, [staff, sales], [ada, bo]) = with_two_groups().await;
    let verified = |record: RecordId| {
        let store = world.store.clone();
        async move { store.lookup_record_view(&record.to_string()).await.unwrap().unwrap().verified_at }
    };
    let before = verified(id(&world, bo).await).await;
    let progress = reevaluate(&world, vec![employees(staff), rule(sales, 20, Kind::Employee, "seller")], &[]).await;

    assert_eq!((progress.users, progress.updated), (2, 1));
    assert_eq!(world.record(bo).await.unwrap().role.as_deref(), Some("seller"));
    assert_eq!(world.record(ada).await.unwrap().role.as_deref(), Some("staff"));
    assert_eq!(world.store.record_history(id(&world, bo).await).await.unwrap().len(), 2);
    assert_eq!(world.store.record_history(id(&world, ada).await).await.unwrap().len(), 1);
    assert_eq!(world.sim.counters().total_requests, 0);
    assert_eq!(verified(id(&world, bo).await).await, before, "nobody read anything: nothing is confirmed (G-21)");
    world.rest().await;
}

/// G-10 (e): for exactly the people on the confirmed plan nothing is read twice, nor once.
#[tokio::test]
async fn g10e_a_confirmed_plan_takes_access_at_once_from_exactly_the_people_on_it() {
    let (mut world, [staff, sales], [ada, bo]) = with_two_groups().await;
    let cy = world.hire("Cy", &[sales]);
    world.told(cy).await;
    world.later(minutes(20)).await;
    world.sim.reset_counters();
    let on_the_plan = [id(&world, bo).await];
    let progress = reevaluate(&world, vec![employees(staff)], &on_the_plan).await;

    assert_eq!(progress.deactivated, 1);
    assert_eq!(world.reasons(bo).await, [Reason::OutOfScope]);
    assert_eq!(world.status(cy).await, Some(Status::Active), "not on the plan: two reads must agree first");
    world.settled().await;
    assert_eq!(world.status(cy).await, Some(Status::Active));
    world.later(minutes(1)).await;
    assert_eq!(world.status(cy).await, Some(Status::Inactive));
    assert_eq!(world.status(ada).await, Some(Status::Active));
    world.rest().await;
}

/// "for exactly the people on it": whoever turned out to stay is not taken by it later.
#[tokio::test]
async fn a_confirmation_ends_with_the_rules_it_was_for() {
    let (mut world, [staff, sales], [ada, _]) = with_two_groups().await;
    let on_the_plan = [id(&world, ada).await];
    let rules = vec![employees(staff), rule(sales, 20, Kind::Employee, "sales")];
    reevaluate(&world, rules, &on_the_plan).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));

    world.tenant.remove_member(staff, ada).unwrap();
    world.notify_members(staff, &[(ada, true)]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active), "another loss needs two reads that agree");
    world.later(minutes(1)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    world.rest().await;
}

/// Whoever would come in is read first: what the mirror remembers gives nobody access.
#[tokio::test]
async fn whoever_comes_in_by_other_rules_is_read_first() {
    let mut world = World::open().await;
    let [staff, leavers] = ["Staff", "Leavers"].map(|name| world.group(name));
    let excluding = Rule { exclude: true, ..rule(leavers, 20, Kind::Employee, "x") };
    world.apply(vec![employees(staff), excluding]).await;
    let ada = world.hire("Ada", &[staff, leavers]);
    world.work();
    world.sync().await;
    // Both relists, and then long enough that what they showed is old.
    world.later(minutes(20)).await;
    world.later(minutes(3)).await;
    assert!(world.record(ada).await.is_none());
    world.sim.reset_counters();
    reevaluate(&world, vec![employees(staff)], &[]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert!(world.sim.counters().total_requests > 0);
    world.rest().await;
}

/// M11: another expression is a change like any other.
#[tokio::test]
async fn another_field_reaches_everybody() {
    let (mut world, [staff, sales], [ada, _]) = with_two_groups().await;
    let from = Some(Expression::parse("upper(user.displayName)").unwrap());
    let shout = FieldRule { from, clear_when_blank: false, local_only: false };
    let fields = FieldMap([("shout".to_owned(), shout)].into());
    let rules = vec![employees(staff), rule(sales, 20, Kind::Employee, "sales")];
    let task = start(&world, rules, &fields, &[]).await;
    assert_eq!(end(&world, task).await.updated, 2);
    assert_eq!(world.record(ada).await.unwrap().fields["shout"], "ADA");
    world.rest().await;
}

/// Two admins at once: the later plan was made upon rules that are gone.
#[tokio::test]
async fn rules_planned_upon_others_than_those_in_force_are_refused() {
    let (mut world, [staff, _], _) = with_two_groups().await;
    let (fields, defaults, settings) = (&FieldMap::default(), &Defaults::default(), &Settings::default());
    let planned_on = world.reload().await.rules_version;
    let rules = || vec![employees(staff)];
    let (plan, confirmed, follow_up) = (Value::Null, &[], TaskKind::Reevaluate);
    let new = || NewRules {
        rules: rules(),
        fields,
        defaults,
        settings,
        confirmed,
        plan: plan.clone(),
        planned_on,
        follow_up,
    };
    world.store.put_rules_in_force(world.connection.id, new()).await.unwrap();
    let refused = world.store.put_rules_in_force(world.connection.id, new()).await.unwrap_err();
    assert!(matches!(refused, lockstep_store::StoreError::Conflict { .. }), "{refused}");
    assert_eq!(world.reload().await.rules_version, planned_on + 1);
    world.rest().await;
}
