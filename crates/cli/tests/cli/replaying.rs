//! `event replay`: what it prints and how it ends (BI-58).

use lockstep_core::{EventId, ObjectId};
use lockstep_store::{Clock, Store, StoreConfig};
use serde_json::json;
use uuid::Uuid;

use crate::workbench::{Team, Workbench};

async fn store(bench: &Workbench) -> Store {
    let config = StoreConfig {
        url: format!("sqlite://{}", bench.path("lockstep-data/lockstep.db").display()),
        key_file: bench.path("lockstep-data/key"),
        clock: Clock::system(),
        timing: lockstep_core::timing::Timing::default(),
    };
    Store::open(config).await.unwrap()
}

/// Somebody asked for this user, and all attempts failed.
async fn failed(store: &Store, user: Uuid, reason: &str) -> EventId {
    let connection = store.lookup_connection_by_name("contoso").await.unwrap().unwrap();
    let event = store.request_on_demand(connection.id, ObjectId(user)).await.unwrap();
    for due in store.claim_due(Uuid::now_v7(), 10).await.unwrap() {
        store.fail_object(&due, reason).await.unwrap();
    }
    event
}

#[test]
fn it_wants_ids_or_failed_ones_and_not_both() {
    let bench = Workbench::fresh();
    let id = "0198c0de-0000-7000-8000-000000000001";
    for args in [&[][..], &[id, "--failed"], &["--reason", "x"], &[id, "--connection", "contoso"]] {
        assert_eq!(bench.run(&[&["event", "replay"], args].concat()).code, 2, "{args:?}");
    }
    assert_eq!(bench.json(&["event", "replay", "--failed"]), json!([]), "nothing failed");
    assert_eq!(bench.run(&["event", "replay", "--failed", "--connection", "nobody"]).code, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bi_58_a_replay_is_begun_once_and_refused_while_it_runs() {
    let team = Team::start().await;
    let bench = Workbench::with(&team.simulator);
    let (bench, tenant) = tokio::task::spawn_blocking(move || {
        assert_eq!(bench.connect(&team.tenant).code, 0);
        (bench, team)
    })
    .await
    .unwrap();
    let store = store(&bench).await;
    let first = failed(&store, tenant.ada, "the answer has no id").await.to_string();
    failed(&store, tenant.alan, "not found").await;
    store.close().await;

    tokio::task::spawn_blocking(move || {
        let begun = bench.json(&["event", "replay", &first]);
        assert_eq!((&begun[0]["replay_of"], &begun[0]["status"]), (&json!(first), &json!("in_work")), "{begun:#}");
        let running = begun[0]["id"].as_str().unwrap();
        assert_eq!(bench.json(&["event", "replay", &first])[0]["id"], running, "the same job");

        let refused = bench.run(&["event", "replay", running]);
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        assert!(refused.stderr.contains("not decided yet"), "{}", refused.stderr);

        let unknown = bench.run(&["event", "replay", running, "0198c0de-0000-7000-8000-000000000001"]);
        assert_eq!(unknown.code, 1, "{}", unknown.stderr);
        assert!(unknown.stderr.contains("there is no event"), "{}", unknown.stderr);

        assert_eq!(bench.json(&["event", "replay", "--failed", "--reason", "no id"]), json!([]), "it is under way");
        let rest = bench.json(&["event", "replay", "--failed", "--connection", "contoso"]);
        assert_eq!(rest.as_array().map(Vec::len), Some(1), "{rest:#}");

        assert_eq!(bench.json(&["event", "show", &first])["replays"], json!([running]));
        let shown = bench.run(&["event", "show", running]);
        assert!(shown.stdout.contains(&first) && shown.stdout.contains("failed"), "{}", shown.stdout);
        assert_eq!(bench.json(&["event", "list", "--status", "failed"]).as_array().map(Vec::len), Some(2));
    })
    .await
    .unwrap();
}
