//! What is not authentic is dropped, counted, and answered exactly like success.

use lockstep_core::hint::Subject;
use reqwest::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{World, user_id, with, without};

/// The item is dropped for this reason, and the genuine one beside it is taken.
async fn assert_dropped(world: &World, item: Value, reason: &str) {
    let counted = world.counters.rejected(reason);
    let genuine = Uuid::new_v4();
    let hints = world.hints_of(&[item.clone(), world.tenant.user_changed(genuine)]).await;
    assert_eq!(hints.iter().map(user_id).collect::<Vec<_>>(), [genuine], "{item:.200}");
    assert_eq!(world.counters.rejected(reason), counted + 1, "{reason}");
}

#[tokio::test]
async fn bi_16_an_unusable_item_is_dropped_and_the_others_are_taken() {
    let world = World::start().await;
    let plain = world.tenant.user_changed(Uuid::new_v4());
    for item in [
        json!(null),
        json!(7),
        json!("text"),
        json!([]),
        json!([[{ "subscriptionId": 1 }]]),
        json!({}),
        without(plain.clone(), "subscriptionId"),
        with(plain.clone(), json!({ "subscriptionId": "x" })),
        with(plain.clone(), json!({ "subscriptionId": 5 })),
        with(plain.clone(), json!({ "subscriptionId": null })),
    ] {
        assert_dropped(&world, item, "unusable_item").await;
    }
}

#[tokio::test]
async fn bi_17_items_of_subscriptions_that_are_unknown_another_s_or_retired_are_dropped() {
    let world = World::start().await;
    let unknown = with(world.tenant.user_changed(Uuid::new_v4()), json!({ "subscriptionId": Uuid::new_v4() }));
    assert_dropped(&world, unknown, "unknown_subscription").await;

    let other = world.connect_tenant("other").await;
    assert_dropped(&world, other.user_changed(Uuid::new_v4()), "unknown_subscription").await;

    let (id, client_state) = world.intend().await;
    let graph_id = Uuid::new_v4();
    let at = world.store.now();
    world.store.activate_subscription(id, graph_id, at, at).await.unwrap();
    world.store.mark_subscription_gone(id).await.unwrap();
    let late = json!({ "subscriptionId": graph_id, "clientState": client_state });
    assert_dropped(&world, with(world.tenant.user_changed(Uuid::new_v4()), late), "retired_subscription").await;
}

#[tokio::test]
async fn bi_18_items_without_the_client_state_are_dropped() {
    let world = World::start().await;
    let right = world.tenant.subscription.client_state.clone();
    let plain = world.tenant.user_changed(Uuid::new_v4());
    assert_dropped(&world, without(plain.clone(), "clientState"), "wrong_client_state").await;
    for wrong in [
        json!("wrong"),
        json!(""),
        json!(right.to_uppercase()),
        json!(format!("{right} ")),
        json!(right[1..]),
        json!(null),
        json!(12),
        json!([right]),
        json!({ "is": right }),
        json!("x".repeat(900_000)),
    ] {
        assert_dropped(&world, with(plain.clone(), json!({ "clientState": wrong })), "wrong_client_state").await;
    }
}

#[tokio::test]
async fn bi_19_items_of_another_tenant_are_dropped() {
    let world = World::start().await;
    let plain = world.tenant.user_changed(Uuid::new_v4());
    assert_dropped(&world, without(plain.clone(), "tenantId"), "wrong_tenant").await;
    for wrong in [json!(Uuid::new_v4()), json!("x"), json!(null)] {
        assert_dropped(&world, with(plain.clone(), json!({ "tenantId": wrong })), "wrong_tenant").await;
    }
}

#[tokio::test]
async fn g_22_one_tenant_s_secrets_open_nothing_at_another_s_path() {
    let world = World::start().await;
    let other = world.connect_tenant("other").await;
    let body = json!({ "value": [world.tenant.user_changed(Uuid::new_v4())] });
    let answer = world.http.post(world.url_of(&other)).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert!(world.messages().await.is_empty());
}

#[tokio::test]
async fn th_01_the_answer_does_not_tell_a_forged_item_from_a_genuine_one() {
    let world = World::start().await;
    let plain = world.tenant.user_changed(Uuid::new_v4());
    let mut answers = Vec::new();
    for item in [
        plain.clone(),
        with(plain.clone(), json!({ "clientState": "guess" })),
        with(plain.clone(), json!({ "subscriptionId": Uuid::new_v4() })),
        with(plain.clone(), json!({ "tenantId": Uuid::new_v4() })),
    ] {
        let answer = world.post(&[item]).await;
        let mut headers: Vec<_> = answer.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        headers.retain(|(name, _)| name != "date");
        answers.push((answer.status(), headers, answer.bytes().await.unwrap()));
    }
    assert_eq!(answers[0].0, StatusCode::ACCEPTED);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(world.messages().await.len(), 1, "and only the genuine one is kept");
}

#[tokio::test]
async fn nothing_authentic_publishes_nothing() {
    let world = World::start().await;
    let forged = with(world.tenant.user_changed(Uuid::new_v4()), json!({ "clientState": "guess" }));
    assert!(world.hints_of(&[forged]).await.is_empty());
    assert_eq!(world.queue.depth().await.unwrap().messages, 0);
}

#[tokio::test]
async fn a_forged_item_does_not_make_the_genuine_one_beside_it_less_understood() {
    let world = World::start().await;
    let unclear = world.tenant.item(json!({}));
    let hints = world.hints_of(&[json!({}), unclear]).await;
    assert_eq!(hints.into_iter().map(|hint| hint.subject).collect::<Vec<_>>(), [Subject::Unclear]);
}
