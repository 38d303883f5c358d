//! Faults on demand and a lagging replica.

use std::time::{Duration, Instant};

use lockstep_simulator::{Fault, NewGroup, NewUser, SimClock};
use serde_json::json;

use crate::stage::{Stage, ids};

#[tokio::test]
async fn a_lagging_replica_shows_the_past_until_it_catches_up() {
    let clock = SimClock::real();
    let stage = Stage::at(clock.clone()).await;
    let tenant = &stage.tenant;
    let ada = tenant.create_user(NewUser::named("Ada Lovelace"));
    let staff = tenant.create_group(NewGroup::named("Staff"));
    tenant.add_member(staff, ada).unwrap();
    clock.advance(Duration::from_secs(60));
    tenant.patch_user(ada, json!({"accountEnabled": false})).unwrap();
    tenant.remove_member(staff, ada).unwrap();
    let newcomer = tenant.create_user(NewUser::named("New Comer"));
    stage.sim.set_fault(Fault { lag_ms: Some(30_000), ..Fault::on("*") });

    let enabled = format!("users/{ada}?$select=accountEnabled");
    let members = format!("groups/{staff}/transitiveMembers?$select=id");
    assert_eq!(stage.get(&enabled).await.1["accountEnabled"], true);
    assert_eq!(ids(&stage.all(&members).await.0), [ada.to_string()]);
    assert_eq!(stage.all(&format!("users/{ada}/transitiveMemberOf")).await.0.len(), 1);
    assert_eq!(stage.get(&format!("users/{newcomer}")).await.0, 404, "not replicated yet");
    assert_eq!(stage.all("users?$select=id").await.0.len(), 1);

    clock.advance(Duration::from_secs(31));
    assert_eq!(stage.get(&enabled).await.1["accountEnabled"], false);
    assert!(stage.all(&members).await.0.is_empty());
    assert_eq!(stage.get(&format!("users/{newcomer}")).await.0, 200);
}

#[tokio::test]
async fn a_throttled_answer_says_how_long_to_wait() {
    let stage = Stage::set().await;
    stage.sim.set_fault(Fault { status: Some(429), retry_after: Some(10), ..Fault::on("GET /organization") });
    let url = format!("{}/v1.0/organization", stage.sim.url());
    let answer = stage.http.get(url).bearer_auth(&stage.token).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["Retry-After"]), (429, &"10".parse().unwrap()));
    let body: serde_json::Value = answer.json().await.unwrap();
    assert_eq!(body["error"]["code"], "TooManyRequests");
    stage.sim.clear_faults();
    assert_eq!(stage.get("organization").await.0, 200);
}

#[tokio::test]
async fn an_outage_speaks_html_and_a_cut_answer_is_no_json() {
    let stage = Stage::set().await;
    stage.sim.set_fault(Fault { status: Some(503), remaining: Some(1), ..Fault::on("*") });
    let (status, body) = stage.get("organization").await;
    assert_eq!(status, 503);
    assert!(body.as_str().unwrap().starts_with("<html>"));

    stage.sim.set_fault(Fault { drop: true, remaining: Some(1), ..Fault::on("organization") });
    let url = format!("{}/v1.0/organization", stage.sim.url());
    let answer = stage.http.get(url).bearer_auth(&stage.token).send().await;
    let read = match answer {
        Ok(answer) => answer.text().await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(read.is_err());
}

#[tokio::test]
async fn latency_and_delay_are_added_to_answers() {
    let stage = Stage::set().await;
    stage.sim.set_latency(Duration::from_millis(40));
    stage.sim.set_fault(Fault { delay_ms: Some(60), ..Fault::on("organization") });
    let begun = Instant::now();
    stage.get("organization").await;
    assert!(begun.elapsed() >= Duration::from_millis(100));
}
