//! Certificates: the system's roots, an operator's own root, and nobody else's (G-26, BI-41).

use lockstep_graph::{GraphClient, GraphEndpoints, GraphError, Unreached};
use lockstep_simulator::{Simulator, SimulatorConfig};
use tempfile::NamedTempFile;

use crate::stand::connection;

/// The variable by which the second process learns where to call.
const CALL: &str = "GRAPH_TEST_CALL";

async fn https_simulator() -> Simulator {
    let https_bind = Some(([127, 0, 0, 1], 0).into());
    Simulator::start(SimulatorConfig { https_bind, ..SimulatorConfig::default() }).await.expect("the simulator starts")
}

#[tokio::test]
async fn bi41_a_certificate_that_nobody_vouches_for_is_refused() {
    let simulator = https_simulator().await;
    let mut connection = connection(&simulator, &simulator.tenant());
    let graph = simulator.https_url().unwrap().parse().unwrap();
    connection.endpoints = GraphEndpoints::custom(graph, connection.endpoints.login().clone()).unwrap();
    let refused = GraphClient::connect(connection).unwrap().organization().await.unwrap_err();
    assert_eq!(refused, GraphError::Unreachable { call: "GET /organization", reason: Unreached::Certificate });
    assert!(refused.operator_sentence().contains("SSL_CERT_FILE"));
}

/// The roots are read from the environment of a process, so a second process calls.
#[tokio::test]
async fn an_operators_root_in_ssl_cert_file_is_honoured() {
    let simulator = https_simulator().await;
    let root = NamedTempFile::new().unwrap();
    std::fs::write(root.path(), simulator.root_certificate_pem().unwrap()).unwrap();
    let (tenant, base) = (simulator.tenant(), simulator.https_url().unwrap());
    let call = format!("{base} {} {} {}", tenant.id(), tenant.client_id(), tenant.client_secret());
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "trust::the_second_process"]).env("SSL_CERT_FILE", root.path()).env(CALL, call);
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(simulator.counters().requests.contains_key("GET /organization"));
}

#[tokio::test]
async fn the_second_process() {
    let Ok(call) = std::env::var(CALL) else {
        return;
    };
    let [base, tenant, client_id, secret] = call.split(' ').collect::<Vec<_>>()[..] else { panic!("four words") };
    let connection = lockstep_graph::GraphConnection {
        tenant: tenant.to_owned(),
        client_id: client_id.to_owned(),
        credential: crate::stand::secret(secret),
        endpoints: crate::stand::endpoints(base),
    };
    GraphClient::connect(connection).unwrap().organization().await.unwrap();
}
