//! `review show` and `review settle`: what is shown, what wants a yes, and what comes of it.

use serde_json::json;

use crate::workbench::{SOON, Team, blocking};

#[tokio::test(flavor = "multi_thread")]
async fn th09_a_privileged_record_is_linked_by_a_yes_and_the_link_is_undone() {
    let team = Team::start().await;
    let domain = team.tenant.domain();
    blocking(move || {
        let bench = team.connected_with(&format!(
            r#"{{"kind": "employee", "email": "ada.lovelace@{domain}", "host_id": "17", "display_name": "Ada", "privileged": true}}"#
        ));
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

/// M3, G-20: the application knows her by another address than the sync found first; an admin says that both are hers.
#[tokio::test(flavor = "multi_thread")]
async fn m3_two_records_of_one_person_are_merged_by_an_admin() {
    let team = Team::start().await;
    let domain = team.tenant.domain();
    blocking(move || {
        let bench =
            team.connected_with(&format!(r#"{{"kind": "employee", "email": "ada.king@{domain}", "host_id": "17"}}"#));
        let _serving = bench.serve();
        let ada = team.ada.to_string();
        bench.wait_for_records("the sync made a second one", |records| {
            records.iter().any(|one| one["entra_id"] == json!(ada))
        });
        team.tenant.patch_user(team.ada, json!({ "mail": format!("ada.king@{domain}") })).unwrap();
        bench.wait_for("the question", SOON, || {
            bench.run(&["connection", "sync", "contoso", "--user", &ada, "--wait"]);
            bench.json(&["review", "list"])[0]["kind"] == "address_taken"
        });
        let review = bench.json(&["review", "list"])[0].clone();
        let id = review["id"].as_str().unwrap();
        let shown = bench.run(&["review", "show", id]).stdout;
        for words in ["merge", "both records are this person's", "is archived"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        let refused = bench.run(&["review", "settle", id, "merge"]);
        assert!(refused.code == 3 && refused.stderr.contains("--yes"), "{}", refused.stderr);
        assert_eq!(bench.run(&["review", "settle", id, "merge", "--yes", "--reason", "hers"]).code, 0);
        bench.wait_for_records("one live, one archived", |records| {
            let of = |status: &str| {
                records.iter().filter(|one| one["status"] == status && one["entra_id"] == json!(ada)).count()
            };
            of("active") == 1 && of("archived") == 1
        });
        let live = bench.json(&["record", "show", &format!("ada.king@{domain}")]);
        assert_eq!((&live["id"], &live["status"]), (&review["candidates"][0], &json!("active")));
        let trail = bench.json(&["audit", "list"]).to_string();
        assert!(trail.contains("record.merge") && trail.contains("hers"), "what and why");
    })
    .await;
}
