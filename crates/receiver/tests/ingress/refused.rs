//! What is refused as a whole: status, fixed text, nothing repeated, and nothing kept.

use lockstep_receiver::Limits;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::World;

/// Refused with this status and code, counted, without a word of the request.
async fn assert_refused(world: &World, answer: Response, status: StatusCode, code: &str) {
    assert_eq!(answer.status(), status, "{code}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], code);
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["request_id"].as_str().unwrap().parse::<Uuid>().is_ok());
    let fields: Vec<_> = problem.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields.len(), 5, "only fixed text: {fields:?}");
    assert!(world.counters.rejected(code) > 0, "{code} is counted");
    assert_eq!(world.queue.depth().await.unwrap().messages, 0);
}

#[tokio::test]
async fn bi_05_unknown_paths_and_path_tokens_are_404() {
    let world = World::start().await;
    let token = &world.tenant.path_token;
    let other_case: String =
        token.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect();
    for path in [
        "/".to_owned(),
        "/graph".to_owned(),
        format!("/graph/{}/notifications", "A".repeat(43)),
        format!("/graph/{other_case}/notifications"),
        format!("/graph/{token}"),
        format!("/graph/{token}/"),
        format!("/graph/{token}/other"),
        format!("/graph/{token}/notifications/"),
        format!("/graph/{token}/notifications/more"),
        format!("/Graph/{token}/notifications"),
        "/graph//notifications".to_owned(),
        format!("/graph/{}/notifications", "A".repeat(5_000)),
    ] {
        let body = json!({ "value": [world.tenant.user_changed(Uuid::new_v4())] });
        let answer = world.http.post(format!("http://{}{path}", world.addr())).json(&body).send().await.unwrap();
        assert_refused(&world, answer, StatusCode::NOT_FOUND, "unknown_path").await;
    }
}

#[tokio::test]
async fn bi_06_other_methods_are_405_and_told_what_is_allowed() {
    let world = World::start().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let answer = world.http.request(method, world.url()).send().await.unwrap();
        assert_eq!(answer.headers()["allow"], "POST");
        assert_refused(&world, answer, StatusCode::METHOD_NOT_ALLOWED, "wrong_method").await;
    }
    let unknown = format!("http://{}/graph/{}/notifications", world.addr(), "A".repeat(43));
    assert_eq!(world.http.get(unknown).send().await.unwrap().status(), StatusCode::NOT_FOUND, "path token first");
}

#[tokio::test]
async fn bi_07_only_plain_json_is_taken() {
    let world = World::start().await;
    let body = json!({ "value": [world.tenant.user_changed(Uuid::new_v4())] }).to_string();
    for content_type in [
        None,
        Some("text/plain"),
        Some("application/xml"),
        Some("text/json"),
        Some("application/jsonx"),
        Some("\u{e9}"),
    ] {
        let mut request = world.http.post(world.url()).body(body.clone());
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        assert_refused(&world, request.send().await.unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json").await;
    }
    for encoding in ["gzip", "identity", "br"] {
        let request = world.http.post(world.url()).header("content-type", "application/json");
        let answer = request.header("content-encoding", encoding).body(body.clone()).send().await.unwrap();
        assert_refused(&world, answer, StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding").await;
    }
    let request = world.http.post(world.url()).header("content-type", "Application/JSON; charset=utf-8");
    assert_eq!(request.body(body).send().await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn bi_12_what_is_not_json_is_400() {
    let world = World::start().await;
    let good = json!({ "value": [world.tenant.user_changed(Uuid::new_v4())] }).to_string();
    let bad_utf8 =
        |at: &str| good.replace("Users/", at).into_bytes().iter().map(|b| if *b == b'~' { 0xff } else { *b }).collect();
    let bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"   ".to_vec(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        good.as_bytes()[..good.len() / 2].to_vec(),
        b"hello".to_vec(),
        b"null".to_vec(),
        b"7".to_vec(),
        format!("{good}x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("{good}\0").into_bytes(),
        format!("\u{feff}{good}").into_bytes(),
        bad_utf8("~"),
        good.replace('"', "'").into_bytes(),
    ];
    for body in bodies {
        let answer = world.post_body(body).await;
        assert_refused(&world, answer, StatusCode::BAD_REQUEST, "malformed").await;
    }
}

#[tokio::test]
async fn bi_13_th_06_deep_nesting_doubled_keys_and_a_missing_list_are_400() {
    let world = World::start().await;
    let item = world.tenant.user_changed(Uuid::new_v4()).to_string();
    let with_key_again = |key: &str| format!("{{\"value\":[{},\"{key}\":\"x\"}}]}}", item.strip_suffix('}').unwrap());
    let inner_again = item.replace("\"@odata.type\"", "\"id\":\"x\",\"@odata.type\"");
    let deep = |levels: usize| format!("{{\"value\":[],\"x\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
    for body in [
        deep(128),
        deep(100_000),
        format!("{{\"value\":[{item}],\"value\":[]}}"),
        with_key_again("clientState"),
        with_key_again("subscriptionId"),
        with_key_again("tenantId"),
        with_key_again("resourceData"),
        format!("{{\"value\":[{inner_again}]}}"),
        "{}".to_owned(),
        "{\"value\":null}".to_owned(),
        "{\"value\":{}}".to_owned(),
        format!("{{\"value\":{item}}}"),
        format!("[[{item}]]"),
        format!("{{\"Value\":[{item}]}}"),
    ] {
        let answer = world.post_body(body).await;
        assert_refused(&world, answer, StatusCode::BAD_REQUEST, "malformed").await;
    }
    assert_eq!(world.post_body(deep(127)).await.status(), StatusCode::ACCEPTED);
    let unknown_twice = format!("{{\"value\":[{}, \"new\":1, \"new\":2}}]}}", item.strip_suffix('}').unwrap());
    assert_eq!(world.post_body(unknown_twice).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn bi_14_more_than_a_thousand_items_are_413() {
    let world = World::start().await;
    let answer = world.post(&vec![json!({}); 1_001]).await;
    assert_refused(&world, answer, StatusCode::PAYLOAD_TOO_LARGE, "too_many_items").await;
    let a_million = format!("{{\"value\":[0{}]}}", ",0".repeat(500_000));
    assert_refused(&world, world.post_body(a_million).await, StatusCode::PAYLOAD_TOO_LARGE, "too_many_items").await;
}

#[tokio::test]
async fn bi_15_an_empty_list_is_202_and_counted() {
    let world = World::start().await;
    assert_eq!(world.post(&[]).await.status(), StatusCode::ACCEPTED);
    assert_eq!(world.counters.rejected("no_items"), 1);
}

#[tokio::test]
async fn bi_26_th_04_above_the_rate_of_its_path_token_a_post_is_429_and_other_tenants_are_not() {
    let world = World::with(Limits { posts_per_second: 2, ..Limits::default() }).await;
    let item = || world.tenant.user_changed(Uuid::new_v4());
    assert_eq!(world.post(&[item()]).await.status(), StatusCode::ACCEPTED);
    assert_eq!(world.post(&[item()]).await.status(), StatusCode::ACCEPTED);
    let answer = world.post(&[item()]).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(world.counters.rejected("rate_limited"), 1);

    let other = world.connect_tenant("other").await;
    let body = json!({ "value": [other.user_changed(Uuid::new_v4())] });
    assert_eq!(world.http.post(world.url_of(&other)).json(&body).send().await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn th_04_an_address_that_is_often_refused_is_told_to_wait_but_what_is_genuine_still_passes() {
    let world = World::with(Limits { rejections_per_second: 3, ..Limits::default() }).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(world.post_body("{}").await.status().as_u16());
    }
    assert_eq!(statuses, [400, 400, 400, 429, 429]);
    assert_eq!(world.counters.rejected("malformed"), 5);
    assert_eq!(world.post(&[world.tenant.user_changed(Uuid::new_v4())]).await.status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn health_is_answered_and_says_nothing_else() {
    let world = World::start().await;
    let answer = world.http.get(format!("http://{}/healthz", world.addr())).send().await.unwrap();
    assert_eq!((answer.status(), answer.text().await.unwrap()), (StatusCode::OK, "ok".to_owned()));
    assert_eq!(world.http.post(format!("http://{}/healthz", world.addr())).send().await.unwrap().status(), 404);
}
