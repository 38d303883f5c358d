//! What an import brings in, and what it refuses.

use std::collections::BTreeSet;

use lockstep_core::Timestamp;
use lockstep_store::import::ImportOutcome;
use lockstep_store::view::record::RecordFilter;
use serde_json::{Value, json};

use crate::world::*;

const PEOPLE: &str = r#"
{"kind":"employee","host_id":"7","email":" Ada@Contoso.example ","username":"ada","role":"agent","permissions":["tickets"],"in_use":true}
{"kind":"contact","email":"grace@contoso.example","fields":{"city":"Arlington"},"privileged":true}
"#;

#[tokio::test]
async fn people_are_imported_unlinked_into_the_connections_realm_r6() {
    let world = World::open().await;
    let outcome = world.import(PEOPLE).await;
    assert_eq!((outcome.imported, outcome.unchanged, outcome.refused.len()), (2, 0, 0));
    let ada = world.store.lookup_record_view("ada@contoso.example").await.expect("a lookup").expect("Ada");
    let json = json!(ada);
    assert_eq!(
        (&json["connection"], &json["entra_id"], &json["verified_at"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!((&json["realm"], &json["status"], &json["reasons"]), (&json!("contoso"), &json!("active"), &json!([])));
    assert_eq!(
        (&json["email"], &json["in_use"], &json["root"]),
        (&json!("Ada@Contoso.example"), &json!(true), &json!(false))
    );
    let history = world.store.record_history(ada.id).await.expect("a history");
    assert_eq!(history.len(), 1);
    let email = json!({ "field": "email", "before": null, "after": "Ada@Contoso.example" });
    assert!(
        history[0].trigger == "import" && json!(history[0])["changes"].as_array().expect("a list").contains(&email)
    );
    assert_eq!(world.count("SELECT count(*) FROM audit WHERE action = 'record.import'").await, 2);
    assert_eq!(world.count("SELECT active FROM people_count").await, 0, "nobody is linked yet");
}

#[tokio::test]
async fn an_import_can_be_run_twice_even_when_somebody_was_linked_meanwhile() {
    let world = World::open().await;
    world.import(PEOPLE).await;
    let again = ImportOutcome { unchanged: 2, ..ImportOutcome::default() };
    assert_eq!(world.import(PEOPLE).await, again);
    // Linked since: both have their values from Entra now.
    world.put("UPDATE record SET connection_id = $1, entra_id = id, role = 'lead'", &[world.connection.id.0]).await;
    assert_eq!(world.import(PEOPLE).await, again);
    assert_eq!(world.count("SELECT count(*) FROM record WHERE role = 'lead'").await, 2, "nothing was overwritten");
    assert_eq!(world.count("SELECT count(*) FROM history").await, 2);
}

#[tokio::test]
async fn an_import_that_clashes_is_refused_line_by_line_and_the_rest_goes_in() {
    let world = World::open().await;
    world.with_ada().await;
    let outcome = world
        .import(concat!(
            "{\"kind\":\"employee\",\"host_id\":\"1\",\"email\":\"ADA@contoso.example\"}\n",
            "{\"kind\":\"employee\",\"host_id\":\"2\",\"username\":\"grace\"}\n",
            "{\"kind\":\"contact\",\"host_id\":\"3\",\"username\":\"Grace\"}\n",
            "{\"kind\":\"contact\",\"host_id\":\"2\",\"username\":\"grace\"}\n",
        ))
        .await;
    assert_eq!((outcome.imported, outcome.unchanged), (1, 0));
    let refused: Vec<(usize, &str)> = outcome.refused.iter().map(|line| (line.line, line.why.as_str())).collect();
    assert!(refused[0].0 == 1 && refused[0].1.starts_with("the e-mail address belongs to record "), "{refused:?}");
    assert_eq!(refused[1], (3, "the username belongs to line 2 already"));
    assert!(refused[2].0 == 4 && refused[2].1.starts_with("line 2 was imported with another `kind`"), "{refused:?}");
    assert!(outcome.refused.iter().all(|line| !line.to_string().contains('@')), "no address in a refusal (G-27)");
}

#[tokio::test]
async fn a_record_that_the_sync_made_is_never_taken_for_an_imported_one() {
    let world = World::open().await;
    world.with_ada().await;
    let outcome = world.import("{\"kind\":\"employee\",\"email\":\"ada@contoso.example\"}").await;
    assert_eq!((outcome.imported, outcome.unchanged, outcome.refused.len()), (0, 0, 1));
}

#[tokio::test]
async fn pages_show_everybody_once_and_a_percent_sign_is_only_itself() {
    let world = World::open().await;
    let line = |number: usize| {
        format!("{{\"kind\":\"contact\",\"host_id\":\"{number}\",\"display_name\":\"Person {number} %\"}}\n")
    };
    let outcome = world.import(&(0..450).map(line).collect::<String>()).await;
    assert_eq!(outcome.imported, 450, "in three transactions");
    let (mut seen, mut after) = (BTreeSet::new(), None);
    // Five pages, and an empty one.
    for _ in 0..6 {
        let page = world.store.list_records(&RecordFilter { after, ..RecordFilter::default() }).await.expect("a page");
        assert!(page.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        seen.extend(page.iter().map(|record| record.id));
    }
    assert_eq!(seen.len(), 450);
    let matching = async |query: &'static str| {
        let filter = RecordFilter { query: Some(query), ..RecordFilter::default() };
        world.store.list_records(&filter).await.expect("a listing").len()
    };
    assert_eq!(matching("PERSON 44").await, 11);
    assert_eq!(matching("4% %").await, 0);
    assert_eq!(matching("449 %").await, 1);
    assert_eq!(matching("p_rson").await, 0);
}

#[tokio::test]
async fn views_are_as_of_the_stores_clock() {
    let world = World::open().await;
    world.import(PEOPLE).await;
    let record = world.store.lookup_record_view("grace@contoso.example").await.expect("a lookup").expect("Grace");
    assert_eq!(record.updated_at, Timestamp::from_micros(START));
}
