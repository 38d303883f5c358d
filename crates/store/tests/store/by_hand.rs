//! What an admin does by hand, in the store: one transaction with history, audit, session ends and counts (R1, R4, D3).

use lockstep_core::by_hand::{Activation, FieldEdit};
use lockstep_core::mirror::{PersonRead, ProfileFound};
use lockstep_core::record::{Reason, Status};
use lockstep_core::{RecordId, Timestamp};
use lockstep_store::{Admin, RootMade, StoreError};
use serde_json::json;
use std::time::Duration;

use crate::world::*;

fn grace() -> Admin {
    Admin { name: "grace".to_owned(), reason: Some("asked by their manager".to_owned()) }
}

fn set(field: &str, value: &str) -> FieldEdit {
    FieldEdit { field: field.to_owned(), value: Some(value.to_owned()) }
}

async fn staff(people: &[u128]) -> World {
    let world = World::new().await;
    for n in people {
        sync(&world, *n, |_| {}).await;
    }
    world
}

/// Reads somebody who is in staff, with something in their profile changed.
async fn sync(world: &World, n: u128, change: impl Fn(&mut lockstep_core::profile::Profile)) {
    let mut read = world.read(n, &mail(n), true, &[world.staff]).await;
    if let PersonRead { profile: Some(profile), .. } = &mut read
        && let ProfileFound::Present(found) = &mut profile.found
    {
        change(std::sync::Arc::make_mut(found));
    }
    world.sync(&[read]).await.unwrap();
}

async fn last_history(world: &World, record: RecordId) -> lockstep_store::view::record::HistoryView {
    world.store.record_history(record).await.unwrap().remove(0)
}

#[tokio::test]
async fn y4_an_edit_is_kept_through_reads_and_the_history_keeps_what_was_overwritten() {
    let world = staff(&[1]).await;
    let id = world.record(1).await.id;
    let edits = [set("job_title", "Lead"), set("email", "Desk@example.org"), set("display_name", "Person 1")];
    let changed = world.store.edit_record(id, &edits, &grace()).await.unwrap();
    assert_eq!(changed, ["email", "fields.job_title"], "the name was that already");
    let told = last_history(&world, id).await;
    assert_eq!((told.trigger.as_str(), told.actor.as_str()), ("admin", "grace"));
    assert_eq!(told.reason.as_deref(), Some("asked by their manager"));
    assert_eq!(told.changes[0], json!({"field": "email", "before": mail(1), "after": "Desk@example.org"}));
    assert_eq!(world.text("SELECT action FROM audit ORDER BY id DESC LIMIT 1").await, "record.edit");

    // The same profile again, by any path, changes nothing.
    sync(&world, 1, |_| {}).await;
    assert_eq!(world.record(1).await.email.as_deref(), Some("Desk@example.org"));
    assert_eq!(world.store.record_history(id).await.unwrap().len(), 2);

    sync(&world, 1, |profile| {
        profile.properties.insert("city".to_owned(), json!("Oslo"));
    })
    .await;
    let record = world.record(1).await;
    assert_eq!(record.email.as_deref(), Some(mail(1).as_str()));
    assert_eq!(record.edits.keys().collect::<Vec<_>>(), ["job_title"], "Entra has no job title to say against it");
    let told = last_history(&world, id).await;
    assert_eq!(told.changes[0], json!({"field": "email", "before": "Desk@example.org", "after": mail(1)}));
    assert_eq!(told.actor, "sync");
}

#[tokio::test]
async fn y4_an_edit_of_what_another_record_has_or_of_a_record_that_is_not_there_is_refused() {
    let world = staff(&[1, 2]).await;
    let id = world.record(1).await.id;
    for (field, value) in [("email", " PERSON2@example.org "), ("username", "Person2")] {
        let refused = world.store.edit_record(id, &[set(field, value)], &grace()).await.expect_err(field);
        let other = world.record(2).await.id;
        assert!(refused.to_string().contains(&other.to_string()), "{refused}");
    }
    assert!(world.record(1).await.edits.is_empty());
    let nobody = RecordId(uuid::Uuid::now_v7());
    assert!(matches!(world.store.edit_record(nobody, &[], &grace()).await, Err(StoreError::NotFound { .. })));
}

/// Of two in one batch who want one address, the loser keeps what they had: a local edit stays one.
#[tokio::test]
async fn y4_an_edit_that_was_not_overwritten_after_all_is_still_an_edit() {
    let world = staff(&[1, 2]).await;
    let id = world.record(1).await.id;
    world.store.edit_record(id, &[set("email", "desk@example.org")], &grace()).await.unwrap();
    let reads = [
        world.read(2, "new@example.org", true, &[world.staff]).await,
        world.read(1, "new@example.org", true, &[world.staff]).await,
    ];
    world.sync(&reads).await.unwrap();
    let record = world.record(1).await;
    assert_eq!((record.email.as_deref(), record.edits.contains_key("email")), (Some("desk@example.org"), true));
}

/// D3, D4, D6.
#[tokio::test]
async fn by_hand_off_ends_the_sessions_leaves_the_brake_alone_and_on_again_asks_microsoft() {
    let world = staff(&[1]).await;
    let id = world.record(1).await.id;
    assert!(world.store.deactivate_record(id, &grace()).await.unwrap());
    assert!(!world.store.deactivate_record(id, &grace()).await.unwrap(), "twice is once");
    let record = world.record(1).await;
    assert_eq!(
        (record.status, record.reasons.into_iter().collect::<Vec<_>>()),
        (Status::Inactive, vec![Reason::ByHand])
    );
    assert_eq!(world.texts("SELECT cause FROM session_end").await, ["deactivated"]);
    assert_eq!(world.number("SELECT count(*) FROM removal").await, 0, "D6: not the brake's business");
    assert_eq!(world.number("SELECT inactive FROM people_count").await, 1);

    let activation = world.store.activate_record(id, &grace()).await.unwrap();
    assert!(matches!(activation, Activation::AfterRead(_)));
    assert_eq!(world.record(1).await.status, Status::Inactive, "not by what was read before");
    assert_eq!(world.texts("SELECT reason FROM due WHERE urgent").await, ["on_demand"]);
    assert_eq!(world.texts("SELECT kind FROM event").await, ["on_demand"]);
    world.wait(Duration::from_secs(3600));
    sync(&world, 1, |_| {}).await;
    let record = world.record(1).await;
    assert_eq!((record.status, record.id, record.by_hand_lifted), (Status::Active, id, false));
    assert_eq!(world.number("SELECT active FROM people_count").await, 1);
    assert!(matches!(world.store.activate_record(id, &grace()).await.unwrap(), Activation::NotByHand));
}

#[tokio::test]
async fn d5_sessions_end_by_one_row_a_move_forward_and_the_record_stays_active() {
    let world = staff(&[1]).await;
    let at = |hour: i64| Some(Timestamp::from_micros(START + hour * 3_600_000_000));
    for (hour, ends) in [(1, 0), (1, 0), (0, 0), (2, 1), (2, 1), (3, 2)] {
        sync(&world, 1, |profile| profile.sessions_valid_from = at(hour)).await;
        assert_eq!(world.number("SELECT count(*) FROM session_end WHERE cause = 'revoked'").await, ends, "at {hour}");
    }
    let record = world.record(1).await;
    assert_eq!(record.status, Status::Active);
    let told = last_history(&world, record.id).await;
    assert_eq!(told.changes[0]["field"], "sessions_valid_from");
    assert_eq!(world.texts("SELECT action FROM audit WHERE action = 'sessions.end'").await.len(), 2);
    assert_eq!(world.number("SELECT count(*) FROM audit WHERE action = 'record.update'").await, 0);
}

/// G-24.
#[tokio::test]
async fn root_is_one_a_realm_exempt_and_its_names_are_nobody_elses() {
    let world = staff(&[1, 2]).await;
    let (first, second) = (world.record(1).await.id, world.record(2).await.id);
    assert_eq!(world.store.make_root(first, false, &grace()).await.unwrap(), RootMade::First);
    assert_eq!(world.store.make_root(first, false, &grace()).await.unwrap(), RootMade::Already);

    // Disabled and out of every group: root stays, and nobody gets its names in any spelling.
    let gone = world.read(1, "other@example.org", false, &[]).await;
    world.sync(&[gone]).await.unwrap();
    let like_root = world.read(2, " PERSON1@Example.ORG", true, &[world.staff]).await;
    world.sync(&[like_root]).await.unwrap();
    let (root, other) = (world.record(1).await, world.record(2).await);
    assert_eq!((root.status, root.email.as_deref()), (Status::Active, Some(mail(1).as_str())));
    assert_eq!(other.email.as_deref(), Some(mail(2).as_str()));
    assert_eq!(
        world.texts("SELECT kind FROM review WHERE state = 'open' ORDER BY kind").await,
        ["address_taken", "username_taken"]
    );
    let refused = world.store.edit_record(second, &[set("email", "PERSON1@example.org")], &grace()).await;
    assert!(refused.expect_err("root's").to_string().contains("the root user"));
    assert!(world.store.edit_record(first, &[set("username", "boss")], &grace()).await.is_err());
    assert!(world.store.deactivate_record(first, &grace()).await.is_err());

    let refused = world.store.make_root(second, false, &grace()).await.expect_err("there is one");
    assert!(refused.to_string().contains("--yes"), "{refused}");
    assert!(world.try_change("UPDATE record SET root = TRUE").await.is_err(), "the database itself refuses two");
    assert_eq!(world.store.make_root(second, true, &grace()).await.unwrap(), RootMade::InPlaceOf(first));
    assert!(!world.record(1).await.root && world.record(2).await.root);
    assert_eq!(world.texts("SELECT reason FROM due WHERE urgent").await, ["on_demand"], "the one before is read anew");
    let gone = world.read(1, &mail(1), false, &[world.staff]).await;
    world.sync(&[gone]).await.unwrap();
    assert_eq!(world.record(1).await.status, Status::Inactive);
}

/// G-24: in an application where people sign in with either, nobody passes for root.
#[tokio::test]
async fn g_24_roots_username_is_nobodys_address_and_its_address_nobodys_username() {
    let mut world = staff(&[1, 2]).await;
    let (root, other) = (world.record(1).await.id, world.record(2).await.id);
    world.store.edit_record(root, &[set("username", "boss@example.org")], &grace()).await.unwrap();
    world.store.make_root(root, false, &grace()).await.unwrap();
    world.connection.settings.username = lockstep_core::settings::UsernameStyle::Email;
    let like_root = world.read(2, "Boss@Example.org", true, &[world.staff]).await;
    world.sync(&[like_root]).await.unwrap();
    assert_eq!(world.record(2).await.email.as_deref(), Some(mail(2).as_str()));
    for (field, value) in [("email", "boss@example.org".to_owned()), ("username", mail(1))] {
        let refused = world.store.edit_record(other, &[set(field, &value)], &grace()).await.expect_err(field);
        assert!(refused.to_string().contains("the root user"), "{refused}");
    }
}

/// G-24: nor by the directory, where usernames are made otherwise than of addresses.
#[tokio::test]
async fn g_24_the_directory_gives_roots_username_to_nobody_as_their_address() {
    let world = staff(&[1, 2]).await;
    let root = world.record(1).await.id;
    world.store.edit_record(root, &[set("username", "boss@example.org")], &grace()).await.unwrap();
    world.store.make_root(root, false, &grace()).await.unwrap();
    let like_root = world.read(2, "Boss@Example.org", true, &[world.staff]).await;
    world.sync(&[like_root]).await.unwrap();
    assert_eq!(world.record(2).await.email.as_deref(), Some(mail(2).as_str()));
}

/// G-24: whoever a hold keeps is not gone when they become root, or are switched off by a person.
#[tokio::test]
async fn an_act_on_a_held_person_takes_them_out_of_the_hold() {
    let world = staff(&[1, 2]).await;
    for (n, root) in [(1, true), (2, false)] {
        let id = world.record(n).await.id;
        let hold = uuid::Uuid::now_v7();
        world.hold(hold, id, n).await;
        if root {
            world.store.make_root(id, false, &grace()).await.unwrap();
        } else {
            world.store.deactivate_record(id, &grace()).await.unwrap();
        }
    }
    assert_eq!(world.texts("SELECT state FROM hold_person ORDER BY state").await, ["back", "overtaken"]);
    assert_eq!(world.texts("SELECT DISTINCT state FROM hold").await, ["emptied"]);
}

/// M8.
#[tokio::test]
async fn in_use_is_marked_and_unmarked() {
    let world = staff(&[1]).await;
    let id = world.record(1).await.id;
    assert!(world.store.mark_in_use(id, true, &grace()).await.unwrap());
    assert!(!world.store.mark_in_use(id, true, &grace()).await.unwrap());
    assert!(world.record(1).await.in_use);
    assert!(world.store.mark_in_use(id, false, &grace()).await.unwrap());
    assert_eq!(last_history(&world, id).await.changes, json!([{"field": "in_use", "before": true, "after": false}]));
}
