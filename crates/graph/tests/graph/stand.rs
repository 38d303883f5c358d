//! A tenant and a client for it.

use lockstep_core::ObjectId;
use lockstep_graph::{Credential, GraphClient, GraphConnection, GraphEndpoints};
use lockstep_simulator::{NewUser, Simulator, SimulatorConfig, Tenant};
use secrecy::SecretString;

/// A running simulator with its default tenant.
pub struct Stand {
    pub simulator: Simulator,
    pub tenant: Tenant,
    pub graph: GraphClient,
}

impl Stand {
    pub async fn start() -> Self {
        let simulator = Simulator::start(SimulatorConfig::default()).await.expect("the simulator starts");
        let tenant = simulator.tenant();
        let graph = GraphClient::connect(connection(&simulator, &tenant)).expect("a good connection");
        Self { simulator, tenant, graph }
    }

    pub fn person(&self, name: &str) -> ObjectId {
        ObjectId(self.tenant.create_user(NewUser::named(name)))
    }
}

pub fn connection(simulator: &Simulator, tenant: &Tenant) -> GraphConnection {
    GraphConnection {
        tenant: tenant.id().to_string(),
        client_id: tenant.client_id().to_string(),
        credential: secret(&tenant.client_secret()),
        endpoints: endpoints(&simulator.url()),
    }
}

/// Graph and login on one address.
pub fn endpoints(base: &str) -> GraphEndpoints {
    let url: url::Url = base.parse().expect("an address");
    GraphEndpoints::custom(url.clone(), url).expect("a loopback address")
}

/// A client for a hand-written server.
pub fn client_of(base: &str) -> GraphClient {
    client_at(base, base)
}

/// A client for two of them.
pub fn client_at(graph: &str, login: &str) -> GraphClient {
    let connection = GraphConnection {
        tenant: "contoso.example".to_owned(),
        client_id: "4f0c8c0e-6a1d-4a53-9c9b-2d2b7e9f3a33".to_owned(),
        credential: secret("a-secret"),
        endpoints: GraphEndpoints::custom(graph.parse().expect("an address"), login.parse().expect("an address"))
            .expect("loopback addresses"),
    };
    GraphClient::connect(connection).expect("a good connection")
}

pub fn secret(value: &str) -> Credential {
    Credential::ClientSecret(SecretString::from(value))
}
