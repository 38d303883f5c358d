//! Each view has exactly the keys that the surface promises.

use std::sync::atomic::Ordering;

use lockstep_core::renewal::SubscriptionStatus;
use lockstep_core::{EventId, ObjectId};
use lockstep_store::view::connection::ConnectionFilter;
use lockstep_store::view::event::{EventFilter, EventStatus, EventSums};
use lockstep_store::view::record::RecordFilter;
use lockstep_store::view::subscription::SubscriptionFilter;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::*;

#[tokio::test]
async fn a_record_is_shown_with_the_keys_of_the_surface() {
    let world = World::open().await;
    let ada = world.with_ada().await;
    let records = world.store.list_records(&RecordFilter::default()).await.expect("a listing");
    let json = seen(
        &records[0],
        "id, connection, realm, kind, status, reasons, role, permissions, email, username, display_name, fields, \
         entra_id, successor, predecessor, root, in_use, verified_at, updated_at",
    );
    assert_eq!(json["id"], json!(ada));
    assert_eq!(json["connection"], "contoso", "its name");
    assert_eq!(json["entra_id"], json!(ADA));
    assert_eq!(json["updated_at"], "2026-01-01T00:00:00.123Z");
    assert_eq!((&json["fields"], &json["root"]), (&json!({ "job_title": "Analyst" }), &json!(false)));
    for absent in ["role", "username", "display_name", "verified_at"] {
        assert_eq!(json[absent], Value::Null, "{absent}");
    }
}

#[tokio::test]
async fn a_record_is_found_by_id_or_address_in_any_case() {
    let world = World::open().await;
    let ada = world.with_ada().await;
    for text in [ada.to_string().as_str(), " ADA@Contoso.example "] {
        let found = world.store.lookup_record_view(text).await.expect("a lookup").expect("Ada");
        assert_eq!(found.id, ada);
    }
    assert!(world.store.lookup_record_view("grace@contoso.example").await.expect("a lookup").is_none());
}

#[tokio::test]
async fn an_event_is_shown_with_the_keys_of_the_surface() {
    let world = World::open().await;
    let id = Uuid::now_v7();
    world.put(INSERT_EVENT, &[id, world.connection.id.0]).await;
    let event = world.store.lookup_event(EventId(id)).await.expect("a lookup").expect("the event");
    let json = seen(
        &event,
        "id, replay_of, connection, kind, object_id, claim, status, attempts, reason, received_at, settled_at",
    );
    assert_eq!((&json["connection"], &json["kind"]), (&json!("contoso"), &json!("catch_up")));
    assert_eq!((&json["status"], &json["attempts"]), (&json!("waiting"), &json!(0)));
    for absent in ["replay_of", "object_id", "claim", "reason", "settled_at"] {
        assert_eq!(json[absent], Value::Null, "{absent}");
    }
}

#[tokio::test]
async fn events_are_found_by_status_and_by_whoever_they_name_and_add_up_g_05() {
    let world = World::open().await;
    let c = world.connection.id.0;
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    world.put(INSERT_EVENT, &[first, c]).await;
    world.put(INSERT_EVENT, &[second, c]).await;
    world.put("UPDATE event SET status = 'failed' WHERE id = $1", &[second]).await;
    world
        .put(
            "INSERT INTO event_object (event_id, connection_id, object_id, outcome) VALUES ($1, $2, $3, NULL)",
            &[first, c, ADA],
        )
        .await;
    let found = async |filter: EventFilter<'static>| {
        let events = world.store.list_events(&filter).await.expect("a listing");
        events.into_iter().map(|event| event.id.0).collect::<Vec<_>>()
    };
    let all = EventFilter::default();
    assert_eq!(found(all).await, [second, first], "newest first");
    assert_eq!(found(EventFilter { status: Some(EventStatus::Failed), ..all }).await, [second]);
    assert_eq!(found(EventFilter { object: Some(ObjectId(ADA)), ..all }).await, [first]);
    assert!(found(EventFilter { connection: Some("fabrikam"), ..all }).await.is_empty());
    let sums = world.store.ledger(world.connection.id).await.expect("the ledger");
    assert_eq!(sums, EventSums { waiting: 1, failed: 1, ..EventSums::default() });
    assert_eq!(sums.total(), 2);
}

#[tokio::test]
async fn a_connection_is_shown_with_its_health_and_the_next_thing_to_do_c5() {
    let world = World::open().await;
    let ada = world.with_ada().await;
    let (c, hold) = (world.connection.id.0, Uuid::now_v7());
    world.put(INSERT_EVENT, &[Uuid::now_v7(), c]).await;
    world.put(INSERT_HOLD, &[hold, c]).await;
    world.put(INSERT_HELD, &[hold, c, ada.0, ADA]).await;
    world.put(INSERT_REVIEW, &[Uuid::now_v7(), c, ADA]).await;
    world.put("UPDATE people_count SET active = 1 WHERE connection_id = $1", &[c]).await;
    let views = world.store.list_connection_views(&ConnectionFilter::default()).await.expect("a listing");
    let json = seen(
        &views[0],
        "name, tenant_id, domain, client_id, credential, state, since, reason, remedy, next_try_at, \
         last_notification_at, last_delta_at, people, waiting, failed, held, reviews, grantable, brake",
    );
    assert_eq!(json["credential"], json!({ "kind": "client_secret", "expires_at": null }));
    assert_eq!(json["people"], json!({ "active": 1, "inactive": 0 }));
    let counts = ["waiting", "failed", "held", "reviews"].map(|count| json[count].as_u64());
    assert_eq!(counts, [Some(1), Some(0), Some(1), Some(1)]);
    let limit = "small connection, lost scope and revoked together: 1 people in 30 minutes";
    let words = format!("2 more would trip it ({limit})");
    let forecast = json!({ "cause": "revoked", "more": 2, "eases_at": null, "limit": limit, "words": words });
    assert_eq!((&json["brake"][0]["cause"], &json["brake"][1]), (&json!("lost_scope"), &forecast));
    for absent in ["next_try_at", "last_notification_at", "last_delta_at"] {
        assert_eq!(json[absent], Value::Null, "{absent}");
    }
    assert_eq!((&json["state"], &json["remedy"]), (&json!("new"), &json!("lockstep connection check contoso")));
}

#[tokio::test]
async fn a_connection_says_step_by_step_what_is_missing_until_people_are_in() {
    let world = World::open().await;
    let c = world.connection.id.0;
    let next = async || {
        let view = world.store.lookup_connection_view("contoso").await.expect("a lookup").expect("the connection");
        (view.reason.unwrap_or_default(), view.remedy.unwrap_or_default())
    };
    world.store.note_connection_ok(world.connection.id).await.expect("a check");
    assert_eq!(next().await.1, "lockstep rule apply contoso rules.toml");
    world.put(INSERT_RULE, &[c, STAFF]).await;
    assert_eq!(next().await.1, "lockstep connection sync contoso");
    world.put("UPDATE connection SET first_sync_at = 1 WHERE id = $1", &[c]).await;
    let (stale, remedy) = next().await;
    assert!(stale.contains("not asked for changes lately"), "G-21: {stale}");
    assert!(remedy.contains("lockstep serve"), "{remedy}");
    world.put("UPDATE connection SET last_delta_at = 9000000000000000 WHERE id = $1", &[c]).await;
    assert_eq!(next().await, (String::new(), String::new()));
    world.put("UPDATE connection SET state = 'paused' WHERE id = $1", &[c]).await;
    assert_eq!(next().await.1, "lockstep connection resume contoso");
    world.put("UPDATE connection SET reason = 'the secret ran out', remedy = 'rotate' WHERE id = $1", &[c]).await;
    assert_eq!(next().await, ("the secret ran out".to_owned(), "rotate".to_owned()), "trouble comes first");
}

#[tokio::test]
async fn a_rule_is_shown_as_in_the_file_with_its_group_and_its_people() {
    let world = World::open().await;
    world.with_ada().await;
    world
        .put(
            "INSERT INTO membership (connection_id, user_id, group_id, ticket, present) VALUES ($1, $2, $3, 1, TRUE)",
            &[world.connection.id.0, Uuid::from_u128(0xb2), BARRED],
        )
        .await;
    let rules = world.store.list_rule_views(world.connection.id).await.expect("a listing");
    let json = seen(
        &rules[0],
        "group, order, kind, role, permissions, nested, exclude, group_name, group_created_at, people, members, \
         group_state, inside",
    );
    assert_eq!((&json["group"], &json["group_name"]), (&json!(STAFF), &json!("Staff")));
    assert_eq!((&json["role"], &json["group_created_at"]), (&Value::Null, &Value::Null));
    assert_eq!(rules.iter().map(|rule| (rule.exclude, rule.people)).collect::<Vec<_>>(), [(false, 1), (true, 1)]);
    assert_eq!(json["inside"], json!([["Interns"]]), "M10: the groups inside, by their chain");
}

#[tokio::test]
async fn a_subscription_is_pending_active_expiring_then_gone_and_shows_no_graph_id_th_01() {
    let world = World::open().await;
    let graph_id = Uuid::from_u128(0xf0);
    world.put(INSERT_PENDING, &[Uuid::now_v7(), world.connection.id.0]).await;
    world.put(INSERT_SUBSCRIBED, &[Uuid::now_v7(), world.connection.id.0, graph_id]).await;
    let listed = async || {
        let filter = SubscriptionFilter { connection: Some("contoso"), ..SubscriptionFilter::default() };
        world.store.list_subscription_views(&filter).await.expect("a listing")
    };
    let pending = listed().await.remove(1);
    let json = seen(&pending, "id, connection, resource, status, expires_at, last_notification_at");
    assert_eq!((&json["status"], &json["expires_at"]), (&json!("pending"), &Value::Null));
    assert!(!json!(listed().await).to_string().contains(&graph_id.to_string()));
    for (hours, status) in
        [(1, SubscriptionStatus::Active), (44, SubscriptionStatus::Expiring), (48, SubscriptionStatus::Gone)]
    {
        world.now.store(START + hours * HOUR, Ordering::SeqCst);
        assert_eq!(listed().await[0].status, status, "after {hours} h");
    }
}
