//! TH-01, TH-03, G-07: what somebody else can make Lockstep do by posting to it.

use lockstep_testkit::World;
use lockstep_tests::{Company, assert_in};
use secrecy::ExposeSecret;
use serde_json::json;

/// A notification with a guessed clientState is answered like a good one, and causes nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_notification_is_answered_alike_and_causes_nothing() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let subscription = world.tenant.subscriptions().into_iter().next().expect("there are subscriptions");
    let before = world.simulator.counters().total_requests;
    let events = world.store.ledger(world.connection.id).await.expect("the store answers").total();

    let body = json!({"value": [{
        "subscriptionId": subscription,
        "clientState": "guessed",
        "changeType": "deleted",
        "tenantId": world.tenant.id(),
        "resource": format!("Users/{ada}"),
        "resourceData": {"@odata.type": "#Microsoft.Graph.User", "id": ada, "accountEnabled": false},
    }]});
    let token = world.store.path_token(&world.connection).await.expect("the store answers");
    let url = format!("{}graph/{}/notifications", world.receiver_url(), token.expose_secret());
    let answer = post(&url, &body).await;
    world.settle().await;

    assert_eq!(answer, (202, String::new()), "no oracle");
    assert_eq!(world.simulator.counters().total_requests, before, "nothing was read");
    assert_eq!(world.store.ledger(world.connection.id).await.expect("the store answers").total(), events);
    assert_in(world.record(ada).await.as_ref(), "Technician");
    world.stop().await;
}

#[expect(clippy::disallowed_methods, reason = "this client is the attacker's, not ours")]
async fn post(url: &str, body: &serde_json::Value) -> (u16, String) {
    let answer = reqwest::Client::new().post(url).json(body).send().await.expect("the receiver answers");
    (answer.status().as_u16(), answer.text().await.expect("the body is read"))
}
