//! A change in Microsoft reaches the record: over real notifications, the queue, by-id reads and one transaction.

use std::time::Duration;

use lockstep_core::record::{Reason, Status};
use lockstep_testkit::World;
use lockstep_tests::{Company, assert_in, assert_out};
use serde_json::json;

/// Y1, Y2, M1: hired into a mapped group, renamed, and the record follows; its id stays.
#[tokio::test(flavor = "multi_thread")]
async fn hired_and_renamed_people_have_a_record_that_follows() {
    let world = World::start().await;
    let company = Company::connected(&world).await;

    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let hired = world.record(ada).await;
    assert_in(hired.as_ref(), "Technician");

    world.tenant.patch_user(ada, json!({"displayName": "Ada King"})).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    let renamed = world.record(ada).await.expect("the record stays");
    assert_eq!(renamed.display_name.as_deref(), Some("Ada King"));
    assert_eq!(Some(renamed.id), hired.map(|record| record.id));
    world.stop().await;
}

/// M10: somebody in a group inside the mapped group is in.
#[tokio::test(flavor = "multi_thread")]
async fn nested_members_are_in() {
    let world = World::start().await;
    let company = Company::connected(&world).await;

    let grace = world.hire("Grace Hopper", &[company.field_team]);
    world.settle().await;

    assert_in(world.record(grace).await.as_ref(), "Technician");
    world.stop().await;
}

/// D2, G-10: disabled is out at once; enabled again comes back with the same record after two reads that agree.
#[tokio::test(flavor = "multi_thread")]
async fn disabled_is_out_at_once_and_enabled_comes_back() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let before = world.record(ada).await.expect("ada is in");

    world.tenant.patch_user(ada, json!({"accountEnabled": false})).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    assert_out(world.record(ada).await.as_ref(), Reason::UpstreamDisabled);

    world.tenant.patch_user(ada, json!({"accountEnabled": true})).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    assert_out(world.record(ada).await.as_ref(), Reason::UpstreamDisabled);

    world.pass(Duration::from_secs(31)).await;
    assert_in(world.record(ada).await.as_ref(), "Technician");
    assert_eq!(world.record(ada).await.expect("ada is back").id, before.id);
    world.stop().await;
}

/// G-10 (c): a move between mapped groups shows the loss before the gain, and nobody is out in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_between_groups_never_takes_access() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;

    world.tenant.remove_member(company.staff, ada).expect("ada is staff");
    world.pass(Duration::from_secs(6)).await;
    assert_in(world.record(ada).await.as_ref(), "Technician");
    world.tenant.add_member(company.managers, ada).expect("the group exists");
    world.pass(Duration::from_secs(6)).await;
    assert_in(world.record(ada).await.as_ref(), "Manager");

    world.pass(Duration::from_secs(120)).await;
    assert_in(world.record(ada).await.as_ref(), "Manager");
    world.stop().await;
}

/// G-10 (c): out of every mapped group is out after the second read.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_leaves_the_last_group_is_out_after_the_second_read() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;

    world.tenant.remove_member(company.staff, ada).expect("ada is staff");
    world.pass(Duration::from_secs(6)).await;
    assert_in(world.record(ada).await.as_ref(), "Technician");

    world.pass(Duration::from_secs(11)).await;
    assert_out(world.record(ada).await.as_ref(), Reason::OutOfScope);
    world.stop().await;
}

/// D1, D4, G-17: deleted keeps the record; restored brings the same record back.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_keeps_the_record_and_restored_brings_it_back() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let before = world.record(ada).await.expect("ada is in");

    world.tenant.delete_user(ada, false).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    assert_out(world.record(ada).await.as_ref(), Reason::UpstreamDeleted);

    world.tenant.restore_user(ada).expect("ada is in deleted items");
    world.pass(Duration::from_secs(6)).await;
    world.pass(Duration::from_secs(31)).await;
    let after = world.record(ada).await;
    assert_in(after.as_ref(), "Technician");
    assert_eq!(after.expect("ada is back").id, before.id);
    world.stop().await;
}

/// G-10 (b): gone without a trace is believed at the second "not found", two minutes later.
#[tokio::test(flavor = "multi_thread")]
async fn purged_is_out_after_the_second_not_found() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;

    world.tenant.delete_user(ada, true).expect("ada exists");
    world.pass(Duration::from_secs(6)).await;
    assert_in(world.record(ada).await.as_ref(), "Technician");

    world.pass(Duration::from_secs(121)).await;
    assert_out(world.record(ada).await.as_ref(), Reason::UpstreamDeleted);
    world.stop().await;
}

/// G-01, G-05: hints that came while no worker ran are applied by the next one, and every event is accounted for.
#[tokio::test(flavor = "multi_thread")]
async fn hints_wait_for_a_worker_and_every_event_is_accounted_for() {
    let mut world = World::start().await;
    let company = Company::connected(&world).await;
    // A third of them: less than the brake lets through within half an hour.
    let people: Vec<_> = (0..60).map(|n| world.hire(&format!("Person {n}"), &[company.staff])).collect();
    world.settle().await;

    world.stop_worker().await;
    for person in &people[..20] {
        world.tenant.patch_user(*person, json!({"accountEnabled": false})).expect("they exist");
    }
    world.simulator.deliveries_idle().await;
    assert!(world.queue.depth().await.expect("the queue answers").messages > 0, "the hints wait");
    world.start_worker();
    world.pass(Duration::from_secs(6)).await;
    world.pass(Duration::from_secs(61)).await;

    let out = world.records().await.into_iter().filter(|record| record.status == Status::Inactive).count();
    assert_eq!(out, 20);
    let sums = world.store.ledger(world.connection.id).await.expect("the store answers");
    assert_eq!(sums.in_work + sums.waiting + sums.failed + sums.parked, 0, "nothing is left over");
    assert_eq!(sums.total(), sums.applied + sums.superseded + sums.ignored + sums.held);
    world.stop().await;
}

/// M10, G-16: when the group inside is deleted, whoever was in through it is out, though no edge of theirs names it.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_inner_group_takes_its_people_along() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let grace = world.hire("Grace Hopper", &[company.field_team]);
    world.settle().await;
    world.sync().await;
    assert_in(world.record(grace).await.as_ref(), "Technician");

    world.tenant.delete_group(company.field_team, false).expect("the group exists");
    world.pass(Duration::from_secs(6)).await;
    world.pass(Duration::from_secs(6)).await;
    world.pass(Duration::from_secs(11)).await;

    assert_out(world.record(grace).await.as_ref(), Reason::OutOfScope);
    world.stop().await;
}
