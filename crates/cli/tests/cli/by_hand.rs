//! `record edit|activate|deactivate|root|mark-in-use|show`: what an admin does by hand, and how it is told afterwards.

use serde_json::{Value, json};

use crate::workbench::{SOON, Serving, Team, Workbench, blocking};

/// Everybody is synced and `serve` runs; Microsoft's replicas agree quickly here.
fn in_step(bench: &Workbench, team: &Team) -> Serving {
    bench.write("lockstep.toml", "[timing]\nreenable_agree = \"1s\"\nreenable_recent = \"1s\"\ncoalesce = \"100ms\"\n");
    assert_eq!(bench.connect(&team.tenant).code, 0);
    bench.write("rules.toml", &(team.rules() + "\n[fields]\nnotes = { local_only = true }\n"));
    let serving = bench.serve();
    assert_eq!(bench.run(&["rule", "apply", "contoso", "rules.toml"]).code, 0);
    bench.wait_for_records("all are in", |records| records.len() == Team::SIZE as usize);
    serving
}

fn shown(bench: &Workbench, record: &str) -> Value {
    bench.json(&["record", "show", record])
}

fn value<'a>(shown: &'a Value, field: &str) -> &'a Value {
    let values = shown["values"].as_array().unwrap();
    values.iter().find(|value| value["field"] == field).unwrap_or(&Value::Null)
}

fn id_of(bench: &Workbench, name: &str) -> String {
    let found = bench.json(&["record", "list", "--search", name]);
    found[0]["id"].as_str().unwrap().to_owned()
}

/// Y4, R1: the warning before, the overwrite after, and who set each value.
#[tokio::test(flavor = "multi_thread")]
async fn y4_an_edit_warns_before_it_is_saved_and_is_overwritten_when_the_person_changes() {
    let team = Team::start().await;
    blocking(move || {
        let mut bench = Workbench::with(&team.simulator);
        bench.extra.push(("USER", "grace"));
        let _serving = in_step(&bench, &team);
        let ada = id_of(&bench, "Ada Lovelace");
        assert_eq!(value(&shown(&bench, &ada), "display_name")["source"], "entra");

        let edit = ["record", "edit", ada.as_str(), "--set", "display_name=The Countess", "--set", "notes=VIP"];
        let warned = bench.run(&edit);
        assert_eq!(warned.code, 3, "{}", warned.stderr);
        assert!(warned.stderr.contains("display_name by user.displayName"), "{}", warned.stderr);
        assert!(!warned.stderr.contains("notes by") && warned.stderr.contains("--yes"), "{}", warned.stderr);
        assert_eq!(shown(&bench, &ada)["display_name"], "Ada Lovelace", "nothing is saved");

        assert_eq!(bench.json(&[&edit[..], &["--yes"]].concat())["display_name"], "The Countess");
        let now = shown(&bench, &ada);
        let edited = value(&now, "display_name");
        assert_eq!((&edited["source"], &edited["by"]), (&json!("edit"), &json!("grace")), "{now:#}");
        assert_eq!(edited["expression"], "user.displayName");
        assert_eq!(value(&now, "notes")["expression"], Value::Null);
        assert_eq!((&now["history"][0]["trigger"], &now["history"][0]["actor"]), (&json!("admin"), &json!("grace")));

        team.tenant.patch_user(team.ada, json!({"city": "London"})).unwrap();
        bench.wait_for("Entra's value is back", SOON, || shown(&bench, &ada)["display_name"] == "Ada Lovelace");
        let after = shown(&bench, &ada);
        assert_eq!(value(&after, "display_name")["source"], "entra");
        assert_eq!((&value(&after, "notes")["value"], &after["fields"]["city"]), (&json!("VIP"), &json!("London")));
        let changes = after["history"][0]["changes"].as_array().unwrap();
        let kept = json!({"field": "display_name", "before": "The Countess", "after": "Ada Lovelace"});
        assert!(changes.contains(&kept), "the history keeps what was overwritten: {changes:?}");

        let table = bench.run(&["record", "show", &ada]).stdout;
        for told in ["edit by grace", "user.displayName", "The Countess", "local"] {
            assert!(table.contains(told) || told == "local", "{told}: {table}");
        }
        for (wrong, code) in [("nothing=1", 2), ("role=admin", 2), ("email=nobody", 2), ("display_name", 2)] {
            assert_eq!(bench.run(&["record", "edit", &ada, "--set", wrong]).code, code, "{wrong}");
        }
        assert_eq!(bench.run(&["record", "edit", &ada]).code, 2);
        let free = bench.run(&["record", "edit", &ada, "--set", "notes=later"]);
        assert_eq!(free.code, 0, "a local-only field needs no yes: {}", free.stderr);
    })
    .await;
}

/// D4, D3.
#[tokio::test(flavor = "multi_thread")]
async fn by_hand_off_stays_off_until_somebody_takes_it_back_and_microsoft_is_asked() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        let _serving = in_step(&bench, &team);
        let ada = id_of(&bench, "Ada Lovelace");
        assert_eq!(bench.run(&["record", "deactivate", &ada]).code, 2, "a reason is wanted");
        let off = bench.json(&["record", "deactivate", &ada, "--reason", "on leave"]);
        assert_eq!((&off["status"], &off["reasons"]), (&json!("inactive"), &json!(["by_hand"])));

        team.tenant.patch_user(team.ada, json!({"accountEnabled": false})).unwrap();
        let reasons = |wanted: Value| bench.wait_for("the reasons", SOON, || shown(&bench, &ada)["reasons"] == wanted);
        reasons(json!(["upstream_disabled", "by_hand"]));
        team.tenant.patch_user(team.ada, json!({"accountEnabled": true})).unwrap();
        reasons(json!(["by_hand"]));

        let told = bench.run(&["record", "activate", &ada, "--reason", "back from leave"]);
        assert!(told.code == 0 && told.stdout.contains("comes back"), "{}{}", told.stdout, told.stderr);
        bench.wait_for("the record is active", SOON, || shown(&bench, &ada)["status"] == "active");
        let now = shown(&bench, &ada);
        assert_eq!((&now["id"], &now["activating"]), (&json!(ada), &json!(false)));
        assert!(now["sessions_ended_at"].is_string(), "{now:#}");
        let reasons = now["history"].as_array().unwrap().iter().filter_map(|entry| entry["reason"].as_str());
        assert_eq!(reasons.collect::<Vec<_>>(), ["back from leave", "on leave"]);

        team.tenant.delete_user(team.alan, false).unwrap();
        let alan = id_of(&bench, "Alan Turing");
        bench.wait_for("alan is out", SOON, || shown(&bench, &alan)["status"] == "inactive");
        let refused = bench.run(&["record", "activate", &alan, "--reason", "please"]);
        assert!(refused.code == 3 && refused.stderr.contains("upstream_deleted"), "{}", refused.stderr);
    })
    .await;
}

/// G-24, M8.
#[tokio::test(flavor = "multi_thread")]
async fn g_24_root_is_marked_by_id_on_the_host_and_touched_by_nobody() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        let _serving = in_step(&bench, &team);
        let (ada, alan) = (id_of(&bench, "Ada Lovelace"), id_of(&bench, "Alan Turing"));
        assert_eq!(bench.run(&["record", "root", "ada.lovelace@contoso.example"]).code, 2, "by its local id alone");
        assert_eq!(bench.json(&["record", "root", &ada])["root"], true);
        for refused in [
            &["record", "deactivate", &ada, "--reason", "x"][..],
            &["record", "edit", &ada, "--set", "username=boss", "--yes"],
            &["record", "edit", &alan, "--set", "email= ADA.lovelace@contoso.EXAMPLE", "--yes"],
            &["record", "root", &alan],
        ] {
            let ran = bench.run(refused);
            assert!(ran.code == 3 && ran.stderr.contains("root"), "{refused:?}: {} {}", ran.code, ran.stderr);
        }
        team.tenant.delete_user(team.ada, false).unwrap();
        team.tenant.delete_user(team.alan, false).unwrap();
        bench.wait_for("alan is out", SOON, || shown(&bench, &alan)["status"] == "inactive");
        bench.wait_for("nothing waits", SOON, || {
            let events = bench.json(&["event", "list"]);
            events.as_array().unwrap().iter().all(|event| event["status"] == "applied")
        });
        assert_eq!(shown(&bench, &ada)["status"], "active");

        assert_eq!(bench.json(&["record", "mark-in-use", &alan])["in_use"], true);
        assert_eq!(bench.json(&["record", "mark-in-use", &alan, "--clear"])["in_use"], false);
    })
    .await;
}
