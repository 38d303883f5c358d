//! A listing may come from a stale replica, or be cut short: it is had again, and takes nobody's access (FA-15, FA-16).

use lockstep_core::ObjectId;
use lockstep_core::hint::{Claim, Subject};
use lockstep_core::record::Status;
use lockstep_simulator::{Fault, Twist};
use lockstep_store::DeltaRound;
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, eventually, minutes, seconds};

const LISTING: &str = "GET /groups/{id}/transitiveMembers";

/// The delta link is newer than the listing, so that no delta ever tells of what the listing missed.
#[tokio::test]
async fn fa15_a_relist_finds_what_a_stale_listing_missed() {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    world.apply(vec![crate::world::employees(staff)]).await;
    world.sim.clock().advance(minutes(2));
    let ada = world.hire("Ada", &[staff]);
    world.sim.clock().advance(seconds(10));
    world.sim.set_fault(Fault { lag_ms: Some(60_000), ..Fault::on(LISTING) });
    world.work();
    world.sync().await;
    assert_eq!(world.status(ada).await, None, "the replica does not know her yet");

    world.sim.clear_faults();
    world.later(minutes(5)).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    world.rest().await;
}

/// The replica that was asked about a restored group did not know yet that it is back.
#[tokio::test]
async fn fa15_a_restored_group_that_a_stale_replica_still_shows_as_deleted_is_read_again() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.delete_group(staff, false).unwrap();
    notify_group(&world, staff).await;
    world.later(minutes(1)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));

    world.tenant.restore_group(staff).unwrap();
    world.sim.set_fault(Fault { lag_ms: Some(20_000), ..Fault::on("GET /groups/{id}") });
    notify_group(&world, staff).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    world.later(minutes(1)).await;
    // The second read of `reenable_agree`.
    world.later(seconds(31)).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    world.rest().await;
}

/// A mapped group with three people, and Ada, whose team stands in no group; relists are through.
async fn beside_a_team() -> (World, Uuid, Uuid, Uuid) {
    let (world, staff) = World::with_staff().await;
    let team = world.group("Team");
    let ada = world.hire("Ada", &[team]);
    for name in ["Grace", "Mary", "Joan"] {
        world.hire(name, &[staff]);
    }
    world.sync().await;
    world.later(minutes(16)).await;
    (world, staff, team, ada)
}

/// A group came into a mapped one, or left it, and the replica that was asked did not know yet.
#[tokio::test]
async fn fa15_a_nested_group_is_read_again_where_a_stale_replica_contradicts() {
    let (mut world, staff, team, ada) = beside_a_team().await;
    for (joins, before, after) in [(true, None, Status::Active), (false, Some(Status::Active), Status::Inactive)] {
        change_member(&world, staff, team, joins);
        world.sim.set_fault(Fault { lag_ms: Some(20_000), ..Fault::default() });
        world.notify_members(staff, &[(team, !joins)]).await;
        world.settled().await;
        assert_eq!(world.status(ada).await, before, "the replicas do not know it yet");
        world.later(minutes(1)).await;
        world.later(seconds(11)).await;
        assert_eq!(world.status(ada).await, Some(after));
        world.sim.clear_faults();
        world.later(minutes(16)).await;
    }
    world.rest().await;
}

/// The replica that was asked about the people of a group that left did not know yet: the group around it is listed again.
#[tokio::test]
async fn fa15_people_of_a_group_that_left_are_found_by_the_relist_of_the_group_around() {
    let (mut world, staff, team, ada) = beside_a_team().await;
    change_member(&world, staff, team, true);
    world.notify_members(staff, &[(team, false)]).await;
    world.settled().await;
    // The delta round tells of it once more, and that is listed again, too.
    for _ in 0..2 {
        world.later(minutes(16)).await;
    }
    assert_eq!(world.status(ada).await, Some(Status::Active));

    world.sim.set_fault(Fault { lag_ms: Some(86_400_000), ..Fault::on("GET /groups/delta") });
    world.sim.set_fault(Fault { lag_ms: Some(20_000), ..Fault::on("GET /users/{id}/transitiveMemberOf") });
    change_member(&world, staff, team, false);
    world.notify_members(staff, &[(team, true)]).await;
    world.settled().await;
    world.later(minutes(4)).await;
    assert_eq!(world.status(ada).await, Some(Status::Active), "nobody told of her");
    world.later(minutes(1)).await;
    world.later(seconds(11)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    world.rest().await;
}

fn change_member(world: &World, group: Uuid, member: Uuid, joins: bool) {
    if joins {
        world.tenant.add_member(group, member).unwrap();
    } else {
        world.tenant.remove_member(group, member).unwrap();
    }
}

async fn notify_group(world: &World, group: Uuid) {
    let (id, claim) = (ObjectId(group), Claim::Changed);
    world.publish(vec![Subject::Group { id, claim, members: vec![], truncated: false }]).await;
    world.settled().await;
}

/// Relists follow a full listing at 5 and 15 min, and nothing follows them; a day later everybody is compared.
#[tokio::test]
async fn a_listing_is_had_again_twice_and_then_once_a_day() {
    let (mut world, staff) = World::with_staff().await;
    world.hire("Ada", &[staff]);
    world.later(minutes(30)).await;
    world.later(minutes(30)).await;
    world.sync().await;
    world.sim.reset_counters();
    let mut listed = Vec::new();
    for span in [4, 2, 8, 2, 120, 24 * 60, 120] {
        world.later(minutes(span)).await;
        listed.push(world.requests(LISTING));
    }
    assert_eq!(listed, [0, 1, 1, 2, 2, 3, 3]);
    world.rest().await;
}

/// FA-16: half of the people are not shown, with no link to the rest.
#[tokio::test]
async fn fa16_a_truncated_listing_takes_nobodys_access() {
    let (mut world, _) = World::with_staff().await;
    world.tenant.seed(40, 40, &["Staff"]);
    world.sync().await;
    world.later(minutes(16)).await;
    world.later(minutes(5)).await;
    // A full sync that is needed to follow changes again: from a truncated listing nothing of that follows.
    world.sim.set_fault(Fault { share: Some(0.5), ..Fault::on(LISTING) });
    world.sim.set_fault(Fault { twist: Some(Twist::Gone), remaining: Some(1), ..Fault::on("GET /users/delta") });
    world.sim.reset_counters();
    world.later(minutes(5)).await;
    eventually("nobody is listed", async || world.requests(LISTING) > 0).await;
    world.settled().await;
    world.later(seconds(11)).await;
    world.later(seconds(60)).await;
    assert_eq!(world.active().await, 40);
    let access = world.store.lookup_delta(world.connection.id, DeltaRound::UsersAccess).await.unwrap().unwrap();
    assert!(access.expired_at.is_some(), "the run's conclusions are held");

    world.sim.clear_faults();
    world.later(minutes(16)).await;
    world.later(minutes(5)).await;
    let access = world.store.lookup_delta(world.connection.id, DeltaRound::UsersAccess).await.unwrap().unwrap();
    assert_eq!(access.expired_at, None, "a whole listing is believed");
    assert_eq!(world.active().await, 40);
    world.rest().await;
}

/// G-08: a listing that says something else about access than the last read by id is not taken, it causes a read by id.
#[tokio::test]
async fn a_full_sync_finds_who_was_disabled_meanwhile() {
    let (mut world, staff) = World::with_staff().await;
    let people: Vec<_> = (0..8).map(|place| world.hire(&format!("Person {place}"), &[staff])).collect();
    world.sync().await;
    world.told(people[0]).await;
    world.tenant.patch_user(people[0], json!({ "accountEnabled": false })).unwrap();
    world.sync().await;
    assert_eq!(world.status(people[0]).await, Some(Status::Inactive));
    assert_eq!(world.active().await, 7);
    world.rest().await;
}

/// Somebody whose hint was passed by as out of scope enters scope by a listing: the hint counts after all.
#[tokio::test]
async fn an_id_in_seen_that_enters_scope_is_read_at_once() {
    let (mut world, staff) = World::with_staff().await;
    let (ada, grace) = (world.hire("Ada", &[]), world.hire("Grace", &[]));
    world.told(ada).await;
    assert_eq!(world.ledger().await.ignored, 1);
    for person in [ada, grace] {
        world.tenant.add_member(staff, person).unwrap();
    }
    world.sim.reset_counters();
    let id = ObjectId(staff);
    world.publish(vec![Subject::Group { id, claim: Claim::Changed, members: vec![], truncated: true }]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert_eq!(world.status(grace).await, Some(Status::Active));
    assert_eq!(world.requests("GET /users/{id}"), 1, "the one that was seen, not the other");
    world.later(seconds(61)).await;
    assert_eq!(world.requests("GET /users/{id}"), 2, "entering scope is settled like a hint");
    world.rest().await;
}

/// Everybody below a group that comes into a mapped one enters scope: read at once, and settled a minute later.
#[tokio::test]
async fn entering_scope_by_a_group_is_settled() {
    let (mut world, staff) = World::with_staff().await;
    let team = world.group("Team");
    let ada = world.hire("Ada", &[team]);
    world.tenant.add_member(staff, team).unwrap();
    world.notify_members(staff, &[(team, false)]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    world.sim.reset_counters();
    world.later(seconds(61)).await;
    assert!(world.requests("GET /users/{id}/transitiveMemberOf") >= 1, "read again for the lag of replicas");
    world.rest().await;
}
