//! Cost follows the people you manage, not the tenant.

use std::collections::BTreeSet;

use lockstep_core::ObjectId;
use lockstep_core::hint::{Claim, Subject};
use lockstep_core::record::Status;
use serde_json::json;

use crate::world::{World, employees, seconds};

#[tokio::test]
async fn a_hint_about_somebody_out_of_scope_costs_no_graph_call() {
    let (mut world, _) = World::with_staff().await;
    let stranger = world.hire("Stranger", &[]);
    world.sim.reset_counters();
    for _ in 0..20 {
        world.notify(stranger).await;
    }
    world.settled().await;

    assert_eq!(world.sim.counters().total_requests, 0);
    assert_eq!(world.ledger().await.ignored, 20);
    assert!(!world.mirrors(stranger).await);
    world.rest().await;
}

/// BI-24, TH-02: one read per object and 5 s, however many hints.
#[tokio::test]
async fn bi24_a_thousand_hints_about_one_person_are_one_read() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.rest().await;
    world.sim.reset_counters();
    world.tenant.patch_user(ada, json!({ "jobTitle": "Countess" })).unwrap();
    for _ in 0..20 {
        let one = || Subject::User { id: ObjectId(ada), claim: Claim::Changed };
        world.publish((0..50).map(|_| one()).collect()).await;
    }
    world.work();
    world.settled().await;

    assert_eq!(world.requests("GET /users/{id}"), 1);
    let sums = world.ledger().await;
    assert_eq!((sums.applied, sums.superseded), (1, 999), "every hint is accounted for (G-05)");
    world.rest().await;
}

/// A hint that comes while its object is read is not lost: the row stays due.
#[tokio::test]
async fn a_hint_during_the_read_causes_one_more_read() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.sim.set_latency(std::time::Duration::from_millis(300));
    world.sim.reset_counters();
    world.notify(ada).await;
    crate::world::eventually("the read does not begin", async || world.requests("GET /users/{id}") == 1).await;
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    world.notify(ada).await;
    crate::world::eventually("the hints are not taken", async || world.queue.depth().await.unwrap().messages == 0)
        .await;
    world.sim.set_latency(std::time::Duration::ZERO);
    world.later(seconds(6)).await;

    assert_eq!(world.status(ada).await, Some(Status::Inactive));
    world.rest().await;
}

/// A device as a member is nothing of ours.
#[tokio::test]
async fn a_device_in_a_mapped_group_is_not_taken_for_a_person_that_is_gone() {
    let (mut world, staff) = World::with_staff().await;
    let device = world.tenant.create_device("Printer");
    world.tenant.add_member(staff, device).unwrap();
    world.notify_members(staff, &[(device, false)]).await;
    world.settled().await;

    let sums = world.ledger().await;
    assert_eq!((sums.applied, sums.waiting, sums.failed), (1, 0, 0));
    assert!(!world.mirrors(device).await);
    world.rest().await;
}

/// 10,000 users with 500 in mapped groups: the calls of a full sync grow with the 500.
#[tokio::test]
async fn a_full_sync_of_a_large_tenant_costs_what_its_mapped_people_cost() {
    let mut world = World::open().await;
    let (users, groups) = world.tenant.seed(10_000, 500, &["Staff"]);
    world.apply(vec![employees(groups[0])]).await;
    world.work();
    world.sim.reset_counters();
    let progress = world.sync().await;

    assert_eq!((progress.users, progress.created), (500, 500));
    let counters = world.sim.counters();
    assert!(counters.total_requests <= 12, "{:?}", counters.requests);
    assert!(progress.graph_requests <= 12);
    assert_eq!(world.active().await, 500);

    world.sim.reset_counters();
    let outside: BTreeSet<_> = users.iter().skip(500).take(200).collect();
    world.publish(outside.iter().map(|id| Subject::User { id: ObjectId(**id), claim: Claim::Changed }).collect()).await;
    world.settled().await;
    assert_eq!(world.sim.counters().total_requests, 0);
    world.rest().await;
}
