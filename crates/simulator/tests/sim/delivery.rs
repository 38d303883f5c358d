//! Notifications (graph-contract.md, sections 2 and 3).

use std::time::Duration;

use lockstep_simulator::{DeliveryProfile, Fault, LifecycleEvent, NewGroup, NewUser, RemovedForm, SimClock};
use serde_json::json;

use crate::stage::{Receiver, Stage, until};

#[tokio::test]
async fn every_kind_of_change_is_notified_and_only_a_purge_is_deleted() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let users = stage.subscribe("users", &receiver).await;
    let groups = stage.subscribe("groups", &receiver).await;
    let tenant = &stage.tenant;

    let ada = tenant.create_user(NewUser::named("Ada Lovelace"));
    stage.sim.deliveries_idle().await;
    let staff = tenant.create_group(NewGroup::named("Staff"));
    stage.sim.deliveries_idle().await;
    tenant.add_member(staff, ada).unwrap();
    stage.sim.deliveries_idle().await;
    tenant.remove_member(staff, ada).unwrap();
    stage.sim.deliveries_idle().await;
    tenant.delete_user(ada, false).unwrap();
    stage.sim.deliveries_idle().await;
    tenant.delete_user(ada, true).unwrap();
    stage.sim.deliveries_idle().await;

    let items = receiver.items();
    let told: Vec<_> = items.iter().map(|item| (item["resource"].clone(), item["changeType"].clone())).collect();
    let (user, group) = (json!(format!("Users/{ada}")), json!(format!("Groups/{staff}")));
    let expected = [
        (user.clone(), json!("updated")),
        (group.clone(), json!("updated")),
        (group.clone(), json!("updated")),
        (group, json!("updated")),
        (user.clone(), json!("updated")),
        (user, json!("deleted")),
    ];
    assert_eq!(told, expected);
    assert_eq!(items[2]["resourceData"]["members@delta"], json!([{"id": ada}]));
    assert_eq!(items[3]["resourceData"]["members@delta"], json!([{"id": ada, "@removed": "deleted"}]));
    assert_eq!(items[0]["subscriptionId"], users["id"]);
    assert_eq!(items[1]["subscriptionId"], groups["id"]);
    assert_eq!(items[0]["clientState"], "the-client-state");
    assert_eq!(items[0]["tenantId"], json!(tenant.id()));
    assert!(items[0]["subscriptionExpirationDateTime"].as_str().unwrap().ends_with("+00:00"));
    assert_eq!(items[0].get("id"), None);
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_not_told() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let staff = stage.tenant.create_group(NewGroup::named("Staff"));
    stage.tenant.add_member(staff, ada).unwrap();
    stage.subscribe("users", &receiver).await;
    stage.subscribe("groups", &receiver).await;
    stage.tenant.patch_user(ada, json!({"displayName": "Ada Lovelace"})).unwrap();
    stage.tenant.add_member(staff, ada).unwrap();
    stage.sim.deliveries_idle().await;
    assert!(receiver.posts().is_empty());
}

#[tokio::test]
async fn a_refused_post_is_retried_until_it_is_taken() {
    let clock = SimClock::real();
    clock.set_scale(200.0);
    let stage = Stage::at(clock).await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    receiver.answer_next(&[503, 404, 500]);
    stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    stage.sim.deliveries_idle().await;

    let posts = receiver.posts();
    assert_eq!(posts.len(), 4);
    assert!(posts.iter().all(|post| post == &posts[0]));
    let counted = stage.sim.counters().notifications;
    assert_eq!((counted.posts, counted.failed_posts, counted.delivered), (4, 3, 1));
}

#[tokio::test]
async fn after_four_hours_a_post_is_given_up() {
    let clock = SimClock::real();
    let stage = Stage::at(clock.clone()).await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    receiver.answer_next(&[503; 100]);
    stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    until("first attempt", || !receiver.posts().is_empty()).await;
    clock.advance(Duration::from_secs(5 * 3600));
    until("given up", || stage.sim.counters().notifications.expired == 1).await;
    assert!(receiver.posts().len() <= 3);
}

#[tokio::test]
async fn a_burst_shares_posts_and_never_holds_up_who_makes_it() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    for number in 0..4_000 {
        stage
            .tenant
            .create_user(NewUser { user_principal_name: format!("p{number}"), ..NewUser::named("Some Person") });
    }
    // This runtime has one thread: had any change waited for its delivery, we would not be here.
    assert!(receiver.posts().is_empty());
    stage.sim.deliveries_idle().await;
    assert_eq!(receiver.items().len(), 4_000);
    assert_eq!(receiver.posts().len(), 40, "as many items in a POST as Graph puts there");
}

#[tokio::test]
async fn faults_lose_duplicate_and_delay_notifications() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    stage.sim.set_fault(Fault { drop: true, remaining: Some(1), ..Fault::on("notifications") });
    stage.tenant.create_user(NewUser::named("Lost One"));
    stage.sim.deliveries_idle().await;
    assert!(receiver.posts().is_empty());
    assert_eq!(stage.sim.counters().notifications.dropped, 1);

    stage.sim.set_fault(Fault { duplicate: true, reorder: true, remaining: Some(1), ..Fault::on("notifications") });
    stage.tenant.create_user(NewUser::named("Told Twice"));
    stage.sim.deliveries_idle().await;
    let items = receiver.items();
    assert_eq!(items.len(), 2);
    assert_eq!(items[0], items[1]);
}

#[tokio::test]
async fn removed_can_be_an_object_as_well() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let ada = stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    let staff = stage.tenant.create_group(NewGroup::named("Staff"));
    stage.tenant.add_member(staff, ada).unwrap();
    stage.subscribe(&format!("groups/{staff}"), &receiver).await;
    stage.sim.set_removed_form(RemovedForm::Object);
    stage.tenant.remove_member(staff, ada).unwrap();
    stage.sim.deliveries_idle().await;
    let removed = json!([{"id": ada, "@removed": {"reason": "deleted"}}]);
    assert_eq!(receiver.items()[0]["resourceData"]["members@delta"], removed);
}

#[tokio::test]
async fn tenants_are_told_apart() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    let spec = lockstep_simulator::TenantSpec { domain: "fabrikam.example".to_owned(), ..Default::default() };
    let other = stage.sim.add_tenant(spec);
    let stranger = other.create_user(NewUser::named("Ada Lovelace"));
    stage.sim.deliveries_idle().await;
    assert!(receiver.posts().is_empty());
    assert_eq!(stage.get(&format!("users/{stranger}")).await.0, 404);
}

#[tokio::test]
async fn lifecycle_events_go_to_their_own_url() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    let created = stage.subscribe("users", &receiver).await;
    let id = stage.tenant.subscriptions()[0];
    stage.tenant.send_lifecycle(id, LifecycleEvent::ReauthorizationRequired).unwrap();
    stage.sim.deliveries_idle().await;
    let items = receiver.items();
    assert_eq!(items[0]["lifecycleEvent"], "reauthorizationRequired");
    assert_eq!(items[0]["subscriptionId"], created["id"]);
    assert_eq!(items[0].get("resource"), None);

    stage.tenant.send_lifecycle(id, LifecycleEvent::SubscriptionRemoved).unwrap();
    assert!(stage.tenant.subscriptions().is_empty());
}

#[tokio::test]
async fn a_held_notification_arrives_on_the_simulated_clock() {
    let clock = SimClock::real();
    clock.set_scale(0.0);
    let stage = Stage::at(clock.clone()).await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    stage.sim.set_fault(Fault { hold_seconds: Some(900), remaining: Some(1), ..Fault::on("notifications") });
    let late = stage.tenant.create_user(NewUser::named("Late One"));
    let early = stage.tenant.create_user(NewUser::named("Early One"));
    until("the one that is not held", || receiver.items().len() == 1).await;
    clock.advance(Duration::from_secs(899));
    assert_eq!(receiver.items()[0]["resourceData"]["id"], json!(early));
    clock.advance(Duration::from_secs(1));
    stage.sim.deliveries_idle().await;
    assert_eq!(receiver.items()[1]["resourceData"]["id"], json!(late));
}

#[tokio::test]
async fn random_holds_shuffle_and_a_share_is_lost_or_doubled() {
    let clock = SimClock::real();
    clock.set_scale(0.0);
    let stage = Stage::at(clock.clone()).await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    let fault = || Fault::on("notifications");
    stage.sim.set_fault(Fault { drop: true, probability: 0.3, ..fault() });
    stage.sim.set_fault(Fault { duplicate: true, probability: 0.1, ..fault() });
    stage.sim.set_fault(Fault { hold_seconds: Some(900), hold_random: true, ..fault() });
    let made: Vec<_> = (0..300)
        .map(|number| {
            let named = NewUser { user_principal_name: format!("p{number}"), ..NewUser::named("Some Person") };
            json!(stage.tenant.create_user(named))
        })
        .collect();
    for _ in 0..90 {
        clock.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    stage.sim.deliveries_idle().await;

    let told: Vec<_> = receiver.items().iter().map(|item| item["resourceData"]["id"].clone()).collect();
    let lost = stage.sim.counters().notifications.dropped;
    let doubled = told.len() as u64 + lost - 300;
    assert!((60..=120).contains(&lost), "{lost}");
    assert!((10..=45).contains(&doubled), "{doubled}");
    let places: Vec<_> = told.iter().map(|id| made.iter().position(|known| known == id)).collect();
    assert!(!places.is_sorted(), "they overtook each other");
}

/// FA-22
#[tokio::test]
async fn notifications_can_be_off_while_the_subscription_looks_alive() {
    let stage = Stage::set().await;
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    let request = stage.http.post(format!("{}/sim/settings", stage.sim.url()));
    assert_eq!(stage.send(request.body(json!({"notifications": false}).to_string())).await.0, 204);
    stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    stage.sim.deliveries_idle().await;
    assert!(receiver.posts().is_empty());
    assert_eq!(stage.tenant.subscriptions().len(), 1);
    assert_eq!(stage.sim.counters().notifications.dropped, 1);
}

#[tokio::test]
async fn by_the_rules_of_2023_a_refused_post_comes_again_after_ten_minutes() {
    let clock = SimClock::real();
    clock.set_scale(0.0);
    let stage = Stage::at(clock.clone()).await;
    stage.sim.change_settings(|settings| settings.delivery_profile = DeliveryProfile::Of2023);
    let receiver = Receiver::listen().await;
    stage.subscribe("users", &receiver).await;
    receiver.answer_next(&[503]);
    stage.tenant.create_user(NewUser::named("Ada Lovelace"));
    until("refused once", || stage.sim.counters().notifications.failed_posts == 1).await;
    clock.advance(Duration::from_secs(599));
    tokio::task::yield_now().await;
    assert_eq!(receiver.posts().len(), 1);
    clock.advance(Duration::from_secs(1));
    stage.sim.deliveries_idle().await;
    assert_eq!(receiver.posts().len(), 2);
}
