//! What an authentic item asks us to look at, and that what is not understood is never dropped (G-04).

use lockstep_core::ObjectId;
use lockstep_core::hint::{Claim, LifecycleEvent, MAX_MEMBERS, MemberHint, Subject};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{World, with, without};

fn group_changed(world: &World, group: Uuid, members: Value) -> Value {
    world.tenant.item(json!({
        "changeType": "updated",
        "resource": format!("Groups/{group}"),
        "resourceData": {
            "@odata.type": "#Microsoft.Graph.Group",
            "@odata.id": format!("Groups/{group}"),
            "id": group,
            "members@delta": members,
        },
    }))
}

#[tokio::test]
async fn graph_s_spellings_are_all_understood() {
    let world = World::start().await;
    let id = Uuid::new_v4();
    let user = |claim| Subject::User { id: ObjectId(id), claim };
    let plain = world.tenant.user_changed(id);
    for (item, expected) in [
        (plain.clone(), user(Claim::Changed)),
        (with(plain.clone(), json!({ "changeType": "deleted" })), user(Claim::Deleted)),
        (with(plain.clone(), json!({ "changeType": "Updated" })), user(Claim::Changed)),
        (with(plain.clone(), json!({ "resource": format!("users/{id}") })), user(Claim::Changed)),
        (without(plain.clone(), "resource"), user(Claim::Changed)),
        (without(plain.clone(), "resourceData"), user(Claim::Changed)),
        (with(plain.clone(), json!({ "lifecycleEvent": null })), user(Claim::Changed)),
        (
            with(
                plain.clone(),
                json!({ "resourceData": {
                "@odata.type": "#microsoft.graph.user", "id": id, "sequenceNumber": 638_992_356_722_455_823_i64,
            } }),
            ),
            user(Claim::Changed),
        ),
    ] {
        assert_eq!(world.subject_of(item.clone()).await, expected, "{item}");
    }
}

#[tokio::test]
async fn bi_23_upper_case_ids_are_normalised_and_other_spellings_are_not_understood() {
    let world = World::start().await;
    let id = Uuid::new_v4();
    let upper = id.to_string().to_uppercase();
    let mut item = with(
        world.tenant.user_changed(id),
        json!({
            "subscriptionId": world.tenant.subscription.graph_id.to_string().to_uppercase(),
            "tenantId": world.tenant.id.to_string().to_uppercase(),
            "resource": format!("Users/{upper}"),
        }),
    );
    item["resourceData"]["id"] = json!(upper);
    assert_eq!(world.subject_of(item).await, Subject::User { id: ObjectId(id), claim: Claim::Changed });

    for spelling in
        [format!("{{{id}}}"), format!(" {id}"), format!("{id} "), id.simple().to_string(), format!("urn:uuid:{id}")]
    {
        let mut item = world.tenant.user_changed(id);
        item["resourceData"]["id"] = json!(spelling);
        assert_eq!(world.subject_of(item).await, Subject::Unclear, "{spelling}");
    }
}

#[tokio::test]
async fn bi_20_g_04_authentic_items_that_are_not_understood_mark_the_connection() {
    let world = World::start().await;
    let id = Uuid::new_v4();
    let plain = world.tenant.user_changed(id);
    let mut other_id = plain.clone();
    other_id["resourceData"]["id"] = json!(Uuid::new_v4());
    let mut other_kind = plain.clone();
    other_kind["resourceData"]["@odata.type"] = json!("#Microsoft.Graph.Group");
    for item in [
        without(plain.clone(), "changeType"),
        with(plain.clone(), json!({ "changeType": "renamed" })),
        with(plain.clone(), json!({ "changeType": ["updated"] })),
        with(plain.clone(), json!({ "resource": format!("Users/{id}/messages") })),
        with(plain.clone(), json!({ "resource": format!("devices/{id}") })),
        with(plain.clone(), json!({ "resource": "Users/me" })),
        with(plain.clone(), json!({ "resource": 4 })),
        with(plain.clone(), json!({ "resourceData": "text" })),
        with(plain.clone(), json!({ "resourceData": [] })),
        without(without(plain.clone(), "resource"), "resourceData"),
        other_id,
        other_kind,
        world.tenant.item(json!({})),
    ] {
        assert_eq!(world.subject_of(item.clone()).await, Subject::Unclear, "{item}");
    }
}

#[tokio::test]
async fn bi_21_an_unknown_lifecycle_event_is_passed_on_as_such() {
    let world = World::start().await;
    for (event, expected) in [
        (json!("reauthorizationRequired"), LifecycleEvent::ReauthorizationRequired),
        (json!("subscriptionRemoved"), LifecycleEvent::SubscriptionRemoved),
        (json!("missed"), LifecycleEvent::Missed),
        (json!("somethingNew"), LifecycleEvent::Unknown),
        (json!({ "kind": "missed" }), LifecycleEvent::Unknown),
    ] {
        let item = world.tenant.item(json!({ "lifecycleEvent": event }));
        assert_eq!(world.subject_of(item).await, Subject::Lifecycle { event: expected });
    }
}

#[tokio::test]
async fn members_are_named_with_removal_as_text_or_object() {
    let world = World::start().await;
    let (group, added, removed, gone) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let members = json!([
        { "id": added },
        { "id": removed, "@removed": "deleted" },
        { "id": gone, "@removed": { "reason": "deleted" } },
    ]);
    let member = |id, removed| MemberHint { id: ObjectId(id), removed };
    assert_eq!(
        world.subject_of(group_changed(&world, group, members)).await,
        Subject::Group {
            id: ObjectId(group),
            claim: Claim::Changed,
            members: vec![member(added, false), member(removed, true), member(gone, true)],
            truncated: false,
        }
    );
}

#[tokio::test]
async fn members_that_are_too_many_or_unreadable_leave_a_mark_and_never_cost_the_item() {
    let world = World::start().await;
    let group = Uuid::new_v4();
    let many: Vec<_> = (0..=MAX_MEMBERS).map(|_| json!({ "id": Uuid::new_v4() })).collect();
    for (members, kept) in [
        (json!(many), MAX_MEMBERS),
        (json!([{ "id": Uuid::new_v4() }, { "id": "x" }, 7, { "@removed": "deleted" }]), 1),
        (json!("all of them"), 0),
    ] {
        let subject = world.subject_of(group_changed(&world, group, members)).await;
        let Subject::Group { members, truncated, .. } = subject else { panic!("{subject:?}") };
        assert_eq!((members.len(), truncated), (kept, true));
    }
}

#[tokio::test]
async fn a_post_full_of_members_still_makes_a_message_that_workers_can_read() {
    let world = World::start().await;
    let hundred: Vec<_> = (0..MAX_MEMBERS).map(|_| json!({ "id": Uuid::new_v4() })).collect();
    let items: Vec<_> = (0..200).map(|_| group_changed(&world, Uuid::new_v4(), json!(hundred))).collect();
    let hints = world.hints_of(&items).await;
    let truncated =
        |subject: &Subject| matches!(subject, Subject::Group { members, truncated: true, .. } if members.is_empty());
    assert_eq!(hints.len(), 200);
    assert_eq!(hints.iter().filter(|hint| truncated(&hint.subject)).count(), 100, "those go by listing instead");
}
