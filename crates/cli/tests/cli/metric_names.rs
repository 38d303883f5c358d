//! docs/operations.md names every metric, and none that does not exist: alarms and dashboards are made from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn names(text: &str, begin: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.match_indices(begin)
        .map(|(at, _)| &text[at + 1..])
        .map(|rest| rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())].to_owned())
        .collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn p_3_every_metric_is_documented_and_every_documented_one_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let documented = names(&std::fs::read_to_string(root.join("docs/operations.md")).unwrap(), "`lockstep_");
    let mut files = Vec::new();
    for krate in ["cli", "core", "graph", "queue", "receiver", "store", "worker"] {
        sources(&root.join("crates").join(krate).join("src"), &mut files);
    }
    // Crates are called so as well.
    let is_metric = |name: &String| !root.join("crates").join(name.trim_start_matches("lockstep_")).is_dir();
    let written: BTreeSet<String> = files
        .iter()
        .flat_map(|file| names(&std::fs::read_to_string(file).unwrap(), "\"lockstep_"))
        .filter(is_metric)
        .collect();
    assert!(written.len() > 40, "{written:?}");
    let missing: Vec<_> = written.difference(&documented).collect();
    let invented: Vec<_> = documented.difference(&written).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not documented: {missing:?}; documented only: {invented:?}");
}
