//! One Graph client per connection, made when first needed and checked against the connection's tenant (BI-40).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_core::ConnectionId;
use lockstep_graph::{Cloud, Credential, GraphClient, GraphConnection, GraphEndpoints};
use lockstep_store::{Connection, Store};
use secrecy::SecretString;
use tokio::sync::OnceCell;

use crate::config::GraphSettings;
use crate::error::WorkerError;

/// A client for a connection in the store. No request is sent.
///
/// # Errors
/// When the secret cannot be opened or an address is refused.
pub async fn graph_client(
    store: &Store,
    connection: &Connection,
    settings: &GraphSettings,
) -> Result<GraphClient, WorkerError> {
    let secret = store.connection_secret(connection).await?;
    connect(&connection.tenant_id.to_string(), &connection.client_id, secret, &connection.cloud, settings)
}

/// A client for a connection that is not in the store yet. No request is sent.
///
/// # Errors
/// When the cloud is unknown or an address is refused.
pub fn connect(
    tenant: &str,
    client_id: &str,
    secret: SecretString,
    cloud: &str,
    settings: &GraphSettings,
) -> Result<GraphClient, WorkerError> {
    let endpoints = endpoints(cloud, settings)?;
    Ok(GraphClient::connect(GraphConnection {
        tenant: tenant.to_owned(),
        client_id: client_id.to_owned(),
        credential: Credential::ClientSecret(secret),
        endpoints,
    })?)
}

pub(crate) fn endpoints(cloud: &str, settings: &GraphSettings) -> Result<GraphEndpoints, WorkerError> {
    let own = match cloud {
        "global" => Cloud::Global,
        "usgov" => Cloud::UsGov,
        "usgov-dod" => Cloud::UsGovDod,
        "china" => Cloud::China,
        _ => {
            return Err(WorkerError::UnknownCloud { connection: cloud.to_owned() });
        }
    }
    .endpoints();
    if settings.graph_url.is_none() && settings.login_url.is_none() {
        return Ok(own);
    }
    let graph = settings.graph_url.clone().unwrap_or_else(|| own.graph().clone());
    let login = settings.login_url.clone().unwrap_or_else(|| own.login().clone());
    Ok(GraphEndpoints::custom(graph, login)?)
}

/// The clients of one process.
#[derive(Default)]
pub(crate) struct Clients {
    cells: Mutex<BTreeMap<ConnectionId, Arc<OnceCell<GraphClient>>>>,
}

impl Clients {
    /// The connection's client, made and checked at first use.
    ///
    /// # Errors
    /// [`WorkerError::WrongTenant`] when another tenant answers; whatever stands in the way of the check.
    pub(crate) async fn get(
        &self,
        store: &Store,
        connection: &Connection,
        settings: &GraphSettings,
    ) -> Result<GraphClient, WorkerError> {
        let cell = Arc::clone(self.lock().entry(connection.id).or_default());
        let client = cell.get_or_try_init(|| async {
            let client = graph_client(store, connection, settings).await?;
            check_tenant(&client, connection).await?;
            Ok::<_, WorkerError>(client)
        });
        client.await.cloned()
    }

    /// Makes the next use start anew: the secret may have been replaced meanwhile.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnectionId, Arc<OnceCell<GraphClient>>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// BI-40: nothing of another tenant is ever applied.
pub(crate) async fn check_tenant(client: &GraphClient, connection: &Connection) -> Result<(), WorkerError> {
    let found = client.organization().await?.id;
    if found == connection.tenant_id {
        return Ok(());
    }
    Err(WorkerError::WrongTenant { connection: connection.id, expected: connection.tenant_id, found })
}
