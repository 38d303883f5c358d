//! What the receiver must know to judge a POST: path tokens and subscriptions, as keyed hashes only.

use std::collections::BTreeMap;

use lockstep_core::{ConnectionId, ObjectId, SubscriptionId, Timestamp};
use uuid::Uuid;

use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, Sql, sql};
use crate::subscription::SubscriptionStatus;

const COLUMNS: &str =
    "SELECT c.id AS connection_id, c.tenant_id, c.path_token_mac, s.id, s.graph_id, s.client_state_mac, s.status,
    s.pending_since FROM connection c LEFT JOIN subscription s ON s.connection_id = c.id ";

/// Where Graph may post for one connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// The connection.
    pub connection: ConnectionId,
    /// Its tenant: every item must name it (BI-19).
    pub tenant: ObjectId,
    /// Keyed hash of the path token.
    pub path_token_mac: [u8; 32],
    /// Its subscriptions, those gone included.
    pub subscriptions: Vec<EndpointSubscription>,
}

/// A subscription as far as the receiver needs it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointSubscription {
    /// Ours.
    pub id: SubscriptionId,
    /// Graph's; `None` while the create is pending.
    pub graph_id: Option<Uuid>,
    /// Keyed hash of the clientState.
    pub client_state_mac: [u8; 32],
    /// Where it stands.
    pub state: EndpointState,
}

/// Where a subscription stands, for whoever judges its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointState {
    /// A create (no `graph_id` yet) or a renewal (`graph_id` known) is under way: its handshake is answered.
    Pending {
        /// Since when.
        since: Timestamp,
    },
    /// Items by it are genuine when everything else agrees.
    Live,
    /// Items by it are dropped.
    Retired,
}

impl Store {
    /// Every endpoint there is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        self.endpoints("list_endpoints", sql(COLUMNS)).await
    }

    /// The endpoint of one path token.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_endpoint(&self, path_token_mac: &[u8; 32]) -> Result<Option<Endpoint>, StoreError> {
        let query = sql(COLUMNS).push("WHERE c.path_token_mac = ").value(path_token_mac.as_slice());
        Ok(self.endpoints("lookup_endpoint", query).await?.pop())
    }

    async fn endpoints(&self, operation: &'static str, query: Sql) -> Result<Vec<Endpoint>, StoreError> {
        let mut endpoints = BTreeMap::new();
        for row in self.all(operation, query).await? {
            let connection = ConnectionId(row.get("connection_id")?);
            let endpoint = match endpoints.entry(connection) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => place.insert(endpoint_from(&row, connection)?),
            };
            endpoint.subscriptions.extend(subscription_from(&row)?);
        }
        Ok(endpoints.into_values().collect())
    }
}

fn endpoint_from(row: &Row, connection: ConnectionId) -> Result<Endpoint, StoreError> {
    Ok(Endpoint {
        connection,
        tenant: ObjectId(row.get("tenant_id")?),
        path_token_mac: mac(row, "connection", "path_token_mac")?,
        subscriptions: Vec::new(),
    })
}

fn subscription_from(row: &Row) -> Result<Option<EndpointSubscription>, StoreError> {
    let Some(id) = row.get::<Option<Uuid>>("id")? else { return Ok(None) };
    let status = row.word("subscription", "status", SubscriptionStatus::parse)?;
    let state = match (status, row.maybe_at("pending_since")?) {
        (SubscriptionStatus::Gone, _) => EndpointState::Retired,
        (_, Some(since)) => EndpointState::Pending { since },
        (SubscriptionStatus::Active, None) => EndpointState::Live,
        (SubscriptionStatus::Pending, None) => return Err(row.impossible("subscription", "pending_since")),
    };
    Ok(Some(EndpointSubscription {
        id: SubscriptionId(id),
        graph_id: row.get("graph_id")?,
        client_state_mac: mac(row, "subscription", "client_state_mac")?,
        state,
    }))
}

fn mac(row: &Row, table: &'static str, column: &'static str) -> Result<[u8; 32], StoreError> {
    let bytes: Vec<u8> = row.get(column)?;
    bytes.try_into().map_err(|_| row.impossible(table, column))
}
