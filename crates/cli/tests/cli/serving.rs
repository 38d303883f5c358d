//! "Try it by hand" of the README: `serve` in another process, against a simulator.

use serde_json::{Value, json};

use crate::workbench::{Team, Workbench, blocking};

fn status_of(records: &[Value], user: &str) -> Option<String> {
    let record = records.iter().find(|record| record["entra_id"] == user)?;
    record["status"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn g_01_a_change_in_microsoft_reaches_the_record_also_after_kill_9() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let serving = bench.serve();

        let synced = bench.json(&["connection", "sync", "contoso", "--wait"]);
        assert_eq!((&synced["users"], &synced["failed"]), (&json!(Team::SIZE), &json!(0)), "{synced:#}");
        let (ada, alan) = (team.ada.to_string(), team.alan.to_string());
        bench.wait_for_records("both are in", |records| {
            [&ada, &alan].iter().all(|user| status_of(records, user).as_deref() == Some("active"))
        });
        let subscribed = || {
            let subscriptions = bench.json(&["subscription", "list"]);
            subscriptions.as_array().unwrap().iter().filter(|one| one["status"] == "active").count() == 2
        };
        bench.wait_for_records("two subscriptions stand", |_| subscribed());
        assert_eq!(bench.run(&["connection", "check", "contoso"]).code, 0);

        team.tenant.patch_user(team.ada, json!({ "accountEnabled": false })).unwrap();
        bench.wait_for_records("Ada is out", |records| status_of(records, &ada).as_deref() == Some("inactive"));
        assert!(serving.page("/metrics").unwrap().contains("lockstep_queue_messages"));

        serving.kill();
        team.tenant.patch_user(team.alan, json!({ "accountEnabled": false })).unwrap();
        let serving = bench.serve();
        bench.wait_for_records("Alan is out", |records| status_of(records, &alan).as_deref() == Some("inactive"));

        let explained = bench.json(&["record", "explain", "alan.turing@contoso.example"]);
        assert_eq!(explained["user"]["enabled"], false);
        assert_eq!(explained["rules"][0]["outcome"], "won", "{explained:#}");
        assert_eq!(serving.terminate(), Some(0), "FA-33: SIGTERM ends it well");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_is_synced_on_demand() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let _serving = bench.serve();
        bench.json(&["connection", "sync", "contoso", "--wait"]);

        let sync = ["connection", "sync", "contoso", "--wait", "--user"];
        let explained = bench.json(&[&sync[..], &["ada.lovelace@contoso.example"]].concat());
        assert_eq!(explained["record"]["entra_id"], team.ada.to_string());
        let events = bench.json(&["event", "list", "--kind", "on_demand"]);
        assert_eq!(events[0]["status"], "applied", "{events:#}");
        assert_eq!(bench.run(&[&sync[..], &["nobody@contoso.example"]].concat()).code, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_access_by_rules_wants_a_yes() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let _serving = bench.serve();
        bench.json(&["connection", "sync", "contoso", "--wait"]);

        let exclude = format!("[[rule]]\ngroup = \"{}\"\nexclude = true\n", team.group);
        bench.write("rules.toml", &exclude);
        let asked = bench.run(&["rule", "apply", "contoso", "rules.toml", "--output", "json"]);
        assert_eq!(asked.code, 3, "{}", asked.stderr);
        let plan: Value = serde_json::from_str(&asked.stdout).unwrap();
        assert_eq!(plan["deactivated"]["count"], Team::SIZE);
        assert_eq!(bench.json(&["rule", "list", "contoso"])[0]["exclude"], false);

        assert_eq!(bench.run(&["rule", "apply", "contoso", "rules.toml", "--yes"]).code, 0);
        bench.wait_for_records("all are out", |records| records.iter().all(|record| record["status"] == "inactive"));
    })
    .await;
}

#[cfg(not(feature = "otlp"))]
#[test]
fn p_3_a_build_that_sends_no_traces_says_so_to_whoever_asks_for_them() {
    let mut bench = Workbench::fresh();
    bench.extra.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"));
    let serving = bench.serve();
    assert_eq!(serving.terminate(), Some(0));
    let log = std::fs::read_to_string(bench.path("serve.log")).unwrap();
    assert!(log.contains("OTEL_EXPORTER_OTLP_ENDPOINT is set") && log.contains("--features otlp"), "{log}");
}

#[test]
fn serve_says_what_to_do_first() {
    let bench = Workbench::fresh();
    let serving = bench.serve();
    assert_eq!(serving.terminate(), Some(0));
    let log = std::fs::read_to_string(bench.path("serve.log")).unwrap();
    assert!(log.contains("lockstep connection add"), "{log}");
    assert!(
        log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
        "not a terminal: JSON lines only\n{log}"
    );
}
