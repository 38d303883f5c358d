//! From a fresh folder to rules: `connection add`, `rule plan`, `rule apply`, `record import`.

use lockstep_simulator::NewGroup;
use serde_json::json;

use crate::workbench::{Team, Workbench, blocking};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_checked_stored_and_shown_with_its_next_step() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        let added = bench.connect(&team.tenant);
        assert_eq!(added.code, 0, "{}", added.stderr);
        assert!(added.stdout.contains("lockstep rule plan contoso rules.toml"), "{}", added.stdout);

        let connections = bench.json(&["connection", "list"]);
        assert_eq!(connections[0]["name"], "contoso");
        assert_eq!(connections[0]["tenant_id"], team.tenant.id().to_string());
        assert_eq!(connections[0]["state"], "active");
        assert_eq!(bench.json(&["connection", "show", "contoso"]), connections[0]);

        let again = bench.connect(&team.tenant);
        assert_eq!(again.code, 1, "{}", again.stdout);
        assert_eq!(bench.run(&["connection", "check", "contoso"]).code, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn g_25_a_wrong_secret_stores_nothing_and_is_never_repeated() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        bench.write("secret", "canary-secret");
        let (tenant, client) = (team.tenant.id().to_string(), team.tenant.client_id().to_string());
        let ran = bench.run(&[
            "connection",
            "add",
            "contoso",
            "--tenant",
            &tenant,
            "--client-id",
            &client,
            "--client-secret-file",
            "secret",
        ]);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("AADSTS7000215"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("canary-secret") && ran.stdout.is_empty());
        assert_eq!(bench.json(&["connection", "list"]), json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_a_new_secret_is_checked_before_it_takes_the_place_of_the_old_one() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        bench.write("new", "canary-secret\n");
        let rotate = ["connection", "rotate", "contoso", "--client-secret-file", "new"];
        let refused = bench.run(&rotate);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains("AADSTS7000215"), "{}", refused.stderr);
        assert_eq!(bench.run(&["connection", "check", "contoso"]).code, 0, "the old one stays");

        team.tenant.set_client_secret("canary-secret");
        let rotated = bench.run(&rotate);
        assert_eq!(rotated.code, 0, "{}", rotated.stderr);
        assert_eq!(bench.run(&["connection", "check", "contoso"]).code, 0);
        let audit = bench.json(&["audit", "list"]).to_string();
        assert!(audit.contains("connection.rotate"), "{audit}");
        let said = [&refused.stderr, &rotated.stdout, &rotated.stderr, &audit];
        assert!(said.iter().all(|text| !text.contains("canary-secret")), "{said:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn th_09_a_domain_the_tenant_has_not_verified_is_refused() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        bench.write("secret", &team.tenant.client_secret());
        let (tenant, client) = (team.tenant.domain(), team.tenant.client_id().to_string());
        let base = [
            "connection",
            "add",
            "contoso",
            "--tenant",
            &tenant,
            "--client-id",
            &client,
            "--client-secret-file",
            "secret",
        ];
        let foreign = bench.run(&[&base[..], &["--domain", "fabrikam.example"]].concat());
        assert_eq!(foreign.code, 1);
        assert!(foreign.stderr.contains("fabrikam.example"), "{}", foreign.stderr);
        assert_eq!(bench.json(&["connection", "list"]), json!([]));

        let own = bench.run(&[&base[..], &["--domain", &tenant]].concat());
        assert_eq!(own.code, 0, "{}", own.stderr);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_fails_the_check_by_its_name() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        team.tenant.set_permissions(vec!["User.Read.All".to_owned(), "Organization.Read.All".to_owned()]);
        let checked = bench.run(&["connection", "check", "contoso", "--output", "json"]);
        assert_eq!(checked.code, 3, "{}", checked.stderr);
        let checks: Vec<serde_json::Value> = serde_json::from_str(&checked.stdout).unwrap();
        let failed: Vec<_> =
            checks.iter().filter(|check| check["ok"] == false).map(|check| check["check"].clone()).collect();
        assert_eq!(failed, ["permission Group.Read.All"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_planned_then_applied() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        let too_early = bench.run(&["connection", "sync", "contoso"]);
        assert_eq!(too_early.code, 1);
        assert!(too_early.stderr.contains("rule plan"), "{}", too_early.stderr);

        bench.write("rules.toml", &team.rules());
        let plan = bench.json(&["rule", "plan", "contoso", "rules.toml"]);
        assert_eq!(plan["created"]["count"], Team::SIZE, "{plan:#}");
        assert_eq!(plan["deactivated"]["count"], 0);
        assert_eq!(bench.json(&["rule", "list", "contoso"]), json!([]), "a plan changes nothing");

        let applied = bench.run(&["rule", "apply", "contoso", "rules.toml"]);
        assert_eq!(applied.code, 0, "{}", applied.stderr);
        assert!(applied.stdout.contains("connection sync contoso --wait"), "{}", applied.stdout);
        assert_eq!(bench.json(&["rule", "list", "contoso"])[0]["group_name"], "Staff");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_whose_group_is_missing_or_hidden_is_refused_by_its_id() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        let mut hidden = NewGroup::named("Hidden");
        hidden.extra.insert("visibility".to_owned(), json!("HiddenMembership"));
        let hidden = team.tenant.create_group(hidden).to_string();
        let missing = "00000000-0000-4000-8000-000000000000".to_owned();
        for (group, why) in [(missing, "does not exist"), (hidden, "hidden membership")] {
            bench.write("rules.toml", &team.rules().replace(&team.group.to_string(), &group));
            for verb in ["plan", "apply"] {
                let ran = bench.run(&["rule", verb, "contoso", "rules.toml"]);
                assert_eq!(ran.code, 1, "{}", ran.stdout);
                assert!(ran.stderr.contains(&group) && ran.stderr.contains(why), "{}", ran.stderr);
            }
        }
        bench.write("rules.toml", "[[rule]]\ngroop = \"x\"\n");
        let typo = bench.run(&["rule", "plan", "contoso", "rules.toml"]);
        assert!(typo.code == 1 && typo.stderr.contains("line 2"), "{}", typo.stderr);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_work_is_said_after_ten_seconds() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let ran = bench.run(&["connection", "sync", "contoso", "--wait"]);
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("lockstep serve"), "{}", ran.stderr);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_connection_wants_a_yes() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        let asked = bench.run(&["connection", "remove", "contoso"]);
        assert_eq!((asked.code, asked.stdout.as_str()), (3, ""));
        assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
        assert_eq!(bench.json(&["connection", "list"])[0]["name"], "contoso");
        let removed = bench.run(&["connection", "remove", "contoso", "--yes"]);
        assert_eq!(removed.code, 0, "{}", removed.stderr);
        assert_eq!(bench.json(&["connection", "list"]), json!([]));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r6_people_are_imported_once_and_mistakes_are_named_by_line() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        bench.write(
            "people.jsonl",
            "{\"kind\": \"employee\", \"email\": \"ada.lovelace@contoso.example\", \"host_id\": \"1\"}\n",
        );
        let import = ["record", "import", "people.jsonl", "--connection", "contoso"];
        assert_eq!(bench.json(&import)["imported"], 1);
        assert_eq!(bench.json(&import)["unchanged"], 1);
        assert_eq!(bench.json(&["record", "show", "ADA.Lovelace@contoso.example"])["kind"], "employee");

        bench.write("wrong.jsonl", "{\"kind\": \"employee\"}\n{\"kind\": \"robot\"}\n");
        let wrong = bench.run(&["record", "import", "wrong.jsonl", "--connection", "contoso"]);
        assert!(wrong.code == 1 && wrong.stderr.contains("line 2"), "{}", wrong.stderr);
        assert_eq!(bench.json(&["record", "list"]).as_array().unwrap().len(), 1, "half a file is not imported");
        assert_eq!(bench.run(&["record", "import", "people.jsonl"]).code, 2, "a realm must be named");
    })
    .await;
}
