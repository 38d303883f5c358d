//! How SQLite would run a statement. It knows nothing of how many rows there are, so a statement that looks right may walk
//! a whole table; PostgreSQL counts.

#![allow(clippy::unwrap_used)]

use lockstep_core::{ConnectionId, EventId, ObjectId};
use uuid::Uuid;

use super::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, Row, Sql, sql};
use crate::apply::write::decisions;
use crate::db::StoreConfig;
use crate::mirror::known::known_among;
use crate::mirror::write::looked_at_statement;
use crate::record::{in_order_locked, linked};
use crate::replay::under_way;
use crate::{Clock, Store};

/// The steps of each.
pub(crate) async fn plans(queries: Vec<Sql>) -> Vec<String> {
    let mut steps = Vec::new();
    for query in queries {
        for row in in_an_empty_store(query.explained()).await {
            steps.push(row.get::<String>("detail").unwrap());
        }
    }
    steps
}

/// What a query gives in a store that nobody has written to.
pub(crate) async fn in_an_empty_store(query: Sql) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(StoreConfig {
        url: format!("sqlite://{}", folder.path().join("lockstep.db").display()),
        key_file: folder.path().join("key"),
        clock: Clock::system(),
        timing: lockstep_core::timing::Timing::default(),
    })
    .await
    .unwrap();
    store.all("asking an empty store", query).await.unwrap()
}

/// T4: a plan that depends on what is bound is made anew each time something is. `.cargo/config.toml` says so.
#[tokio::test]
async fn t4_plans_do_not_depend_on_what_is_bound() {
    let options = in_an_empty_store(sql("PRAGMA compile_options")).await;
    assert!(options.iter().any(|row| row.get::<String>("compile_options").unwrap() == "ENABLE_QPSG"));
}

/// T8: reading and deciding some people costs what these people cost, however many their connection has.
#[tokio::test]
async fn t8_some_people_are_found_one_by_one() {
    let connection = ConnectionId(Uuid::nil());
    for some in [1, 2, IDS_PER_STATEMENT] {
        let people: Vec<ObjectId> = (0..some).map(|_| ObjectId(Uuid::new_v4())).collect();
        let steps = plans(vec![in_order_locked(linked(connection, &people), " ORDER BY id")]).await;
        let searches: Vec<&String> = steps.iter().filter(|step| !step.starts_with("CORRELATED")).collect();
        let by_their_ids = [
            "SEARCH record USING INDEX record_person (connection_id=? AND entra_id=?)",
            "SEARCH h USING INDEX hold_person_standing (record_id=?)",
            "SEARCH x USING COVERING INDEX sqlite_autoindex_exemption_1 (connection_id=? AND record_id=?)",
            "SEARCH v USING COVERING INDEX review_answer (connection_id=? AND entra_id=?)",
            "SEARCH q USING COVERING INDEX review_open (connection_id=? AND entra_id=?)",
        ];
        assert_eq!(searches, by_their_ids, "{some}");
    }
    let some = |value: i64| -> Bind { value.into() };
    let (kind, user): (Bind, _) = ("employee".into(), Uuid::new_v4);
    let row = |_| {
        let agreements = [some(1), some(1), some(1), kind.clone(), some(1), some(1)];
        [connection.into(), user().into()].into_iter().chain(agreements).chain([some(1)]).collect()
    };
    let rows: Vec<Vec<Bind>> = (0..ROWS_PER_STATEMENT).map(row).collect();
    let looked_at = |_| {
        let read = ["by_id".into(), some(1), some(1), some(1), some(1)];
        [connection.into(), user().into()].into_iter().chain(read).collect()
    };
    let looked_at = looked_at_statement((0..ROWS_PER_STATEMENT).map(looked_at).collect());
    let found = |step: &String| step.contains("directory_user") && step.contains("(connection_id=? AND user_id=?)");
    for statement in [decisions(&rows), looked_at] {
        let steps = plans(vec![statement]).await;
        assert!(steps.iter().any(found), "{steps:#?}");
    }
}

/// T6: so is what decides how people are read.
#[tokio::test]
async fn t6_known_people_are_found_one_by_one() {
    let people: Vec<ObjectId> = (0..IDS_PER_STATEMENT).map(|_| ObjectId(Uuid::new_v4())).collect();
    let steps = plans(vec![known_among(ConnectionId(Uuid::nil()), &people)]).await;
    for (table, key) in [("u", "user_id=?"), ("r", "entra_id=?"), ("m", "user_id=?")] {
        let found = |step: &String| {
            step.starts_with(&format!("SEARCH {table} ")) && step.contains(&format!("(connection_id=? AND {key})"))
        };
        assert!(steps.iter().any(found), "{table}: {steps:#?}");
    }
}

/// T14: asking which of some events are being replayed walks past no other replay.
#[tokio::test]
async fn t14_replays_are_found_one_by_one() {
    let events: Vec<EventId> = (0..60).map(|_| EventId(Uuid::new_v4())).collect();
    let steps = plans(vec![under_way(&events)]).await;
    assert_eq!(steps, ["SEARCH event USING INDEX event_replay (replay_of=?)"]);
}
