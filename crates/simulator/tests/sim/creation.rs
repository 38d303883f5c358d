//! New users appear piece by piece, and replicas disagree (graph-contract.md, section 6).

use std::time::Duration;

use lockstep_simulator::{Fault, NewGroup, NewUser, Settings, SimClock, StagedCreation};
use serde_json::{Value, json};

use crate::stage::{Receiver, Stage, until};

fn slowly(settings: &mut Settings) {
    settings.staged_creation_ms = StagedCreation { absent: 5_000, skeleton: 10_000 };
}

async fn stage() -> (Stage, SimClock) {
    let clock = SimClock::real();
    clock.set_scale(0.0);
    let stage = Stage::at(clock.clone()).await;
    stage.sim.change_settings(slowly);
    (stage, clock)
}

#[tokio::test]
async fn a_new_user_is_absent_then_a_skeleton_then_whole() {
    let (stage, clock) = stage().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let path = format!("users/{ada}?$select=id,userPrincipalName,accountEnabled,displayName");
    assert_eq!(stage.get(&path).await.0, 404);
    assert_eq!(stage.get("users").await.1["value"], json!([]));
    assert!(stage.tenant.truth()[0].enabled, "the truth is complete at once");

    clock.advance(Duration::from_secs(5));
    let (status, skeleton) = stage.get(&path).await;
    assert_eq!(status, 200);
    assert_eq!(skeleton["userPrincipalName"], "ada.lovelace@contoso.example");
    assert_ne!(skeleton["accountEnabled"], true);

    clock.advance(Duration::from_secs(10));
    let (_, whole) = stage.get(&path).await;
    assert_eq!((&whole["accountEnabled"], &whole["displayName"]), (&json!(true), &json!("Ada Lovelace")));
}

#[tokio::test]
async fn every_stage_is_notified() {
    let (stage, clock) = stage().await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    until("the first word", || receiver.items().len() == 1).await;
    clock.advance(Duration::from_secs(5));
    until("the skeleton", || receiver.items().len() == 2).await;
    clock.advance(Duration::from_secs(10));
    stage.sim.deliveries_idle().await;
    assert_eq!(receiver.items().len(), 3);
}

/// The rows since the link, and the next link.
async fn since(stage: &Stage, link: &str) -> (Vec<Value>, String) {
    let (status, page) = stage.get(link).await;
    assert_eq!(status, 200, "{page}");
    (page["value"].as_array().unwrap().clone(), page["@odata.deltaLink"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn delta_tells_every_stage_and_loses_none() {
    let (stage, clock) = stage().await;
    let (_, link) = since(&stage, "users/delta?$deltatoken=latest&$select=accountEnabled").await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let (rows, link) = since(&stage, &link).await;
    assert_eq!(rows, [] as [Value; 0]);
    clock.advance(Duration::from_secs(6));
    let (rows, link) = since(&stage, &link).await;
    assert_eq!(rows, [json!({"id": ada})]);
    clock.advance(Duration::from_secs(10));
    let (rows, _) = since(&stage, &link).await;
    assert_eq!(rows, [json!({"id": ada, "accountEnabled": true})]);
}

#[tokio::test]
async fn a_change_ends_the_stages() {
    let (stage, clock) = stage().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    clock.advance(Duration::from_secs(1));
    stage.tenant.patch_user(ada, json!({"accountEnabled": false})).unwrap();
    let path = format!("users/{ada}?$select=accountEnabled");
    assert_eq!(stage.get(&path).await.1["accountEnabled"], false);
    clock.advance(Duration::from_secs(60));
    assert_eq!(stage.get(&path).await.1["accountEnabled"], false);
}

#[tokio::test]
async fn kinds_of_read_lag_by_themselves_and_delta_may_be_ahead() {
    let clock = SimClock::real();
    clock.set_scale(0.0);
    let stage = Stage::at(clock.clone()).await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let staff = stage.tenant.create_group(NewGroup::named("Staff"));
    let (_, link) = since(&stage, "users/delta?$deltatoken=latest&$select=accountEnabled").await;
    clock.advance(Duration::from_secs(60));
    stage.tenant.patch_user(ada, json!({"accountEnabled": false})).unwrap();
    stage.tenant.add_member(staff, ada).unwrap();
    stage.sim.set_fault(Fault { lag_ms: Some(10_000), ..Fault::on("GET /users/{id}") });
    stage.sim.set_fault(Fault { lag_ms: Some(20_000), ..Fault::on("GET /groups/{id}/members") });

    let by_id = format!("users/{ada}?$select=accountEnabled");
    let members = format!("groups/{staff}/members");
    assert_eq!(since(&stage, &link).await.0, [json!({"id": ada, "accountEnabled": false})], "delta is ahead");
    assert_eq!(stage.get(&by_id).await.1["accountEnabled"], true);
    clock.advance(Duration::from_secs(11));
    assert_eq!(stage.get(&by_id).await.1["accountEnabled"], false);
    assert_eq!(stage.get(&members).await.1["value"], json!([]));
    assert_eq!(stage.all(&format!("users/{ada}/memberOf")).await.0.len(), 1, "another kind of read");
    clock.advance(Duration::from_secs(10));
    assert_eq!(stage.all(&members).await.0.len(), 1);
}

#[tokio::test]
async fn with_a_random_lag_two_reads_disagree() {
    let clock = SimClock::real();
    clock.set_scale(0.0);
    let stage = Stage::at(clock.clone()).await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    clock.advance(Duration::from_secs(60));
    stage.tenant.patch_user(ada, json!({"accountEnabled": false})).unwrap();
    clock.advance(Duration::from_secs(10));
    stage.sim.set_fault(Fault { lag_ms: Some(20_000), lag_random: true, ..Fault::on("users/{id}") });
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        seen.insert(stage.get(&format!("users/{ada}?$select=accountEnabled")).await.1["accountEnabled"].as_bool());
    }
    assert_eq!(seen.len(), 2);
}

/// G-12: a change may come late in a delta, never not at all.
#[tokio::test]
async fn a_lagging_delta_tells_a_change_late_but_never_as_it_was_before() {
    let clock = SimClock::real();
    clock.set_scale(0.0);
    let stage = Stage::at(clock.clone()).await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let (_, link) = since(&stage, "users/delta?$deltatoken=latest&$select=accountEnabled").await;
    clock.advance(Duration::from_secs(60));
    stage.tenant.patch_user(ada, json!({"accountEnabled": false})).unwrap();
    stage.sim.change_settings(|settings| settings.delta_page = 1);
    stage.sim.set_fault(Fault { lag_ms: Some(20_000), lag_random: true, ..Fault::on("users/delta") });

    let (mut link, mut told) = (link, Vec::new());
    for _ in 0..60 {
        clock.advance(Duration::from_secs(1));
        let (rows, next) = since(&stage, &link).await;
        told.extend(rows);
        link = next;
    }
    assert_eq!(told, [json!({"id": ada, "accountEnabled": false})]);
}
