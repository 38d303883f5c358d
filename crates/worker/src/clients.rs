//! One Graph client per connection, made when first needed and checked against the connection's tenant (BI-40).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use lockstep_core::{ConnectionId, ObjectId, Timestamp};
use lockstep_graph::{CertificateFile, Cloud, Credential, GraphClient, GraphConnection, GraphEndpoints};
use lockstep_store::{Connection, CredentialKind, Store};
use tokio::sync::OnceCell;

use crate::config::GraphSettings;
use crate::error::WorkerError;

/// A client for a connection in the store. No request is sent.
///
/// # Errors
/// When the credential cannot be opened or read, or an address is refused.
pub async fn graph_client(
    store: &Store,
    connection: &Connection,
    settings: &GraphSettings,
) -> Result<GraphClient, WorkerError> {
    let secret = store.connection_secret(connection).await?;
    let credential = match connection.credential_kind {
        CredentialKind::ClientSecret => Credential::ClientSecret(secret),
        CredentialKind::Certificate => Credential::Certificate(CertificateFile::parse(&secret)?),
    };
    connect(&connection.tenant_id.to_string(), &connection.client_id, credential, &connection.cloud, settings)
}

/// A client for a connection that is not in the store yet. No request is sent.
///
/// # Errors
/// When the cloud is unknown or an address is refused.
pub fn connect(
    tenant: &str,
    client_id: &str,
    credential: Credential,
    cloud: &str,
    settings: &GraphSettings,
) -> Result<GraphClient, WorkerError> {
    let endpoints = endpoints(cloud, settings)?;
    Ok(GraphClient::connect(GraphConnection {
        tenant: tenant.to_owned(),
        client_id: client_id.to_owned(),
        credential,
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
    kept: Mutex<BTreeMap<ConnectionId, Kept>>,
}

/// A client with a credential of a connection.
#[derive(Default)]
struct Kept {
    /// When that credential took the place of another.
    since: Option<Timestamp>,
    client: Arc<OnceCell<GraphClient>>,
}

impl Clients {
    /// The connection's client, made and checked at first use and whenever the credential was replaced (C7).
    ///
    /// # Errors
    /// [`WorkerError::WrongTenant`] when another tenant answers; whatever stands in the way of the check.
    pub(crate) async fn get(
        &self,
        store: &Store,
        connection: &Connection,
        settings: &GraphSettings,
    ) -> Result<GraphClient, WorkerError> {
        let client = self.cell(connection);
        let client = client.get_or_try_init(|| async {
            let client = graph_client(store, connection, settings).await?;
            check_tenant(&client, connection).await?;
            Ok::<_, WorkerError>(client)
        });
        client.await.cloned()
    }

    /// The same, if it was made and checked already.
    pub(crate) fn ready(&self, connection: &Connection) -> Option<GraphClient> {
        self.cell(connection).get().cloned()
    }

    fn cell(&self, connection: &Connection) -> Arc<OnceCell<GraphClient>> {
        let mut kept = self.lock();
        let kept = kept.entry(connection.id).or_default();
        if kept.since != connection.credential_since {
            *kept = Kept { since: connection.credential_since, ..Kept::default() };
        }
        Arc::clone(&kept.client)
    }

    /// Makes the next use start anew.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.lock().remove(&connection);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ConnectionId, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// BI-40: nothing of another tenant is ever applied.
pub(crate) async fn check_tenant(client: &GraphClient, connection: &Connection) -> Result<(), WorkerError> {
    refuse_other_tenant(connection.id, connection.tenant_id, client.organization().await?.id)
}

fn refuse_other_tenant(connection: ConnectionId, expected: ObjectId, found: ObjectId) -> Result<(), WorkerError> {
    if found == expected { Ok(()) } else { Err(WorkerError::WrongTenant { connection, expected, found }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use uuid::Uuid;

    use super::*;

    #[test]
    fn bi40_another_organization_stops_the_whole_connection() {
        let (ours, other) = (ObjectId(Uuid::new_v4()), ObjectId(Uuid::new_v4()));
        let connection = ConnectionId(Uuid::new_v4());
        assert!(refuse_other_tenant(connection, ours, ours).is_ok());
        let refused = refuse_other_tenant(connection, ours, other).unwrap_err();
        assert!(refused.is_connection_wide());
        assert_eq!(refused.class(), lockstep_core::ErrorClass::Permanent);
    }

    #[test]
    fn a_custom_pair_of_addresses_replaces_the_clouds_own() {
        let url = |text: &str| Some(text.parse().unwrap());
        let loopback =
            GraphSettings { graph_url: url("http://127.0.0.1:9400"), login_url: url("http://127.0.0.1:9400") };
        assert!(endpoints("global", &loopback).is_ok());
        let plain = GraphSettings { graph_url: url("http://graph.example"), login_url: None };
        assert!(endpoints("global", &plain).is_err(), "a token never travels in the clear (G-26)");
        assert!(matches!(endpoints("mars", &loopback), Err(WorkerError::UnknownCloud { .. })));
    }
}
