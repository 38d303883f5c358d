//! Throttling by resource units (graph-contract.md, section 8).

use std::time::Duration;

use lockstep_simulator::{NewGroup, SimClock};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::Stage;

/// A stage on a still clock with limits in force, and a group to read at 5 units.
async fn stage() -> (Stage, Uuid) {
    let clock = SimClock::real();
    clock.set_scale(0.0);
    let stage = Stage::at(clock).await;
    let group = stage.tenant.create_group(NewGroup::named("Staff"));
    stage.sim.change_settings(|settings| settings.enforce_limits = true);
    (stage, group)
}

/// Twenty reads of 5 units each, and what each was answered.
async fn hundred_units(stage: &Stage, group: Uuid) -> Vec<Value> {
    let url = format!("/groups/{group}/transitiveMembers");
    let requests: Vec<Value> =
        (0..20).map(|id| json!({"id": id.to_string(), "method": "GET", "url": url.clone()})).collect();
    let (status, answer) = stage.post("$batch", json!({"requests": requests})).await;
    assert_eq!(status, 200, "the batch itself is answered");
    answer["responses"].as_array().unwrap().clone()
}

#[tokio::test]
async fn over_3500_units_in_ten_seconds_each_request_of_a_batch_is_told_to_wait() {
    let (stage, group) = stage().await;
    for _ in 0..35 {
        assert!(hundred_units(&stage, group).await.iter().all(|answer| answer["status"] == 200));
    }
    let throttled = hundred_units(&stage, group).await;
    assert!(throttled.iter().all(|answer| answer["status"] == 429));
    let headers = &throttled[0]["headers"];
    let scope = format!("Tenant_Application/ReadWrite/{}/{}", stage.tenant.client_id(), stage.tenant.id());
    assert_eq!(headers["x-ms-throttle-scope"], json!(scope));
    assert_eq!(headers["x-ms-throttle-information"], "ResourceUnitLimitExceeded");
    assert!(headers["Retry-After"].as_str().unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(throttled[0]["body"]["error"]["code"], "TooManyRequests");
}

#[tokio::test]
async fn who_waits_as_told_is_let_in_and_who_does_not_stays_out() {
    let (stage, group) = stage().await;
    for _ in 0..40 {
        hundred_units(&stage, group).await;
    }
    let get = async || {
        let url = format!("{}/v1.0/organization", stage.sim.url());
        let answer = stage.http.get(url).bearer_auth(&stage.token).send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), header("Retry-After"), header("x-ms-throttle-limit-percentage"))
    };
    let (status, wait, used) = get().await;
    assert_eq!((status, used.as_deref()), (429, Some("1.1")));
    let wait = Duration::from_secs(wait.unwrap().parse().unwrap());

    for _ in 0..10 {
        hundred_units(&stage, group).await;
    }
    stage.sim.clock().advance(wait);
    assert_eq!(get().await.0, 429, "what was asked during the pause counts");
    stage.sim.clock().advance(Duration::from_secs(10));
    assert_eq!(get().await.0, 200);
}

#[tokio::test]
async fn units_are_no_limit_unless_asked_for() {
    let (stage, group) = stage().await;
    stage.sim.change_settings(|settings| settings.enforce_limits = false);
    for _ in 0..40 {
        assert!(hundred_units(&stage, group).await.iter().all(|answer| answer["status"] == 200));
    }
    assert_eq!(stage.sim.counters().total_units, 4_000);
}
