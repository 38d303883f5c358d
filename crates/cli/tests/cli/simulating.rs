//! `lockstep simulate`: what it prints is all that is needed to connect.

use std::process::{Child, Stdio};

use serde_json::Value;

use crate::workbench::Workbench;

/// A running `simulate`; killed when dropped.
struct Simulating {
    child: Child,
    ready: Value,
}

impl Simulating {
    fn start(bench: &Workbench, args: &[&str]) -> Self {
        let mut command = bench.command();
        command.args(["simulate", "--bind", "127.0.0.1:0", "--output", "json"]).args(args);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let ready = serde_json::Deserializer::from_reader(stdout).into_iter().next().unwrap().unwrap();
        Self { child, ready }
    }

    fn text(&self, key: &str) -> String {
        self.ready[key].as_str().unwrap().to_owned()
    }
}

impl Drop for Simulating {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_the_simulator_prints_is_enough_to_connect() {
    let mut bench = Workbench::fresh();
    let simulating = Simulating::start(&bench, &[]);
    bench.simulator = Some(simulating.text("url"));
    bench.write("secret", &simulating.text("client_secret"));
    let (tenant, client) = (simulating.text("tenant_id"), simulating.text("client_id"));
    let base = ["connection", "add", "contoso", "--tenant", &tenant, "--client-id", &client];
    let added = bench.run(&[&base[..], &["--client-secret-file", "secret"]].concat());
    assert_eq!(added.code, 0, "{}", added.stderr);

    let group = simulating.ready["groups"][0]["id"].as_str().unwrap();
    bench.write("rules.toml", &format!("[[rule]]\ngroup = \"{group}\"\norder = 10\nkind = \"employee\"\n"));
    let plan = bench.json(&["rule", "plan", "contoso", "rules.toml"]);
    assert!(plan["created"]["count"].as_u64().unwrap() >= 6, "too few for the brake to let two go: {plan:#}");
}

#[test]
fn every_simulator_starts_with_the_same_tenant_so_that_commands_can_be_pasted() {
    let bench = Workbench::fresh();
    let (first, second) = (Simulating::start(&bench, &[]), Simulating::start(&bench, &[]));
    for key in ["tenant_id", "client_id", "client_secret", "groups", "users"] {
        assert_eq!(first.ready[key], second.ready[key], "{key}");
    }
    let empty = Simulating::start(&bench, &["--empty"]);
    assert_eq!((&empty.ready["groups"], &empty.ready["users"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn https_comes_with_a_root_to_trust() {
    let bench = Workbench::fresh();
    let simulating = Simulating::start(&bench, &["--https-bind", "127.0.0.1:0"]);
    assert!(simulating.text("https_url").starts_with("https://"));
    let root = std::fs::read_to_string(bench.path(&simulating.text("root_certificate"))).unwrap();
    assert!(root.starts_with("-----BEGIN CERTIFICATE-----"));
}
