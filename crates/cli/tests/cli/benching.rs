//! `lockstep bench`: each measurement runs to its end, prints one object a figure, and leaves nothing behind. How fast the
//! machine is decides nothing here.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::workbench::Workbench;

/// The figures of a run as small as can be.
fn measured(what: &str) -> Vec<Value> {
    let bench = Workbench::fresh();
    let figures = bench.json(&["bench", what, "--people", "20", "--seconds", "1"]);
    assert_eq!(std::fs::read_dir(bench.folder.path()).unwrap().count(), 0, "nothing is kept where it was started");
    figures.as_array().unwrap().clone()
}

fn ids(figures: &[Value]) -> BTreeSet<&str> {
    figures.iter().map(|figure| figure["id"].as_str().unwrap()).collect()
}

#[test]
fn t3_ingest_is_measured_against_its_references() {
    let figures = measured("ingest");
    assert_eq!(ids(&figures), BTreeSet::from(["T15", "T2", "T3"]));
    let names: BTreeSet<&str> = figures.iter().filter_map(|figure| figure["reference"]["name"].as_str()).collect();
    assert_eq!(names, BTreeSet::from(["alone", "an accepted one", "bare", "sqlite"]));
    let share = &figures[0];
    let keys: BTreeSet<&str> = share.as_object().unwrap().keys().map(String::as_str).collect();
    let all = ["figure", "goal", "id", "limit", "ratio", "reached", "reference", "unit", "what"];
    assert_eq!(keys, BTreeSet::from(all), "absent is null, never left out");
    assert!(share["ratio"].as_f64().unwrap() > 0.0 && share["goal"]["ratio_at_least"].is_f64(), "{share:#}");
}

#[test]
fn t4_t5_t6_changes_are_measured_from_hint_to_record() {
    assert_eq!(ids(&measured("apply")), BTreeSet::from(["T4", "T5", "T6"]));
}

#[test]
fn t8_a_sync_is_measured_and_goes_on_after_a_kill() {
    let figures = measured("sync");
    assert_eq!(ids(&figures), BTreeSet::from(["T8"]));
    assert_eq!(figures.last().unwrap()["unit"], "pages");
}

#[test]
fn t7_t10_t11_t13_what_grows_is_measured() {
    assert_eq!(ids(&measured("scale")), BTreeSet::from(["T10", "T11", "T13", "T7"]));
}

#[test]
fn t14_a_replay_is_measured_beside_live_changes() {
    let figures = measured("replay");
    assert_eq!(ids(&figures), BTreeSet::from(["T14"]));
    assert_eq!(figures.len(), 2);
}

#[test]
fn t9_a_rule_change_is_measured_with_its_plan() {
    let figures = measured("rules");
    assert_eq!(ids(&figures), BTreeSet::from(["T9"]));
    assert_eq!(figures.len(), 6, "nobody, a few and nearly all change; each decided and planned");
}
