//! The handshake: echoed only while we asked for it.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::world::{Tenant, World};

async fn knock(world: &World, tenant: &Tenant, query: &str) -> Response {
    let url = format!("{}?{query}", world.url_of(tenant));
    world.http.post(url).header("content-type", "text/plain; charset=utf-8").send().await.unwrap()
}

#[tokio::test]
async fn bi_02_a_pending_create_gets_its_token_back_decoded() {
    let world = World::start().await;
    world.intend().await;

    let answer = knock(&world, &world.tenant, "validationToken=Validation%3a+Testing+client%2b%C3%A9").await;

    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers()["content-security-policy"], "default-src 'none'");
    assert_eq!(answer.text().await.unwrap(), "Validation: Testing client+é");
}

#[tokio::test]
async fn bi_02_a_pending_renewal_gets_its_token_back_on_both_paths() {
    let world = World::start().await;
    world.store.begin_renewal(world.tenant.subscription.id).await.unwrap();
    for path in ["notifications", "lifecycle"] {
        let url = format!("{}?validationToken=abc", world.url().replace("notifications", path));
        let answer = world.http.post(url).send().await.unwrap();
        assert_eq!((answer.status(), answer.text().await.unwrap()), (StatusCode::OK, "abc".to_owned()));
    }
}

#[tokio::test]
async fn bi_03_th_07_nothing_is_echoed_when_nothing_is_pending() {
    let world = World::start().await;
    let answer = knock(&world, &world.tenant, "validationToken=abc").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "no_handshake_pending");
    assert_eq!(world.counters.rejected("no_handshake_pending"), 1);
}

#[tokio::test]
async fn th_07_an_intent_of_ten_minutes_ago_and_another_tenant_s_intent_open_nothing() {
    let world = World::start().await;
    world.intend().await;
    let other = world.connect_tenant("other").await;
    assert_eq!(knock(&world, &other, "validationToken=abc").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(knock(&world, &world.tenant, "validationToken=abc").await.status(), StatusCode::OK);

    world.let_pass(Duration::from_secs(10 * 60));
    assert_eq!(knock(&world, &world.tenant, "validationToken=abc").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bi_04_a_token_that_is_not_plain_text_is_refused_without_repeating_it() {
    let world = World::start().await;
    world.intend().await;
    let long = format!("validationToken={}", "a".repeat(2_049));
    for query in [
        "validationToken=",
        "validationToken=a&validationToken=b",
        "validationToken=%3Cscript%3Ealert(1)%3C/script%3E",
        "validationToken=a%0d%0aSet-Cookie:b",
        "validationToken=%00",
        "validationToken=%ff%fe",
        &long,
    ] {
        let counted = world.counters.rejected("bad_validation_token");
        let answer = knock(&world, &world.tenant, query).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query:.40}");
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(answer.text().await.unwrap(), "The validation token cannot be used.");
        assert_eq!(world.counters.rejected("bad_validation_token"), counted + 1);
    }
}

#[tokio::test]
async fn th_07_a_handshake_at_an_unknown_path_is_no_oracle_for_pending_creates() {
    let world = World::start().await;
    world.intend().await;
    let unknown = format!("http://{}/graph/{}/notifications", world.addr(), "A".repeat(43));
    let answer = world.http.post(format!("{unknown}?validationToken={}", Uuid::new_v4())).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}
