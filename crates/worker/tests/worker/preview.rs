//! `rule plan` (M12): the same merge and the same decision as the sync, and nothing written.

use lockstep_core::field::FieldMap;
use lockstep_core::record::{Kind, Status};
use lockstep_core::rule::{Rule, RuleSet};
use lockstep_core::settings::{Defaults, Settings};
use lockstep_store::People;
use lockstep_worker::{RulePlan, WorkerError, check_connection, graph_client, preview_rules};
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, employees, rule, seconds};

async fn plan(world: &World, rules: Vec<Rule>) -> Result<RulePlan, WorkerError> {
    let connection = world.reload().await;
    let client = graph_client(&world.store, &connection, &world.graph()).await?;
    let rules = RuleSet::build(connection.rules_version + 1, rules).unwrap();
    let (fields, defaults, settings) = (FieldMap::default(), Defaults::default(), Settings::default());
    preview_rules(&world.store, &client, &connection, rules, fields, defaults, settings).await
}

#[tokio::test]
async fn before_the_first_rules_everybody_in_the_groups_would_be_created_and_nothing_is_written() {
    let world = World::open().await;
    let staff = world.group("Staff");
    let (ada, disabled) = (world.hire("Ada", &[staff]), world.hire("Gone", &[staff]));
    world.hire("Outside", &[]);
    world.tenant.patch_user(disabled, json!({ "accountEnabled": false })).unwrap();
    let plan = plan(&world, vec![employees(staff)]).await.unwrap();

    assert_eq!((plan.created.count, plan.linked.count, plan.deactivated.count), (1, 0, 0));
    assert_eq!(plan.created.sample[0].entra_id.0, ada);
    assert_eq!(plan.created.sample[0].display_name.as_deref(), Some("Ada"));
    assert!(world.store.load_people(&world.connection, People::After(None, 10)).await.unwrap().is_empty());
    assert_eq!(world.reload().await.rules_version, 0);
}

/// Other rules: one is out, one changes the role, one the kind, one stays.
#[tokio::test]
async fn a_plan_counts_who_would_leave_from_what_is_known_now() {
    let mut world = World::open().await;
    let [staff, sales, portal, leavers] = ["Staff", "Sales", "Portal", "Leavers"].map(|name| world.group(name));
    let before = vec![
        employees(staff),
        rule(sales, 20, Kind::Employee, "sales"),
        rule(portal, 30, Kind::Employee, "portal"),
        rule(leavers, 40, Kind::Employee, "leaver"),
    ];
    world.apply(before).await;
    let stays = world.hire("Stays", &[staff]);
    world.hire("Seller", &[sales]);
    let client = world.hire("Client", &[portal]);
    let leaves = world.hire("Leaver", &[leavers]);
    world.work();
    world.sync().await;

    let after =
        vec![employees(staff), rule(sales, 20, Kind::Employee, "seller"), rule(portal, 30, Kind::Contact, "portal")];
    let plan = plan(&world, after.clone()).await.unwrap();
    assert_eq!(plan.unchanged.count, 1);
    assert_eq!(plan.role_changed.count, 1);
    assert_eq!(plan.kind_changed.count, 1);
    assert_eq!(plan.deactivated.count, 1);
    let leaver = world.record(leaves).await.unwrap().id;
    let changes = world.record(client).await.unwrap().id;
    assert_eq!(plan.kind_changed.sample[0].record, Some(changes));
    let leaving: std::collections::BTreeSet<_> = plan.leaving.iter().copied().collect();
    assert_eq!(leaving, [leaver, changes].into(), "who changes the kind loses a login too (D6)");
    assert_eq!(plan.unchanged.sample[0].entra_id.0, stays);

    // Confirmed, the plan comes true: for exactly the people on it, by reads by id.
    world.apply_with(after, Settings::default(), &plan.leaving).await;
    world.sync().await;
    world.later(seconds(11)).await;
    assert_eq!(world.status(leaves).await, Some(Status::Inactive));
    assert_eq!(world.active().await, 3);
    world.later(seconds(21)).await;
    let contact = world.record(client).await.unwrap();
    assert_eq!((contact.kind, contact.status), (Kind::Contact, Status::Active));
    assert_ne!(contact.id, changes);
    assert_eq!(world.active().await, 3);
    world.rest().await;
}

/// Where a rule counts direct members only, those of a group inside are not in.
#[tokio::test]
async fn a_plan_tells_direct_members_from_nested_ones() {
    let world = World::open().await;
    let (staff, team) = (world.group("Staff"), world.group("Team"));
    world.hire("Direct", &[staff]);
    world.hire("Nested", &[team]);
    world.tenant.add_member(staff, team).unwrap();
    let direct_only = Rule { nested: false, ..employees(staff) };
    assert_eq!(plan(&world, vec![direct_only]).await.unwrap().created.count, 1);
    assert_eq!(plan(&world, vec![employees(staff)]).await.unwrap().created.count, 2);
}

#[tokio::test]
async fn a_plan_for_a_group_that_is_not_there_is_refused() {
    let world = World::open().await;
    let missing = Uuid::new_v4();
    let refused = plan(&world, vec![employees(missing)]).await.unwrap_err();
    assert!(matches!(refused, WorkerError::GroupMissing { group } if group.0 == missing));
}

#[tokio::test]
async fn a_check_names_the_tenant_and_the_permissions_that_are_there() {
    let world = World::open().await;
    let graph = world.graph();
    let client = || graph_client(&world.store, &world.connection, &graph);
    let good = check_connection(&client().await.unwrap()).await.unwrap();
    assert_eq!(good.organization.0, world.tenant.id());
    assert!(good.verified_domains.contains(&world.tenant.domain()));
    assert!(good.can_read_users && good.can_read_groups);

    world.tenant.set_permissions(["User.Read.All", "Organization.Read.All"].map(str::to_owned).to_vec());
    let less = check_connection(&client().await.unwrap()).await.unwrap();
    assert!(less.can_read_users && !less.can_read_groups);
}

/// T9: what is mirrored is not listed again for a plan; only the new group is.
#[tokio::test]
async fn a_plan_lists_only_groups_that_are_not_mirrored() {
    let mut world = World::open().await;
    let [staff, sales] = ["Staff", "Sales"].map(|name| world.group(name));
    world.apply(vec![employees(staff)]).await;
    let ada = world.hire("Ada", &[staff]);
    let bo = world.hire("Bo", &[sales]);
    let cy = world.hire("Cy", &[staff, sales]);
    world.work();
    world.sync().await;
    world.sim.reset_counters();

    let same = plan(&world, vec![employees(staff)]).await.unwrap();
    assert_eq!((same.unchanged.count, same.people.len()), (2, 0));
    assert_eq!(world.sim.counters().total_requests, 0);

    let more = vec![employees(staff), rule(sales, 5, Kind::Contact, "seller")];
    let more = plan(&world, more).await.unwrap();
    assert_eq!((more.created.count, more.kind_changed.count, more.unchanged.count), (1, 1, 1));
    assert_eq!((more.created.sample[0].entra_id.0, more.kind_changed.sample[0].entra_id.0), (bo, cy));
    assert_eq!(more.unchanged.sample[0].entra_id.0, ada);
    assert_eq!(world.reload().await.rules_version, 1);
    assert!(!world.mirrors(bo).await, "a plan leaves nothing behind");
    world.rest().await;
}

/// Exclude rules, people who come back, and fields: each in its bucket, with what would differ.
#[tokio::test]
async fn a_plan_says_of_each_person_what_would_differ() {
    let mut world = World::open().await;
    let [staff, banned] = ["Staff", "Banned"].map(|name| world.group(name));
    let excluding = Rule { exclude: true, ..rule(banned, 1, Kind::Employee, "x") };
    world.apply(vec![employees(staff)]).await;
    let ada = world.hire("Ada", &[staff]);
    let bo = world.hire("Bo", &[staff, banned]);
    world.work();
    world.sync().await;

    let excluded = plan(&world, vec![employees(staff), excluding.clone()]).await.unwrap();
    assert_eq!((excluded.deactivated.count, excluded.unchanged.count), (1, 1));
    let listed = serde_json::to_value(&excluded.people).unwrap();
    assert_eq!(listed[0]["what"], "deactivated");
    assert_eq!(listed[0]["entra_id"], json!(bo));
    assert_eq!(listed[0]["changes"], json!([{"field": "reasons", "before": [], "after": ["out_of_scope"]}]));

    world.apply_with(vec![employees(staff), excluding], Settings::default(), &excluded.leaving).await;
    world.sync().await;
    assert_eq!(world.status(bo).await, Some(Status::Inactive));
    let back = plan(&world, vec![rule(staff, 10, Kind::Employee, "lead")]).await.unwrap();
    assert_eq!((back.reactivated.count, back.role_changed.count), (1, 1));
    let role = back.people.iter().find(|person| person.person.entra_id.0 == ada).unwrap();
    assert_eq!((&role.changes[0].before, &role.changes[0].after), (&json!("staff"), &json!("lead")));
    world.rest().await;
}
