//! Access is never taken in bulk without a person's yes (D6, G-19).

use lockstep_core::ObjectId;
use lockstep_core::hint::{Claim, Subject};
use lockstep_core::record::{Kind, Status};
use lockstep_simulator::Fault;
use serde_json::json;

use crate::world::{World, employees, minutes, rule, seconds};

/// 200 people: verified revocations are held above max(50, 30 %) in 30 min.
#[tokio::test]
async fn g19_a_mass_disable_is_held_above_the_limit_and_nothing_else_is() {
    let (mut world, _) = World::with_staff().await;
    let people = world.tenant.seed(200, 200, &["Staff"]).0;
    world.sync().await;
    // The percentages are of the people active at the window's start.
    world.later(minutes(24 * 60 + 31)).await;
    for person in people.iter().take(100) {
        world.tenant.patch_user(*person, json!({ "accountEnabled": false })).unwrap();
    }
    let hints = people.iter().take(100).map(|id| Subject::User { id: ObjectId(*id), claim: Claim::Changed });
    world.publish(hints.collect()).await;
    world.settled().await;

    assert_eq!(world.active().await, 140, "60 went, 40 are held");
    let held: usize = world.holds().await.iter().map(|hold| hold.people.len()).sum();
    assert_eq!(held, 40);
    assert_eq!(world.ledger().await.held, 40);

    // Others go on: a new name reaches a record.
    world.tenant.patch_user(people[150], json!({ "displayName": "Grace Hopper" })).unwrap();
    world.told(people[150]).await;
    assert_eq!(world.record(people[150]).await.unwrap().display_name.as_deref(), Some("Grace Hopper"));

    // Time and settles let nobody out.
    world.later(minutes(2)).await;
    world.later(minutes(40)).await;
    assert_eq!(world.active().await, 140);

    // Whoever is read back leaves the hold, and with them the event that named them.
    let mut kept = people.iter().take(100);
    let back = loop {
        let person = kept.next().unwrap();
        if world.status(*person).await == Some(Status::Active) {
            break *person;
        }
    };
    world.tenant.patch_user(back, json!({ "accountEnabled": true })).unwrap();
    world.told(back).await;
    assert_eq!(world.ledger().await.held, 39);
    world.rest().await;
}

/// D6: the first sync's one hold is for people who were there before. Whoever is in by a page of the first sync itself, and was
/// disabled by the time the next page was read, is out at once.
#[tokio::test]
async fn d6_whom_the_first_sync_brought_in_it_takes_out_again() {
    let mut world = World::open().await;
    let (staff, guards) = (world.group("Staff"), world.group("Guards"));
    let ada = world.hire("Ada", &[staff, guards]);
    world.apply(vec![employees(staff), rule(guards, 20, Kind::Employee, "guard")]).await;
    world.sim.clock().advance(minutes(1));
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    let listing = "GET /groups/{id}/transitiveMembers";
    world.sim.set_fault(Fault { lag_ms: Some(30_000), remaining: Some(1), ..Fault::on(listing) });
    world.work();
    world.sync().await;
    world.later(seconds(6)).await;

    assert!(world.holds().await.is_empty());
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    world.rest().await;
}

/// D6: only what the first sync itself concludes is held as its own; a later sync has the usual limits, however soon.
#[tokio::test]
async fn d6_a_second_sync_is_no_part_of_the_first() {
    let mut world = World::open().await;
    let (staff, guards) = (world.group("Staff"), world.group("Guards"));
    world.tenant.seed(10, 10, &["Staff"]);
    let ada = world.hire("Ada", &[guards]);
    world.apply(vec![employees(staff), rule(guards, 20, Kind::Employee, "guard")]).await;
    world.work();
    world.sync().await;
    world.apply(vec![employees(staff)]).await;
    world.sync().await;
    world.later(seconds(11)).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    assert!(world.holds().await.is_empty());
    world.rest().await;
}

#[tokio::test]
async fn a_single_leaver_is_never_delayed() {
    let (mut world, staff) = World::with_staff().await;
    world.tenant.seed(10, 10, &["Staff"]);
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.later(seconds(1)).await;
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    world.told(ada).await;
    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    assert!(world.holds().await.is_empty());
    world.rest().await;
}
