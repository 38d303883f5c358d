//! `rule try`: a rules file on one person, before anything is saved.

use serde_json::json;

use crate::workbench::{Team, Workbench, blocking};

#[tokio::test(flavor = "multi_thread")]
async fn m11_a_rules_file_is_tried_on_one_person_and_nothing_is_saved() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        team.tenant.set_manager(team.ada, Some(team.alan)).unwrap();
        let fields = "\n[fields]\nlead = 'lower(user.manager.displayName)'\ninitial = 'substring(user.displayName, 0, 1)'\nwhen = 'date(user.displayName)'\n";
        bench.write("rules.toml", &(team.rules() + fields));
        let (ada, tried) = (team.ada.to_string(), ["rule", "try", "contoso", "rules.toml", "--user"]);

        let trial = bench.json(&[&tried[..], &[&ada]].concat());
        assert_eq!((&trial["access"], &trial["role"]), (&json!(true), &json!("Technician")), "{trial:#}");
        assert_eq!(trial["rules"][0]["outcome"], "won");
        assert_eq!(trial["rules"][0]["member"], "direct");
        let field = |name: &str| {
            let fields = trial["fields"].as_array().unwrap();
            fields.iter().find(|field| field["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
        };
        assert_eq!(field("initial")["value"], "A");
        assert_eq!(field("lead")["value"], "alan turing");
        assert_eq!(field("manager")["value"], "Alan Turing");
        assert_eq!(field("initial")["expression"], "substring(user.displayName, 0, 1)");
        assert_eq!(field("when")["error"], "the value is not a date");
        assert_eq!(field("display_name")["value"], "Ada Lovelace");

        let upn = field("upn")["value"].as_str().unwrap().to_owned();
        let table = bench.run(&[&tried[..], &[&upn]].concat());
        assert_eq!(table.code, 0, "{}", table.stderr);
        for shown in ["yes, by the rule for Staff", "failed: the value is not a date", "substring(user.displayName"] {
            assert!(table.stdout.contains(shown), "{shown}: {}", table.stdout);
        }
        assert_eq!(bench.json(&["rule", "list", "contoso"]), json!([]), "nothing is saved");
        assert_eq!(bench.json(&["record", "list"]), json!([]));

        let nobody = bench.run(&[&tried[..], &["nobody@contoso.example"]].concat());
        assert!(nobody.code == 1 && nobody.stderr.contains("knows no user"), "{}", nobody.stderr);
    })
    .await;
}

/// M11, BI-55: refused with the place, by every command that reads the file.
#[tokio::test(flavor = "multi_thread")]
async fn m11_a_bad_expression_is_refused_with_line_and_column() {
    let team = Team::start().await;
    blocking(move || {
        let bench = Workbench::with(&team.simulator);
        assert_eq!(bench.connect(&team.tenant).code, 0);
        bench.write("rules.toml", "[fields]\nteam = 'lower(user.departement)'\n");
        let ada = team.ada.to_string();
        for verb in [&["plan"][..], &["apply"], &["try", "--user", &ada]] {
            let ran = bench.run(&[&["rule"][..], verb, &["contoso", "rules.toml"]].concat());
            let said = ran.stderr.contains("line 2, column 20") && ran.stderr.contains("user.department");
            assert!(ran.code == 1 && said, "{verb:?}: {}", ran.stderr);
        }
    })
    .await;
}
