//! Core decides and does nothing else: what could wait, read a clock, draw chance or talk to anybody is not in its tree.

use std::process::Command;

#[test]
fn core_depends_on_nothing_that_waits_or_talks() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", "lockstep-core", "-e", "normal", "--prefix", "none", "-f", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo tree");
    let tree = String::from_utf8_lossy(&output.stdout);
    let crates: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains(&"jiff"), "{}", String::from_utf8_lossy(&output.stderr));
    for banned in ["tokio", "sqlx", "reqwest", "axum", "lapin", "getrandom", "rand", "cel", "antlr4rust"] {
        assert!(!crates.contains(&banned), "core depends on {banned}");
    }
}
