//! `rule plan` and `rule apply`: what is shown is what is confirmed (M12).

use lockstep_simulator::NewUser;
use serde_json::{Value, json};

use crate::workbench::{Team, Workbench, blocking};

/// A team that is synced, with `serve` running.
fn synced(team: &Team) -> (Workbench, crate::workbench::Serving) {
    let bench = team.connected();
    let serving = bench.serve();
    bench.json(&["connection", "sync", "contoso", "--wait"]);
    (bench, serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn m12_the_full_plan_is_a_table_json_and_csv() {
    let team = Team::start().await;
    blocking(move || {
        let (bench, _serving) = synced(&team);
        bench.write("rules.toml", &team.rules().replace("Technician", "Engineer"));
        let plan = bench.json(&["rule", "plan", "contoso", "rules.toml", "--full"]);
        assert_eq!(plan["role_changed"]["count"], Team::SIZE, "{plan:#}");
        assert_eq!(plan["people"].as_array().map(Vec::len), usize::try_from(Team::SIZE).ok());
        let change = json!([{"field": "role", "before": "Technician", "after": "Engineer"}]);
        assert_eq!((&plan["people"][0]["what"], &plan["people"][0]["changes"]), (&json!("role_changed"), &change));

        let table = bench.run(&["rule", "plan", "contoso", "rules.toml", "--full"]).stdout;
        assert!(table.contains("role: Technician → Engineer"), "{table}");
        let csv = bench.run(&["rule", "plan", "contoso", "rules.toml", "--output", "csv"]).stdout;
        let mut lines = csv.lines();
        assert_eq!(lines.next(), Some("what,record,entra id,name,rule,changes"));
        assert_eq!(lines.filter(|line| line.starts_with("role_changed,")).count() as u64, Team::SIZE);
        assert_eq!(bench.run(&["record", "list", "--output", "csv"]).code, 2, "no other command has it");

        // Every group is mirrored: no sync is needed, and the change arrives.
        let applied = bench.run(&["rule", "apply", "contoso", "rules.toml"]);
        assert!(applied.stdout.contains("from what is known already"), "{}", applied.stdout);
        bench.wait_for_records("all are engineers", |records| records.iter().all(|one| one["role"] == "Engineer"));
        let list = bench.json(&["rule", "list", "contoso"]);
        assert_eq!((&list[0]["group_state"], &list[0]["members"]), (&json!("in_use"), &json!(Team::SIZE)));
        let explained = bench.run(&["record", "explain", bench.json(&["record", "list"])[0]["id"].as_str().unwrap()]);
        assert!(explained.stdout.contains("yes: by the rule for Staff (order 10)"), "{}", explained.stdout);
    })
    .await;
}

/// "Refuses to apply a plan that the directory has outrun": the confirmation is for the people who were shown.
#[tokio::test(flavor = "multi_thread")]
async fn m12_nobody_loses_access_whom_the_shown_plan_did_not_name() {
    let team = Team::start().await;
    blocking(move || {
        let (bench, _serving) = synced(&team);
        let apply = ["rule", "apply", "contoso", "rules.toml", "--yes"];
        bench.write("rules.toml", &format!("[[rule]]\ngroup = \"{}\"\nexclude = true\n", team.group));
        assert_eq!(bench.json(&["rule", "plan", "contoso", "rules.toml"])["deactivated"]["count"], Team::SIZE);
        let late = team.tenant.create_user(NewUser::named("Late Comer"));
        team.tenant.add_member(team.group, late).unwrap();
        let active = |records: &[Value]| records.iter().filter(|one| one["status"] == "active").count();
        bench.wait_for_records("one more", |records| active(records) as u64 == Team::SIZE + 1);

        let refused = bench.run(&apply);
        assert_eq!(refused.code, 3, "{}", refused.stderr);
        assert!(refused.stderr.contains("1 more people would lose access"), "{}", refused.stderr);
        assert_eq!(bench.json(&["rule", "list", "contoso"])[0]["exclude"], false, "nothing was changed");

        // Now they were shown.
        assert_eq!(bench.run(&apply).code, 0);
        bench.wait_for_records("all are out", |records| active(records) == 0);
        let audit = bench.json(&["audit", "list"]);
        let entry =
            |action: &str| audit.as_array().unwrap().iter().find(|one| one["action"] == action).cloned().unwrap();
        assert_eq!(entry("rule.apply")["detail"]["plan"]["deactivated"], Team::SIZE + 1, "the plan is kept (M12)");
        assert_eq!(
            entry("rule.plan")["detail"]["leaving"].as_array().map(Vec::len),
            usize::try_from(Team::SIZE + 1).ok()
        );
    })
    .await;
}

/// "First live sync shows its plan" (M12): before it does anything, and once.
#[tokio::test(flavor = "multi_thread")]
async fn m12_the_first_sync_shows_its_plan_first() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let sync = ["connection", "sync", "contoso", "--wait"];
        let listed = || team.simulator.counters().requests.get("GET /groups/{id}/transitiveMembers").copied();
        // Nobody is at work until the plan is made.
        let before = listed();
        let shown = std::thread::scope(|scope| {
            let shown = scope.spawn(|| bench.run(&sync));
            bench.wait_for("the plan to be made", crate::workbench::SOON, || listed() > before);
            let serving = bench.serve();
            (shown.join().unwrap(), serving)
        });
        let (first, _serving) = shown;
        assert_eq!(first.code, 0, "{}", first.stderr);
        let plan = first.stdout.find("the plan of the first sync").expect("the plan is shown");
        let done = first.stdout.find(&format!("{} users in", Team::SIZE)).expect("what was done is shown");
        assert!(plan < done, "{}", first.stdout);
        let created = |line: &str| line.starts_with("created ") && line.contains(&format!(" {} ", Team::SIZE));
        assert!(first.stdout[plan..done].lines().any(created), "{}", first.stdout);
        assert_eq!(bench.json(&sync)["plan"], Value::Null, "later ones have none");
    })
    .await;
}
