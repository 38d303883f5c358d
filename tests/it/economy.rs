//! Cost follows the people you manage, not the tenant (design, idea 4).

use std::time::Duration;

use lockstep_core::record::Kind;
use lockstep_testkit::{RuleFor, World};
use serde_json::json;

/// A tenant of 10,000 with 500 in a mapped group: the calls of a full sync grow with the 500, and a notification about
/// somebody outside costs none.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_tenant_costs_what_its_mapped_people_cost() {
    let world = World::start().await;
    let (people, groups) = world.tenant.seed(10_000, 500, &["Staff"]);
    world.map(&[RuleFor { group: groups[0], order: 10, kind: Kind::Employee, role: "Technician" }]).await;
    assert_eq!(world.records().await.len(), 500);

    world.simulator.reset_counters();
    let task = world.sync().await;
    assert_eq!(task.progress.users, 500);
    assert!(task.progress.graph_requests <= 10, "{} requests for 500 people", task.progress.graph_requests);

    let outside = *people.last().expect("there are people");
    assert!(world.record(outside).await.is_none(), "the last one is in no mapped group");
    world.settle().await;
    let before = world.simulator.counters().total_requests;
    world.tenant.patch_user(outside, json!({"jobTitle": "Gardener"})).expect("they exist");
    world.settle().await;
    world.pass(Duration::from_secs(61)).await;
    assert_eq!(world.simulator.counters().total_requests, before, "somebody outside costs no call");
    world.stop().await;
}
