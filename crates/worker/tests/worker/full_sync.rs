//! The full sync: in steps, resumable, deciding everyone.

use lockstep_core::hint::{Claim, Subject};
use lockstep_core::record::{Kind, Status};
use lockstep_core::rule::Rule;
use lockstep_core::{ObjectId, TaskId};
use lockstep_store::TaskState;

use crate::world::{World, employees, eventually, rule, seconds};

/// So many people in a mapped group, whose first sync is at work while Graph takes its time.
async fn slowly_syncing(people: usize) -> (World, TaskId) {
    let mut world = World::open().await;
    let (_, groups) = world.tenant.seed(people, people, &["Staff"]);
    world.apply(vec![employees(groups[0])]).await;
    let task = world.store.start_full_sync(world.connection.id).await.unwrap();
    world.sim.set_latency(std::time::Duration::from_millis(200));
    world.work();
    (world, task)
}

/// Stopped in the middle of a listing, it goes on at the page where it was.
#[tokio::test]
async fn t8_a_stopped_sync_goes_on_from_its_checkpoint() {
    let (mut world, task) = slowly_syncing(5_000).await;
    let pages = || world.requests("GET /groups/{id}/transitiveMembers");
    eventually("no page is listed", async || pages() >= 3).await;
    world.rest().await;
    assert_eq!(world.store.lookup_task(task).await.unwrap().unwrap().state, TaskState::Due);

    world.sim.set_latency(std::time::Duration::ZERO);
    world.work();
    eventually("the sync does not end", async || {
        world.store.lookup_task(task).await.unwrap().unwrap().state == TaskState::Done
    })
    .await;
    assert_eq!(world.active().await, 5_000);
    let listed = world.requests("GET /groups/{id}/transitiveMembers");
    assert!(listed <= 6 + 2, "{listed} pages for 6: at most the page under way is fetched again");
    world.rest().await;
}

/// People who left while nobody was at work are found, and lose access only by reads by id.
#[tokio::test]
async fn a_sync_finds_who_left_meanwhile() {
    let (mut world, staff) = World::with_staff().await;
    let (ada, grace) = (world.hire("Ada", &[staff]), world.hire("Grace", &[staff]));
    let more: Vec<_> = (0..8).map(|place| world.hire(&format!("Person {place}"), &[staff])).collect();
    world.sync().await;
    world.tenant.remove_member(staff, ada).unwrap();
    world.tenant.delete_user(grace, false).unwrap();
    world.sync().await;
    world.later(seconds(11)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    assert_eq!(world.status(grace).await, Some(Status::Inactive));
    assert_eq!(world.active().await, more.len());
    world.rest().await;
}

/// Rules applied during a sync: it begins anew, and everybody is decided by the new ones.
#[tokio::test]
async fn new_rules_redo_everybody() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.apply(vec![rule(staff, 10, Kind::Employee, "engineer")]).await;
    world.sync().await;
    assert_eq!(world.record(ada).await.unwrap().role.as_deref(), Some("engineer"));
    world.rest().await;
}

/// A mapped group that does not exist gives nobody access and stops nobody else's.
#[tokio::test]
async fn a_missing_group_stops_nothing() {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    let ada = world.hire("Ada", &[staff]);
    world.apply(vec![employees(staff), rule(uuid::Uuid::new_v4(), 1, Kind::Employee, "ghost")]).await;
    world.work();
    world.sync().await;
    assert_eq!(world.record(ada).await.unwrap().role.as_deref(), Some("staff"));
    world.rest().await;
}

/// D2: who was deleted before the first sync is on no listing, and their restore is told of no group.
#[tokio::test]
async fn d2_whoever_was_deleted_before_the_first_sync_is_recognised_when_restored() {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    let ada = world.hire("Ada", &[staff]);
    world.tenant.delete_user(ada, false).unwrap();
    world.apply(vec![employees(staff)]).await;
    world.work();
    world.sync().await;
    assert_eq!(world.status(ada).await, None);
    world.tenant.restore_user(ada).unwrap();
    world.told(ada).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    world.rest().await;
}

/// M6: a group's own listing does not tell who is excluded by another one.
#[tokio::test]
async fn m6_a_group_that_is_compared_lets_nobody_in_who_is_excluded() {
    let mut world = World::open().await;
    let (staff, suspended) = (world.group("Staff"), world.group("Suspended"));
    world.apply(vec![employees(staff), Rule { exclude: true, ..rule(suspended, 0, Kind::Employee, "") }]).await;
    world.work();
    world.sync().await;
    let (ada, grace) = (world.hire("Ada", &[staff]), world.hire("Grace", &[staff, suspended]));
    let claim = Claim::Changed;
    world.publish(vec![Subject::Group { id: ObjectId(staff), claim, members: vec![], truncated: true }]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert_eq!(world.status(grace).await, None);
    world.rest().await;
}

/// A large group is listed by a task; the hint's event is settled when it ends.
#[tokio::test]
async fn a_large_group_is_compared_in_steps() {
    let (mut world, staff) = World::with_staff().await;
    world.tenant.seed(3_500, 3_500, &["Staff"]);
    world
        .publish(vec![Subject::Group { id: ObjectId(staff), claim: Claim::Changed, members: vec![], truncated: true }])
        .await;
    world.settled().await;
    eventually("the people do not arrive", async || world.active().await == 3_500).await;
    world.rest().await;
}

/// T8: nobody waits for the last page. What stopped the sync in the middle takes nothing back.
#[tokio::test]
async fn t8_people_have_their_records_while_others_are_still_listed() {
    let (mut world, task) = slowly_syncing(2_500).await;
    eventually("nobody has a record", async || world.active().await >= 999).await;
    world.rest().await;
    assert_eq!(world.store.lookup_task(task).await.unwrap().unwrap().state, TaskState::Due);
    assert!(world.active().await < 2_500, "all pages were listed before somebody looked");

    world.sim.set_latency(std::time::Duration::ZERO);
    world.work();
    let progress = world.sync().await;
    assert_eq!((world.active().await, progress.users, progress.created), (2_500, 2_500, 2_500));
    world.rest().await;
}

/// M2: groups are listed in the order of their rules, so that whoever is decided by the first page that shows them has the
/// rule that wins. Everybody is counted once.
#[tokio::test]
async fn m2_whoever_is_in_several_groups_has_the_access_of_the_first_rule_and_is_counted_once() {
    let mut world = World::open().await;
    let (first, second) = (world.group("First"), world.group("Second"));
    let (ada, grace) = (world.hire("Ada", &[second, first]), world.hire("Grace", &[second]));
    world.apply(vec![rule(second, 20, Kind::Employee, "second"), rule(first, 10, Kind::Employee, "first")]).await;
    world.work();
    for created in [2, 0] {
        let progress = world.sync().await;
        assert_eq!((progress.users, progress.created, progress.updated), (2, created, 0));
        assert_eq!(world.record(ada).await.unwrap().role.as_deref(), Some("first"));
        assert_eq!(world.record(grace).await.unwrap().role.as_deref(), Some("second"));
    }
    world.rest().await;
}

/// M6: the group whose rule excludes is listed last; nobody got a record meanwhile.
#[tokio::test]
async fn m6_nobody_is_decided_before_all_is_listed_where_a_rule_excludes() {
    let mut world = World::open().await;
    let (staff, suspended) = (world.group("Staff"), world.group("Suspended"));
    let (ada, grace) = (world.hire("Ada", &[staff]), world.hire("Grace", &[staff, suspended]));
    world.apply(vec![employees(staff), Rule { exclude: true, ..rule(suspended, 90, Kind::Employee, "") }]).await;
    world.work();
    assert_eq!(world.sync().await.users, 2);
    world.settled().await;
    assert_eq!((world.status(ada).await, world.status(grace).await), (Some(Status::Active), None));
    world.rest().await;
}
