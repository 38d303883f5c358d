//! `lockstep audit`: what was done is listed, and the chain over it is verified (R4, G-28).

use std::time::Duration;

use serde_json::Value;

use crate::workbench::{Team, Workbench, blocking};

#[tokio::test(flavor = "multi_thread")]
async fn g_28_what_a_serve_did_is_sealed_within_seconds_and_verified() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let before = bench.json(&["audit", "verify"]);
        assert_eq!((&before["verified"], &before["head"], &before["broken"]), (&0.into(), &Value::Null, &Value::Null));
        assert!(before["unsealed"].as_u64().unwrap() > 0, "nobody sealed yet: {before:#}");

        let serving = bench.serve();
        bench.json(&["connection", "sync", "contoso", "--wait"]);
        bench.wait_for("the chain is sealed to its end", Duration::from_secs(20), || {
            let check = bench.json(&["audit", "verify"]);
            check["unsealed"] == 0 && check["verified"].as_u64().unwrap() > Team::SIZE
        });
        assert!(serving.metric("lockstep_audit_entries").unwrap() > Team::SIZE as f64);
        assert_eq!(serving.terminate(), Some(0));

        let record = bench.json(&["record", "list"])[0]["id"].as_str().unwrap().to_owned();
        let about = bench.json(&["audit", "list", "--record", &record]);
        assert!(about.as_array().unwrap().iter().all(|entry| entry["object_id"] == record.as_str()), "{about:#}");
        assert_eq!((&about[0]["actor"], &about[0]["connection"]), (&"sync".into(), &"contoso".into()), "{about:#}");
        assert_eq!(bench.json(&["audit", "list", "--limit", "3"]).as_array().unwrap().len(), 3);
        assert_eq!(bench.json(&["audit", "list", "--connection", "nobody"]), serde_json::json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g_28_a_head_from_the_log_is_found_again_and_another_one_is_refused() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        let serving = bench.serve();
        let log = || std::fs::read_to_string(bench.path("serve.log")).unwrap();
        bench.wait_for("the head is in the log", Duration::from_secs(20), || log().contains("audit.head"));
        assert_eq!(serving.terminate(), Some(0));
        let text = log();
        let line = text.lines().find(|line| line.contains("audit.head")).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        let head = line["audit.head"].as_str().unwrap();

        let good = bench.run(&["audit", "verify", "--head", head]);
        assert!(good.code == 0 && good.stdout.contains("whole"), "{}{}", good.stdout, good.stderr);
        let other = bench.run(&["audit", "verify", "--head", &"5a".repeat(32), "--output", "json"]);
        assert_eq!(other.code, 3, "{}", other.stderr);
        let check: Value = serde_json::from_str(&other.stdout).unwrap();
        assert_eq!(check["broken"]["fault"], "head_unknown");
        assert!(other.stderr.contains("cut off"), "{}", other.stderr);
        assert_eq!(bench.run(&["audit", "verify", "--head", "5a"]).code, 2);
    })
    .await;
}
