//! The control API: what a person with `curl` can do.

use serde_json::{Value, json};

use crate::stage::Stage;

async fn sim(stage: &Stage, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let request = stage.http.request(method.parse().unwrap(), format!("{}/sim{path}", stage.sim.url()));
    // No content type, as with a bare `curl -d`.
    let request = match body {
        Some(body) => request.body(body.to_string()),
        None => request,
    };
    stage.send(request).await
}

#[tokio::test]
async fn a_person_is_hired_moved_and_leaves_by_names_alone() {
    let stage = Stage::set().await;
    let (status, ada) =
        sim(&stage, "POST", "/users", Some(json!({"displayName": "Ada Lovelace", "department": "Sales"}))).await;
    assert_eq!((status, ada["userPrincipalName"].as_str()), (201, Some("ada.lovelace@contoso.example")));
    let (status, staff) = sim(&stage, "POST", "/groups", Some(json!({"displayName": "Staff"}))).await;
    assert_eq!(status, 201);
    let upn = "ada.lovelace@contoso.example";
    assert_eq!(sim(&stage, "PUT", &format!("/groups/Staff/members/{upn}"), None).await.0, 204);
    let (_, changed) = sim(&stage, "PATCH", &format!("/users/{upn}"), Some(json!({"accountEnabled": false}))).await;
    assert_eq!(changed["accountEnabled"], false);

    let (_, truth) = sim(&stage, "GET", "/truth", None).await;
    let expected = json!([{
        "id": ada["id"], "user_principal_name": upn, "enabled": false, "deleted": false, "user_type": "Member",
        "groups": [staff["id"]], "direct_groups": [staff["id"]],
    }]);
    assert_eq!(truth, expected);

    assert_eq!(sim(&stage, "DELETE", &format!("/users/{upn}"), None).await.0, 204);
    assert_eq!(sim(&stage, "POST", &format!("/users/{upn}/restore"), None).await.1["userPrincipalName"], upn);
    assert_eq!(sim(&stage, "DELETE", "/groups/Staff?hard=true", None).await.0, 204);
    assert_eq!(sim(&stage, "GET", "/groups", None).await.1, json!([]));
    assert_eq!(sim(&stage, "GET", "/truth", None).await.1[0]["groups"], json!([]));
}

#[tokio::test]
async fn mistakes_are_named() {
    let stage = Stage::set().await;
    let cases = [
        ("PATCH", "/users/nobody@contoso.example", Some(json!({"mail": null})), 404),
        ("POST", "/users", Some(json!({"dispalyName": "Ada"})), 400),
        ("POST", "/users", Some(json!([1])), 400),
        ("PUT", "/groups/None/members/nobody", None, 404),
        ("POST", "/faults", Some(json!({"route": "token", "probability": 2.0})), 400),
        ("POST", "/faults", Some(json!({"rout": "token"})), 400),
        ("POST", "/faults", Some(json!({"route": "userz/{id}"})), 400),
        ("POST", "/faults", Some(json!({"route": "users", "twist": "sideways"})), 400),
        ("POST", "/faults", Some(json!({"route": "users", "share": 1.5})), 400),
        ("POST", "/settings", Some(json!({"delivery_profile": "1999"})), 400),
        ("POST", "/settings", Some(json!({"latency": 5})), 400),
        ("DELETE", "/subscriptions/3a9b6c1d-5e2f-4a7b-8c9d-0e1f2a3b4c01", None, 404),
        ("GET", "/users?tenant=unknown.example", None, 404),
    ];
    for (method, path, body, expected) in cases {
        let (status, answer) = sim(&stage, method, path, body).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
        assert!(answer["error"].is_string(), "{method} {path}: {answer}");
    }
    sim(&stage, "POST", "/users", Some(json!({"userPrincipalName": "ada@contoso.example"}))).await;
    let (status, taken) =
        sim(&stage, "POST", "/users", Some(json!({"userPrincipalName": "ada@contoso.example"}))).await;
    assert_eq!(status, 400, "{taken}");
}

#[tokio::test]
async fn a_large_tenant_is_made_in_a_moment_and_emptied_again() {
    let stage = Stage::set().await;
    let body = json!({"users": 10_000, "in_groups": 500, "groups": ["Staff", "Contractors"]});
    let (status, seeded) = sim(&stage, "POST", "/seed", Some(body)).await;
    assert_eq!((status, &seeded["users"]), (201, &json!(10_000)));
    let staff = seeded["groups"][0]["id"].as_str().unwrap();
    stage.sim.reset_counters();
    let (members, pages) = stage.all(&format!("groups/{staff}/transitiveMembers?$select=id&$top=999")).await;
    assert_eq!((members.len(), pages), (250, 1));
    let (_, counters) = sim(&stage, "GET", "/counters", None).await;
    assert_eq!(counters["requests"], json!({"GET /groups/{id}/transitiveMembers": 1}));
    assert_eq!(counters["total_units"], 4);

    assert_eq!(sim(&stage, "POST", "/reset", None).await.0, 204);
    assert_eq!(sim(&stage, "GET", "/users", None).await.1, json!([]));
    assert_eq!(sim(&stage, "GET", "/counters", None).await.1["total_requests"], 0);
}

#[tokio::test]
async fn the_clock_is_moved_and_sped_up() {
    let stage = Stage::set().await;
    let before = stage.sim.clock().now_micros();
    let (_, clock) = sim(&stage, "POST", "/clock", Some(json!({"advance_seconds": 86400, "scale": 60.0}))).await;
    assert!(clock["now"].is_string());
    assert!(stage.sim.clock().now_micros() >= before + 86_400_000_000);
    assert_eq!(stage.sim.clock().scale(), 60.0);
}

#[tokio::test]
async fn a_second_tenant_has_its_own_people_and_app() {
    let stage = Stage::set().await;
    let (_, other) = sim(&stage, "POST", "/tenants", Some(json!({"domain": "fabrikam.example"}))).await;
    let path = format!("/users?tenant={}", other["tenant_id"].as_str().unwrap());
    let (_, person) = sim(&stage, "POST", &path, Some(json!({"displayName": "Ada Lovelace"}))).await;
    assert_eq!(person["userPrincipalName"], "ada.lovelace@fabrikam.example");
    assert_eq!(sim(&stage, "GET", "/users", None).await.1, json!([]));
    let (_, default) = sim(&stage, "GET", "", None).await;
    assert_eq!(default["client_secret"], json!(stage.tenant.client_secret()));
    assert_ne!(default["client_id"], other["client_id"]);
}

#[tokio::test]
async fn faults_are_set_and_cleared() {
    let stage = Stage::set().await;
    let (status, _) = sim(&stage, "POST", "/faults", Some(json!({"route": "organization", "status": 504}))).await;
    assert_eq!(status, 201);
    assert_eq!(stage.get("organization").await.0, 504);
    assert_eq!(sim(&stage, "DELETE", "/faults", None).await.0, 204);
    assert_eq!(stage.get("organization").await.0, 200);
}

#[tokio::test]
async fn settings_are_changed_one_by_one_and_shown() {
    let stage = Stage::set().await;
    let change = json!({"delivery_profile": "2025", "staged_creation_ms": {"skeleton": 500}});
    assert_eq!(sim(&stage, "POST", "/settings", Some(change)).await.0, 204);
    assert_eq!(sim(&stage, "POST", "/settings", Some(json!({"delta_page": 7}))).await.0, 204);
    let (_, settings) = sim(&stage, "GET", "/settings", None).await;
    assert_eq!((&settings["delivery_profile"], &settings["delta_page"]), (&json!("2025"), &json!(7)));
    assert_eq!(settings["staged_creation_ms"], json!({"absent": 0, "skeleton": 500}));
    assert_eq!(settings["notifications"], true);
}
