//! `review show` and `review settle`: what is shown, what wants a yes, and what comes of it.

use crate::workbench::{SOON, Team, Workbench, blocking};

#[tokio::test(flavor = "multi_thread")]
async fn th09_a_privileged_record_is_linked_by_a_yes_and_the_link_is_undone() {
    let team = Team::start().await;
    let bench = Workbench::with(&team.simulator);
    let domain = team.tenant.domain();
    blocking(move || {
        assert_eq!(bench.connect(&team.tenant).code, 0);
        let line = format!(
            r#"{{"kind": "employee", "email": "ada.lovelace@{domain}", "host_id": "17", "display_name": "Ada", "privileged": true}}"#
        );
        bench.write("people.jsonl", &line);
        assert_eq!(bench.run(&["record", "import", "people.jsonl", "--connection", "contoso"]).code, 0);
        bench.write("rules.toml", &team.rules());
        assert_eq!(bench.run(&["rule", "apply", "contoso", "rules.toml"]).code, 0);
        let _serving = bench.serve();
        bench.wait_for("the question", SOON, || bench.json(&["review", "list"])[0]["id"].is_string());
        let review = bench.json(&["review", "list"]).as_array().unwrap()[0].clone();
        let id = review["id"].as_str().unwrap();

        let shown = bench.run(&["review", "show", id]).stdout;
        for words in ["privileged", "keep_apart", "it keeps its id"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert_eq!(bench.run(&["review", "settle", id, "reassign"]).code, 2, "it is not offered");
        let refused = bench.run(&["review", "settle", id, "link"]);
        assert!(refused.code == 3 && refused.stderr.contains("--yes"), "{}", refused.stderr);
        assert_eq!(bench.run(&["review", "settle", id, "link", "--yes", "--reason", "it is her"]).code, 0);
        bench.wait_for_records("she is linked", |records| {
            records.iter().any(|record| record["display_name"] == "Ada Lovelace" && !record["entra_id"].is_null())
        });
        bench.wait_for("it says when", SOON, || bench.json(&["review", "show", id])["applied_at"].is_string());
        let trail = bench.json(&["audit", "list"]).to_string();
        assert!(trail.contains("review.settle") && trail.contains("it is her"), "who and why");

        assert_eq!(bench.run(&["review", "settle", id, "link", "--yes"]).code, 3, "settled is settled");
        assert_eq!(bench.run(&["review", "settle", id, "unlink", "--yes"]).code, 0);
        bench.wait_for_records("it has again what it had", |records| {
            records.iter().any(|record| record["display_name"] == "Ada" && record["entra_id"].is_null())
        });
    })
    .await;
}
