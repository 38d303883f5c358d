//! The first thing anybody sees.

use serde_json::Value;

use crate::workbench::Workbench;

#[test]
fn every_change_of_the_demo_arrives() {
    let bench = Workbench::fresh();
    let ran = bench.run(&["demo", "--once", "--users", "12", "--output", "json"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stderr, ran.stdout);
    let result: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(result["initial_sync"]["users"].as_u64().unwrap() >= 6, "{result:#}");
    let changes = result["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 8, "{result:#}");
    for change in changes {
        assert_eq!(change["observed"], change["expected"], "{change:#}");
    }
    let left = std::fs::read_dir(bench.folder.path()).unwrap().count();
    assert_eq!(left, 0, "the demo leaves nothing behind");
}

#[test]
fn the_demo_shows_a_plain_table_where_there_is_no_terminal() {
    let ran = Workbench::fresh().run(&["demo", "--once", "--users", "12"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stderr, ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'));
    for word in ["Grace Hopper is hired", "two reads 10 s apart", "All 8 changes arrived"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
}

#[test]
fn too_few_people_for_the_brake_are_refused() {
    assert_eq!(Workbench::fresh().run(&["demo", "--users", "3"]).code, 2);
}

/// FA-29, D6: the accident comes out right: exactly the excess is held, half of it approved, the others restored.
#[test]
fn fa_29_the_accident_of_the_demo_comes_out_right() {
    let bench = Workbench::fresh();
    assert_eq!(bench.run(&["demo", "--scene", "accident", "--users", "60"]).code, 2, "nobody would be held");
    let ran = bench.run(&["demo", "--scene", "accident", "--once", "--users", "200"]);
    assert_eq!(ran.code, 0, "{}\n{}", ran.stderr, ran.stdout);
    for words in ["more would trip it", "hold show", "upstream_disabled", "hold approve --only", "0 held"] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
}
