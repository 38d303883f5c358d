//! The house plan as a test: who may know whom, and what `core` must never know (design.md, Crates).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crates by layer; a crate may know its own layer's listed neighbours and every layer below, never above.
const ALLOWED: &[(&str, &[&str])] = &[
    ("lockstep-core", &[]),
    ("lockstep-store", &["lockstep-core"]),
    ("lockstep-queue", &["lockstep-core"]),
    ("lockstep-graph", &["lockstep-core"]),
    ("lockstep-simulator", &[]),
    ("lockstep-receiver", &["lockstep-core", "lockstep-store", "lockstep-queue"]),
    ("lockstep-worker", &["lockstep-core", "lockstep-store", "lockstep-queue", "lockstep-graph"]),
    (
        "lockstep-benches",
        &["lockstep-core", "lockstep-store", "lockstep-queue", "lockstep-worker", "lockstep-simulator"],
    ),
    (
        "lockstep-cli",
        &[
            "lockstep-benches",
            "lockstep-core",
            "lockstep-store",
            "lockstep-queue",
            "lockstep-graph",
            "lockstep-receiver",
            "lockstep-worker",
            "lockstep-simulator",
        ],
    ),
];

/// Crates that exist for tests only: no product crate may need them.
const FOR_TESTS: &[&str] = &["lockstep-testkit", "lockstep-tests"];

/// What would let a decision wait, read a clock or talk to somebody.
const NEVER_IN_CORE: &[&str] = &["tokio", "sqlx", "reqwest", "axum", "lapin", "hyper", "rustls", "getrandom"];

fn cargo(arguments: &[&str]) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(root)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

fn normal_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let metadata: serde_json::Value =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--no-deps"])).expect("metadata is json");
    let packages = metadata["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies");
            let ours = dependencies
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
                .filter_map(|dependency| dependency["name"].as_str())
                .filter(|name| name.starts_with("lockstep-"))
                .map(str::to_owned);
            (package["name"].as_str().expect("name").to_owned(), ours.collect())
        })
        .collect()
}

#[test]
fn every_crate_keeps_to_the_direction() {
    let found = normal_dependencies();
    for (name, dependencies) in &found {
        if FOR_TESTS.contains(&name.as_str()) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(allowed_name, _)| allowed_name == name) else {
            panic!("{name} is in no layer: add it to ALLOWED and to ARCHITECTURE.md");
        };
        for dependency in dependencies {
            assert!(allowed.contains(&dependency.as_str()), "{name} must not know {dependency}");
        }
    }
    for (name, _) in ALLOWED {
        assert!(found.contains_key(*name), "{name} is in the plan but not in the workspace");
    }
}

#[test]
fn core_cannot_wait_or_talk() {
    let tree = cargo(&["tree", "-p", "lockstep-core", "-e", "normal", "--prefix", "none", "--format", "{p}"]);
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.contains("serde"), "the tree was read: {names:?}");
    for banned in NEVER_IN_CORE {
        assert!(!names.contains(banned), "lockstep-core depends on {banned}");
    }
}
