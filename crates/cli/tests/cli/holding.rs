//! `hold approve` and `hold reject`: what they ask for, what they print and how they end (D6).

use std::time::Duration;

use serde_json::{Value, json};

use crate::workbench::{Team, Workbench, blocking};

const SOON: Duration = Duration::from_secs(60);

fn open_holds(bench: &Workbench) -> Vec<Value> {
    let holds = bench.json(&["hold", "list"]);
    holds.as_array().unwrap().iter().filter(|hold| hold["state"] == "open").cloned().collect()
}

fn count(bench: &Workbench, hold: &str, state: &str) -> usize {
    let hold = bench.json(&["hold", "show", hold]);
    hold["people"].as_array().unwrap().iter().filter(|person| person["state"] == state).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn d6_a_hold_is_approved_for_some_and_rejected_for_the_rest_by_command() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let serving = bench.serve();
        bench.json(&["connection", "sync", "contoso", "--wait"]);
        let forecast = bench.run(&["connection", "show", "contoso"]).stdout;
        assert!(forecast.contains("5 more would trip it"), "half of eight may go: {forecast}");

        for record in bench.json(&["record", "list"]).as_array().unwrap() {
            let user = record["entra_id"].as_str().unwrap().parse().unwrap();
            team.tenant.patch_user(user, json!({ "accountEnabled": false })).unwrap();
        }
        bench.json(&["connection", "sync", "contoso", "--wait"]);
        let held = || open_holds(&bench).first().map_or(0, |hold| hold["people"].as_array().unwrap().len());
        bench.wait_for("four are held", SOON, || held() == 4);
        let hold = open_holds(&bench).remove(0);
        let (id, people) = (hold["id"].as_str().unwrap(), hold["people"].as_array().unwrap());
        let records: Vec<&str> = people.iter().map(|person| person["record"].as_str().unwrap()).collect();
        assert!(people.iter().all(|person| person["display_name"].is_string()), "{hold:#}");

        let approve = ["hold", "approve", id, "--reason", "they left"];
        let asked = bench.run(&approve);
        assert_eq!(asked.code, 3, "{}", asked.stderr);
        assert!(asked.stderr.contains("4 people") && asked.stderr.contains("--yes"), "{}", asked.stderr);
        assert_eq!(count(&bench, id, "held"), 4, "nothing was changed");
        let stranger = bench.run(&[&approve[..], &["--yes", "--only", id]].concat());
        assert_eq!(stranger.code, 1, "{}", stranger.stderr);

        let some = bench.run(&[&approve[..], &["--yes", "--only", records[0], records[1]]].concat());
        assert_eq!(some.code, 0, "{}", some.stderr);
        bench.wait_for("two are gone", SOON, || count(&bench, id, "gone") == 2);
        assert_eq!(count(&bench, id, "held"), 2);
        let shown = bench.run(&["hold", "show", id]).stdout;
        assert!(shown.contains("2 held; 2 gone") && shown.contains("they left"), "{shown}");

        let rest = bench.run(&["hold", "reject", id, "--reason", "a mistake"]);
        assert_eq!(rest.code, 0, "{}", rest.stderr);
        assert!(rest.stdout.contains("2 people stay"), "{}", rest.stdout);
        assert_eq!((count(&bench, id, "kept"), open_holds(&bench).len()), (2, 0));
        let late = bench.run(&[&approve[..], &["--yes", "--only", records[2]]].concat());
        assert_eq!(late.code, 3, "the first answer stands: {}", late.stderr);
        assert!(late.stderr.contains("was rejected"), "{}", late.stderr);
        let again = bench.run(&["hold", "reject", id, "--reason", "a mistake", "--only", records[2]]);
        assert_eq!(again.code, 0, "harmless: {}", again.stderr);

        let trail = bench.json(&["audit", "list"]);
        let answers = trail.as_array().unwrap().iter().filter(|entry| entry["object_kind"] == "hold");
        let actions: Vec<&str> = answers.map(|entry| entry["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["hold.reject", "hold.approve", "hold.open"], "newest first");
        bench.wait_for("the log tells of it", SOON, || {
            std::fs::read_to_string(bench.path("serve.log")).unwrap().contains("although Microsoft shows them as out")
        });
        assert_eq!(serving.metric("lockstep_people_kept"), Some(2.0));
    })
    .await;
}
