//! `$batch` (graph-contract.md, section 7).

use lockstep_simulator::{Fault, NewUser};
use serde_json::{Value, json};

use crate::stage::Stage;

fn by_id(answer: &Value, id: &str) -> Value {
    let responses = answer["responses"].as_array().unwrap();
    responses.iter().find(|response| response["id"] == id).unwrap().clone()
}

#[tokio::test]
async fn each_request_has_its_own_status_and_units() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let nobody = uuid::Uuid::new_v4();
    stage.sim.reset_counters();
    let (status, answer) = stage
        .post(
            "$batch",
            json!({"requests": [
                {"id": "1", "method": "GET", "url": format!("/users/{ada}?$select=id,accountEnabled")},
                {"id": "2", "method": "GET", "url": format!("/users/{nobody}?$select=id")},
                {"id": "3", "method": "POST", "url": format!("/users/{ada}/getMemberGroups"),
                 "headers": {"Content-Type": "application/json"}, "body": {"securityEnabledOnly": true}},
                {"id": "4", "method": "GET", "url": format!("/users?$filter=id in ('{ada}')&$select=id")},
                {"id": "5", "method": "GET", "url": "/nonsense"},
            ]}),
        )
        .await;
    assert_eq!(status, 200);
    assert_eq!(by_id(&answer, "1")["body"]["accountEnabled"], true);
    assert_eq!(by_id(&answer, "1")["headers"]["x-ms-resource-unit"], "1");
    assert_eq!(by_id(&answer, "2")["body"]["error"]["code"], "Request_ResourceNotFound");
    assert_eq!(by_id(&answer, "3")["status"], 200);
    assert_eq!(by_id(&answer, "4")["body"]["value"][0]["id"], json!(ada));
    assert_eq!(by_id(&answer, "5")["status"], 400);

    let counters = stage.sim.counters();
    assert_eq!((counters.total_requests, counters.total_inner, counters.total_units), (1, 5, 5));
    assert_eq!(counters.requests["POST /$batch"], 1);
    assert_eq!(counters.inner["GET /users/{id}"], 2);
}

#[tokio::test]
async fn one_may_be_throttled_while_the_batch_is_fine() {
    let stage = Stage::set().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    stage.sim.set_fault(Fault { status: Some(429), retry_after: Some(7), ..Fault::on("users/{id}") });
    let requests = json!({"requests": [
        {"id": "1", "method": "GET", "url": format!("/users/{ada}")},
        {"id": "2", "method": "GET", "url": "/organization"},
        {"id": "3", "method": "GET", "url": "/organization", "dependsOn": ["1"]},
    ]});
    let (status, answer) = stage.post("$batch", requests).await;
    assert_eq!(status, 200);
    let throttled = by_id(&answer, "1");
    assert_eq!((&throttled["status"], &throttled["headers"]["Retry-After"]), (&json!(429), &json!("7")));
    assert_eq!(by_id(&answer, "2")["status"], 200);
    assert_eq!(by_id(&answer, "3")["status"], 424);
}

#[tokio::test]
async fn more_than_twenty_or_the_same_id_twice_is_malformed() {
    let stage = Stage::set().await;
    let request = |id: usize| json!({"id": id.to_string(), "method": "GET", "url": "/organization"});
    let many: Vec<_> = (0..21).map(request).collect();
    assert_eq!(stage.post("$batch", json!({"requests": many})).await.0, 400);
    assert_eq!(stage.post("$batch", json!({"requests": [request(1), request(1)]})).await.0, 400);
    assert_eq!(stage.post("$batch", json!({"requests": &many[..20]})).await.0, 200);
}
