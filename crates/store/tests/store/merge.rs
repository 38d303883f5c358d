//! Two records of one person become one live and one archived (M3, G-13, G-14, G-20).

use std::time::Duration;

use lockstep_core::record::{Kind, Reason, Record, Status};
use lockstep_core::review::Choice;
use lockstep_store::import::ImportedRecord;
use lockstep_store::view::review::{ReviewFilter, ReviewState};
use lockstep_store::{Admin, Chosen};
use serde_json::Map;
use uuid::Uuid;

use crate::world::{World, mail};

const LIVE: &str = "SELECT count(*) FROM record WHERE status <> 'archived'";
const TRACE: &str = "SELECT (SELECT count(*) FROM history) + (SELECT count(*) FROM audit WHERE object_kind = 'record')";
const LINKED: &str = "SELECT count(*) FROM record WHERE status <> 'archived' AND entra_id IS NOT NULL";
const MERGED: &str = "SELECT count(*) FROM audit WHERE action = 'record.merge'";

fn grace() -> Admin {
    Admin { name: "grace".to_owned(), reason: Some("both are hers".to_owned()) }
}

/// The application knew person 1 by the address of person 99; the sync made a second record by another one.
async fn with_two_records() -> (World, Record) {
    let world = World::new().await;
    let line = ImportedRecord {
        line: 1,
        kind: Kind::Employee,
        email: Some(mail(99)),
        username: Some("countess".to_owned()),
        display_name: Some("Countess".to_owned()),
        fields: Map::new(),
        host_id: Some("17".to_owned()),
        in_use: true,
        role: None,
        permissions: Vec::new(),
        privileged: false,
    };
    world.store.import_records(&world.connection, &[line]).await.unwrap();
    sync(&world, &mail(1)).await;
    let made = world.record(1).await;
    (world, made)
}

async fn sync(world: &World, address: &str) {
    let read = world.read(1, address, true, &[world.staff]).await;
    world.sync(&[read]).await.unwrap();
}

/// Microsoft gives them the address of the other record, and an admin says that both are theirs.
async fn merges(world: &World) {
    sync(world, &mail(99)).await;
    let asked = world.store.list_reviews(&ReviewFilter::default()).await.unwrap().remove(0);
    assert_eq!(asked.choices, [Choice::Keep, Choice::Reassign, Choice::Merge]);
    let chosen = Chosen { choice: Choice::Merge, record: None, username: None, by: &grace() };
    world.store.settle_review(asked.id, &chosen).await.unwrap().unwrap();
}

#[tokio::test]
async fn g20_the_record_that_others_refer_to_stays_and_the_other_is_archived_with_its_sessions() {
    let (world, made) = with_two_records().await;
    merges(&world).await;
    let trace = world.number(TRACE).await;
    sync(&world, &mail(99)).await;
    let live = world.record(1).await;
    assert_ne!(live.id, made.id);
    assert_eq!((live.status, live.in_use, live.email.as_deref()), (Status::Active, true, Some(mail(99).as_str())));
    let old = world.store.lookup_record_view(&made.id.to_string()).await.unwrap().unwrap();
    assert_eq!((old.status, old.reasons), (Status::Archived, [Reason::KindChanged].into()));
    assert_eq!(old.email, Some(format!("{}_Archived", mail(1))));
    assert_eq!(old.successor, Some(live.id));
    assert_eq!(world.number(LIVE).await, 1);
    assert_eq!((world.number(MERGED).await, world.number(TRACE).await), (2, trace + 4), "a row and an entry each");
    assert_eq!(world.number("SELECT count(*) FROM session_end WHERE cause = 'archived'").await, 1);
    assert_eq!(world.text("SELECT active || ' ' || inactive FROM people_count").await, "1 0");
    let settled = "SELECT count(*) FROM review WHERE choice = 'merge' AND applied_at IS NOT NULL";
    assert_eq!(world.number(settled).await, 1);

    // What else must change follows, and then nothing any more: the answer was carried out once (G-14).
    for _ in 0..2 {
        world.wait(Duration::from_secs(60));
        sync(&world, &mail(99)).await;
    }
    let (record, trace) = (world.record(1).await, world.number(TRACE).await);
    assert_eq!((record.id, record.role.as_deref()), (live.id, Some("staff")));
    sync(&world, &mail(99)).await;
    assert_eq!((world.record(1).await, world.number(TRACE).await), (record, trace));
    assert_eq!(world.number(MERGED).await, 2);
    assert_eq!(world.number("SELECT count(*) FROM review WHERE state = 'open'").await, 0);
}

#[tokio::test]
async fn a_wrong_merge_gives_the_record_back_what_it_had_and_leaves_the_archived_one() {
    let (world, made) = with_two_records().await;
    merges(&world).await;
    for _ in 0..2 {
        sync(&world, &mail(99)).await;
        world.wait(Duration::from_secs(60));
    }
    let live = world.record(1).await;
    let made_links = ReviewFilter { state: Some(ReviewState::Settled), ..ReviewFilter::default() };
    let settled = world.store.list_reviews(&made_links).await.unwrap();
    let merged = settled.iter().find(|review| review.choice == Some(Choice::Merge)).unwrap();
    assert_eq!(merged.choices, [Choice::Unlink]);
    let chosen = Chosen { choice: Choice::Unlink, record: None, username: None, by: &grace() };
    world.store.settle_review(merged.id, &chosen).await.unwrap().unwrap();
    sync(&world, &mail(99)).await;
    let back = world.store.lookup_record_view(&live.id.to_string()).await.unwrap().unwrap();
    assert_eq!((back.entra_id, back.display_name.as_deref(), back.role), (None, Some("Countess"), None));
    assert_eq!((back.username.as_deref(), back.status), (Some("countess"), Status::Active));
    let old = world.store.lookup_record_view(&made.id.to_string()).await.unwrap().unwrap();
    assert_eq!(old.status, Status::Archived);
    assert_eq!(world.number(LINKED).await, 0, "and they are asked about");
}

#[tokio::test]
async fn somebody_held_or_switched_off_by_hand_gains_nothing_by_a_merge() {
    let (world, made) = with_two_records().await;
    world.hold(Uuid::new_v4(), made.id, 1).await;
    world.store.deactivate_record(made.id, &grace()).await.unwrap();
    merges(&world).await;
    sync(&world, &mail(99)).await;
    let live = world.record(1).await;
    assert_eq!((live.status, live.reasons), (Status::Inactive, [Reason::ByHand].into()));
    let waiting = "SELECT count(*) FROM hold_person WHERE state = 'held'";
    assert_eq!(world.number(waiting).await, 0, "nobody waits for an answer about an archived record");
    assert_eq!(world.text("SELECT active || ' ' || inactive FROM people_count").await, "0 1");
}

/// The record was linked to somebody else between the answer and its carrying out.
#[tokio::test]
async fn a_record_that_somebody_has_meanwhile_is_not_taken() {
    let (world, made) = with_two_records().await;
    merges(&world).await;
    let theirs = world.read(2, &mail(2), true, &[world.staff]).await;
    world.sync(&[theirs]).await.unwrap();
    let link = "UPDATE record SET entra_id = (SELECT user_id FROM directory_user u WHERE u.user_id <>
        (SELECT entra_id FROM record WHERE email_key = 'person1@example.org')), connection_id =
        (SELECT id FROM connection) WHERE email_key = 'person99@example.org'";
    world.change("UPDATE record SET entra_id = NULL WHERE email_key = 'person2@example.org'").await;
    world.change(link).await;
    sync(&world, &mail(99)).await;
    assert_eq!(world.record(1).await.id, made.id);
    assert_eq!(world.number(MERGED).await, 0);
}
