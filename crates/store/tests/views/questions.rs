//! Holds, reviews and explanations: what a person decides by.

use lockstep_core::{HoldId, ReviewId};
use lockstep_store::view::hold::HoldFilter;
use lockstep_store::view::review::ReviewFilter;
use serde_json::json;
use uuid::Uuid;

use crate::world::*;

#[tokio::test]
async fn a_hold_shows_whoever_is_still_on_it() {
    let world = World::open().await;
    let (c, hold) = (world.connection.id.0, Uuid::now_v7());
    let (held, back) = (Uuid::now_v7(), Uuid::now_v7());
    world.put(INSERT_HOLD, &[hold, c]).await;
    world.put(INSERT_HELD, &[hold, c, held, ADA]).await;
    world.put(INSERT_BACK, &[hold, c, back, ADA]).await;
    let holds = world.store.list_holds(&HoldFilter::default()).await.expect("a listing");
    let json = seen(&holds[0], "id, connection, opened_at, limit, cause, people, state");
    assert_eq!(
        json["people"],
        json!([{
            "record": held, "display_name": null, "cause": ["out_of_scope"], "state": "held", "answered_at": null,
            "answer_reason": null
        }])
    );
    assert_eq!((&json["connection"], &json["state"]), (&json!("contoso"), &json!("open")));
    assert!(world.store.lookup_hold(HoldId(hold)).await.expect("a lookup").is_some());
    assert!(world.store.lookup_hold(HoldId(held)).await.expect("a lookup").is_none());
}

#[tokio::test]
async fn a_review_shows_the_question_and_only_open_ones_are_listed() {
    let world = World::open().await;
    let id = Uuid::now_v7();
    world.put(INSERT_REVIEW, &[id, world.connection.id.0, ADA]).await;
    let reviews = world.store.list_reviews(&ReviewFilter::default()).await.expect("a listing");
    let json = seen(
        &reviews[0],
        "id, connection, kind, entra_id, candidates, choices, state, about, why, doubts, choice, record, username, reason, settled_by, opened_at, settled_at, applied_at",
    );
    assert_eq!((&json["kind"], &json["choices"]), (&json!("link"), &json!(["link", "keep_apart"])));
    world.put("UPDATE review SET state = 'settled' WHERE id = $1", &[id]).await;
    assert!(world.store.list_reviews(&ReviewFilter::default()).await.expect("a listing").is_empty());
    assert!(world.store.lookup_review(ReviewId(id)).await.expect("a lookup").is_some());
}

#[tokio::test]
async fn an_explanation_shows_the_chain_of_groups_and_everything_that_keeps_a_person_m10() {
    let world = World::open().await;
    let ada = world.with_ada().await;
    let (c, hold) = (world.connection.id.0, Uuid::now_v7());
    world.put(INSERT_HOLD, &[hold, c]).await;
    world.put(INSERT_HELD, &[hold, c, ada.0, ADA]).await;
    world.put(INSERT_REVIEW, &[Uuid::now_v7(), c, ADA]).await;
    let source = world.store.explain_source(ada).await.expect("a lookup").expect("Ada");
    let json = seen(&source.explanation(), "record, access, user, groups, rules, fields, holds, reviews, next_look");
    assert_eq!(json["record"]["id"], json!(ada));
    let why = "by the rule for Staff (order 10); the brake holds it back";
    assert_eq!(json["access"], json!({ "granted": true, "why": why }));
    let user = ["deleted", "enabled", "type", "verified_at", "read_by_id", "groups_read_at"];
    assert_eq!(keys_of(&json["user"]), user.map(str::to_owned).into());
    assert_eq!(json["groups"], json!([{ "id": STAFF, "name": "Staff", "chain": ["Staff", "Interns"] }]));
    assert_eq!(
        keys_of(&json["rules"][0]),
        ["group", "group_name", "order", "outcome", "why"].map(str::to_owned).into()
    );
    assert_eq!((&json["rules"][0]["outcome"], &json["rules"][1]["outcome"]), (&json!("won"), &json!("not_member")));
    let fields = json["fields"].as_array().expect("a list");
    let title = fields.iter().find(|field| field["name"] == "job_title").expect("a mapped field");
    assert_eq!((&title["value"], &title["source"]), (&json!("Analyst"), &json!("user.jobTitle")));
    assert_eq!((&json["holds"][0]["id"], &json["reviews"][0]["entra_id"]), (&json!(hold), &json!(ADA)));
}
