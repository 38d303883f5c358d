//! Absence proves nothing; a late answer never wins (G-08, G-09, G-10).

use lockstep_core::ObjectId;
use lockstep_core::hint::{Claim, Subject};
use lockstep_core::record::{Reason, Status};
use lockstep_simulator::Fault;
use serde_json::json;

use crate::world::{World, employees, minutes, seconds};

/// A listing served by a stale replica shows somebody enabled: it gives nothing back.
#[tokio::test]
async fn g08_a_stale_listing_does_not_undo_a_read_by_id() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.sim.clock().advance(minutes(20));
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    world.told(ada).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));

    let stale = Fault { lag_ms: Some(15 * 60 * 1000), ..Fault::on("GET /groups/{id}/transitiveMembers") };
    world.sim.set_fault(stale);
    world.sync().await;
    world.later(minutes(3)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    assert_eq!(world.reasons(ada).await, [Reason::UpstreamDisabled]);
    world.rest().await;
}

/// Nobody is out because a listing does not show them; they are read by id.
#[tokio::test]
async fn g09_somebody_missing_from_a_listing_is_read_by_id() {
    let (mut world, staff) = World::with_staff().await;
    let people = world.tenant.seed(40, 40, &["Staff"]).0;
    world.sync().await;
    assert_eq!(world.active().await, 40);

    // The listing is from before anybody was in the group.
    let stale = Fault { lag_ms: Some(30_000), ..Fault::on("GET /groups/{id}/transitiveMembers") };
    world.sim.clock().advance(seconds(20));
    world.sim.set_fault(stale);
    world.sim.reset_counters();
    world
        .publish(vec![Subject::Group { id: ObjectId(staff), claim: Claim::Changed, members: vec![], truncated: true }])
        .await;
    world.settled().await;
    world.later(seconds(11)).await;
    assert_eq!(world.active().await, 40);
    let by_id = world.sim.counters().inner["GET /users/{id}"] + world.requests("GET /users/{id}");
    assert!(by_id >= 40, "each was read by id");
    assert_eq!(people.len(), 40);
    world.rest().await;
}

/// The reads after a notification may come from a replica that does not know yet: `settle` finds it a minute later.
#[tokio::test]
async fn fa15_a_lagging_replica_is_found_out_by_the_settle_read() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.sim.clock().advance(minutes(1));
    world.sim.set_fault(Fault { lag_ms: Some(30_000), ..Fault::on("GET /users/{id}") });
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    world.told(ada).await;
    assert_eq!(world.status(ada).await, Some(Status::Active), "the replica still shows her enabled");

    world.later(seconds(61)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    world.rest().await;
}

/// A deleted group: its edges are the candidates, each is read by id, and loss needs two reads.
#[tokio::test]
async fn the_people_of_a_deleted_group_are_out_after_two_reads() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.delete_group(staff, false).unwrap();
    let id = ObjectId(staff);
    world.publish(vec![Subject::Group { id, claim: Claim::Changed, members: vec![], truncated: false }]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    world.later(seconds(11)).await;
    assert_eq!(world.reasons(ada).await, [Reason::OutOfScope]);
    world.rest().await;
}

/// A user hint about an id of another tenant, or of nobody: no effect (TH-08).
#[tokio::test]
async fn th08_an_id_that_nobody_has_creates_nothing() {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    world.apply(vec![employees(staff)]).await;
    world.work();
    world.sync().await;
    let nobody = uuid::Uuid::new_v4();
    world.notify_members(staff, &[(nobody, false)]).await;
    world.settled().await;
    assert!(world.record(nobody).await.is_none());
    world.rest().await;
}

/// G-10 c: a mapped group whose members are hidden from us is never absence.
#[tokio::test]
async fn g10_a_group_that_hides_its_members_takes_nobody_out() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.patch_group(staff, json!({ "visibility": "HiddenMembership" })).unwrap();
    world.tenant.remove_member(staff, ada).unwrap();
    world.notify_members(staff, &[(ada, true)]).await;
    world.settled().await;
    world.later(seconds(11)).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));

    world.tenant.patch_group(staff, json!({ "visibility": "Private" })).unwrap();
    world.later(minutes(16)).await;
    world.later(seconds(11)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    world.rest().await;
}

/// The second read of `scope_agree` is wanted, and the replica that is asked for memberships does not know her at all:
/// no evidence, and nobody is asked over and over until it does.
#[tokio::test]
async fn g09_a_replica_that_does_not_know_somebody_yet_is_not_asked_without_a_pause() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.remove_member(staff, ada).unwrap();
    world.notify_members(staff, &[(ada, true)]).await;
    world.settled().await;
    let stale = Fault { lag_ms: Some(15 * 60 * 1000), ..Fault::on("GET /users/{id}/transitiveMemberOf") };
    world.sim.set_fault(stale);
    world.sim.reset_counters();
    world.later(seconds(11)).await;
    assert_eq!(world.status(ada).await, Some(Status::Active), "a 404 says nothing about her groups");
    let asked = world.requests("GET /users/{id}/transitiveMemberOf");
    assert!(asked <= 3, "asked {asked} times");

    world.sim.clear_faults();
    world.later(seconds(6)).await;
    assert_eq!(world.reasons(ada).await, [Reason::OutOfScope]);
    world.rest().await;
}
