//! What commands do with subscriptions, in a process of their own.

use lockstep_core::SubscriptionId;
use lockstep_graph::GraphClient;
use lockstep_store::{Connection, Store, Subscription, SubscriptionStatus};
use uuid::Uuid;

use super::{Renewed, renew};
use crate::clients::graph_client;
use crate::config::GraphSettings;
use crate::error::WorkerError;

/// What became of the subscriptions of a removed connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Deleted in Graph.
    pub deleted: usize,
    /// Could not be deleted; Graph ends them by itself when they expire, and their notifications are refused.
    pub left: usize,
}

/// `subscription renew [ID]`: renews a connection's active subscriptions, or one of them, whether due or not.
///
/// # Errors
/// When Graph or the store cannot be reached; what was renewed before stays renewed.
pub async fn renew_subscriptions_now(
    store: &Store,
    connection: &Connection,
    settings: &GraphSettings,
    only: Option<SubscriptionId>,
) -> Result<Vec<Renewed>, WorkerError> {
    let mut renewed = Vec::new();
    let wanted = wanted(store, connection, only).await?;
    if wanted.is_empty() {
        return Ok(renewed);
    }
    let client = graph_client(store, connection, settings).await?;
    for subscription in wanted {
        renewed.push(renew(store, &client, &subscription).await?);
    }
    Ok(renewed)
}

/// `subscription recreate [ID]`: deletes a connection's active subscriptions, or one of them. The scheduler creates them
/// anew with another clientState, and catches up on what was not notified in between (TH-03).
///
/// # Errors
/// When Graph or the store cannot be reached; what was deleted before is created anew.
pub async fn dismiss_subscriptions(
    store: &Store,
    connection: &Connection,
    settings: &GraphSettings,
    only: Option<SubscriptionId>,
) -> Result<Vec<SubscriptionId>, WorkerError> {
    let mut dismissed = Vec::new();
    let wanted = wanted(store, connection, only).await?;
    if wanted.is_empty() {
        return Ok(dismissed);
    }
    let client = graph_client(store, connection, settings).await?;
    for Subscription { id, graph_id, .. } in wanted {
        if let Some(graph_id) = graph_id {
            client.delete_subscription(graph_id).await?;
        }
        store.dismiss_subscription(id).await?;
        dismissed.push(id);
    }
    Ok(dismissed)
}

async fn wanted(
    store: &Store,
    connection: &Connection,
    only: Option<SubscriptionId>,
) -> Result<Vec<Subscription>, WorkerError> {
    let mut known = store.list_subscriptions(Some(connection.id)).await?;
    known.retain(|known| known.status == SubscriptionStatus::Active && only.is_none_or(|id| id == known.id));
    Ok(known)
}

/// `connection remove`: deletes the subscriptions in Graph, then the connection here. Records and their status stay.
///
/// # Errors
/// When the store refuses. A Graph that cannot be reached does not keep a connection from being removed.
pub async fn remove_connection(
    store: &Store,
    connection: &Connection,
    settings: &GraphSettings,
) -> Result<Removed, WorkerError> {
    let subscriptions = store.list_subscriptions(Some(connection.id)).await?;
    let live: Vec<_> = subscriptions.iter().filter_map(|subscription| subscription.graph_id).collect();
    let removed = match graph_client(store, connection, settings).await {
        Ok(client) => delete_all(&client, &live).await,
        Err(_) => Removed { deleted: 0, left: live.len() },
    };
    store.remove_connection(connection.id).await?;
    Ok(removed)
}

async fn delete_all(client: &GraphClient, live: &[Uuid]) -> Removed {
    let mut removed = Removed::default();
    for graph_id in live {
        match client.delete_subscription(*graph_id).await {
            Ok(()) => removed.deleted += 1,
            Err(_) => removed.left += 1,
        }
    }
    removed
}
