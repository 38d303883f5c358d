//! What the deployment files name must exist in the program (ISSUE 4, 5 and 6): they are not run here, and a name that is
//! wrong in them fails silently, as a setting nobody reads or an alert that never fires.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const SETTINGS: &str = "crates/cli/src/settings.rs";

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below a folder, but nothing that an installation made for itself.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![Path::new(ROOT).join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the project").flatten() {
            match entry.path() {
                path if path.ends_with("deploy/secrets") => {}
                path if path.is_dir() => open.push(path),
                path => found.push(path),
            }
        }
    }
    found
}

fn deployment_files() -> Vec<PathBuf> {
    let mut all = files("deploy");
    all.extend(["docker-compose.yml", "Dockerfile"].map(|name| Path::new(ROOT).join(name)));
    all
}

/// All source code of the program, its tests excepted.
fn source() -> String {
    let crates = std::fs::read_dir(Path::new(ROOT).join("crates")).expect("crates").flatten();
    let folders = crates.map(|entry| format!("crates/{}/src", entry.file_name().to_string_lossy()));
    let files = folders.flat_map(|folder| files(&folder)).filter(|path| path.extension().is_some_and(|it| it == "rs"));
    files.map(read).collect()
}

/// The identifiers that begin with these letters.
fn names<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| word.starts_with(prefix) && word.len() > prefix.len())
        .collect()
}

/// What stands between these two, wherever they occur.
fn between<'a>(text: &'a str, before: &'a str, after: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split_once(after)).map(|(found, _)| found)
}

/// A variant of an enum in kebab-case, as clap spells it.
fn variants(source: &str, declaration: &str) -> BTreeSet<String> {
    let body = between(source, declaration, "\n}").next().unwrap_or_else(|| panic!("no {declaration}"));
    let lines = body.lines().map(str::trim).filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    lines.map(|line| line.split(|it: char| !it.is_alphanumeric()).next().unwrap_or(line).to_lowercase()).collect()
}

#[test]
fn every_variable_is_one_the_program_reads() {
    let settings = read(SETTINGS);
    let mut seen = BTreeSet::new();
    for file in deployment_files() {
        let text = read(&file);
        for name in names(&text, "LOCKSTEP_") {
            assert!(settings.contains(&format!("env = \"{name}\"")), "{}: nobody reads {name}", file.display());
            seen.insert(name.to_owned());
        }
    }
    assert!(seen.contains("LOCKSTEP_PUBLIC_URL"), "the files were read: {seen:?}");
}

#[test]
fn every_key_of_a_settings_file_is_one_the_program_takes() {
    let settings = read(SETTINGS);
    let declared = between(&settings, "struct SettingsFile {", "}").next().expect("the settings file has a type");
    for file in ["deploy/make-secrets.sh", "deploy/kubernetes/settings.example.yaml"] {
        let text = read(file);
        let keys: BTreeSet<&str> =
            text.lines().filter_map(|line| line.trim().split_once(" = \"")).map(|(key, _)| key).collect();
        assert!(keys.contains("store_url"), "{file} was read: {keys:?}");
        for key in keys {
            // The owner's address comes with the store on PostgreSQL; these files are of use from then on.
            if key == "migrate_url" && !Path::new(ROOT).join("migrations/postgres").exists() {
                continue;
            }
            assert!(declared.contains(&format!(" {key}: ")), "{file}: lockstep.toml takes no {key}");
        }
    }
}

#[test]
fn every_role_and_command_is_one_the_program_has() {
    let roles = variants(&read("crates/cli/src/commands/serve.rs"), "enum Role {");
    let commands = variants(&read("crates/cli/src/args.rs"), "pub enum Command {");
    let (mut roles_seen, mut commands_seen) = (BTreeSet::new(), BTreeSet::new());
    for file in deployment_files() {
        let text = read(&file);
        roles_seen.extend(between(&text, "\"--role\", \"", "\"").map(str::to_owned));
        roles_seen.extend(names_after(&text, "--role "));
        let arguments = ["command: [\"", "args: [\"", "CMD [\""].into_iter();
        commands_seen.extend(arguments.flat_map(|before| between(&text, before, "\"")).map(str::to_owned));
        commands_seen.extend(names_after(&text, "`lockstep "));
    }
    // What the images of others run.
    commands_seen.remove("sh");
    assert_eq!(roles_seen, roles, "all roles are deployed, and no other");
    assert!(commands_seen.contains("migrate") && commands_seen.is_subset(&commands), "{commands_seen:?}");
}

/// The word that follows.
fn names_after(text: &str, before: &str) -> Vec<String> {
    let rests = text.split(before).skip(1);
    let words =
        rests.filter_map(|rest| rest.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').next());
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn every_metric_of_an_alert_or_a_panel_is_one_the_program_shows() {
    let source = source();
    let shown = |name: &str| source.contains(&format!("\"{name}\""));
    let alerts = read("deploy/prometheus/alerts.yaml");
    let panels = read("deploy/grafana/lockstep.json");
    for (file, text) in [("alerts.yaml", &alerts), ("lockstep.json", &panels)] {
        let metrics = names(text, "lockstep_");
        assert!(metrics.len() > 15, "{file} was read: {metrics:?}");
        for metric in metrics {
            // A histogram is asked for by its buckets.
            let plain = metric.strip_suffix("_bucket").unwrap_or(metric);
            assert!(shown(plain), "{file}: nobody shows {metric}");
        }
    }
}

#[test]
fn every_label_value_of_an_alert_or_a_panel_is_one_the_program_gives() {
    let source = source();
    let text = read("deploy/prometheus/alerts.yaml") + &read("deploy/grafana/lockstep.json").replace("\\\"", "\"");
    let mut checked = 0;
    for label in ["state", "status", "scope", "part", "reason"] {
        for operator in ["=\"", "=~\""] {
            let marker = format!("{label}{operator}");
            let values: BTreeSet<&str> = between(&text, &marker, "\"").flat_map(|values| values.split('|')).collect();
            for value in values.into_iter().filter(|value| !value.bytes().all(|digit| digit.is_ascii_digit())) {
                assert!(source.contains(&format!("\"{value}\"")), "no metric has {label}=\"{value}\"");
                checked += 1;
            }
        }
    }
    assert!(checked > 8, "the files were read: {checked} values");
}

#[test]
fn the_queue_that_scales_the_workers_is_the_one_they_take_from() {
    let scaling = read("deploy/kubernetes/worker-scaling.yaml");
    let queue = between(&scaling, "queueName: ", "\n").next().expect("a queue is named");
    assert!(read("crates/queue/src/url.rs").contains(&format!("= \"{queue}\"")), "no queue is called {queue}");
}

#[test]
fn every_probe_asks_for_what_the_admin_listener_answers() {
    let listener = read("crates/cli/src/health.rs");
    let mut probes = 0;
    for role in ["receiver", "worker", "renewer"] {
        let manifest = read(format!("deploy/kubernetes/{role}.yaml"));
        for path in between(&manifest, "httpGet: {path: ", ",") {
            assert!(listener.contains(&format!(".route(\"{path}\"")), "{role}: nothing answers {path}");
            probes += 1;
        }
        assert!(manifest.contains("value: 0.0.0.0:8081"), "{role}: a probe comes from outside the pod");
    }
    assert_eq!(probes, 9, "started, alive and ready, for three roles");
}

/// G-27, TH-23: what runs has no shell and no rights, secrets are files, and one port is public.
#[test]
fn nothing_runs_with_more_than_it_needs() {
    for role in ["receiver", "worker", "renewer", "migrate"] {
        let manifest = read(format!("deploy/kubernetes/{role}.yaml"));
        for line in
            ["runAsNonRoot: true", "readOnlyRootFilesystem: true", "allowPrivilegeEscalation: false", "drop: [ALL]"]
        {
            assert!(manifest.contains(line), "{role}: {line}");
        }
    }
    let compose = read("docker-compose.yml");
    assert_eq!(compose.matches("    ports:\n").count(), 1, "only the receiver is reached from outside");
    for word in ["PASSWORD: ", "postgres://", "amqp://"] {
        assert!(!compose.contains(word), "a secret stands in the environment: {word}");
    }
    let image = read("Dockerfile");
    let last = image.rsplit("\nFROM ").next().expect("a last stage");
    assert!(
        last.starts_with("gcr.io/distroless/") && last.contains("\nUSER 65532:65532\n") && !last.contains("\nRUN ")
    );
}

/// Whoever reads such a file must know how far it is to be trusted.
#[test]
fn every_file_that_was_never_run_says_so() {
    let mut unsaid = deployment_files();
    unsaid.retain(|path| path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json"));
    unsaid.push(Path::new(ROOT).join("Dockerfile"));
    assert!(unsaid.len() > 8, "the files were found: {unsaid:?}");
    unsaid.retain(|path| !read(path).contains("Not run where it was written"));
    assert!(unsaid.is_empty(), "{unsaid:?}");
}
