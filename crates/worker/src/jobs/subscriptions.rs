//! The two subscriptions of a connection: created with an intent row first, renewed at half-life, recreated when gone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockstep_core::{SubscriptionId, Timestamp};
use lockstep_graph::{GraphClient, GraphError, NewSubscription, RenewOutcome, WatchedResource};
use lockstep_store::{Connection, Resource, Store, Subscription, SubscriptionStatus};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use std::time::Duration;
use tracing::{info, warn};
use url::Url;

use crate::clients::graph_client;
use crate::config::GraphSettings;
use crate::context::Context;
use crate::error::WorkerError;
use crate::trouble::chance;

/// A create takes 20 s at most: an intent this old belongs to a process that died over it (FA-19). What it may have
/// created answers the next create with a conflict, and is deleted then.
const INTENT_LIFE: Duration = Duration::from_secs(60);

/// One renewed subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Renewed {
    /// Ours.
    pub id: SubscriptionId,
    /// When it ends now; `None`: it is gone in Graph and the scheduler creates it anew.
    pub expires_at: Option<Timestamp>,
}

/// What became of the subscriptions of a removed connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Deleted in Graph.
    pub deleted: usize,
    /// Could not be deleted; Graph ends them by itself when they expire, and their notifications are refused.
    pub left: usize,
}

/// Whether anything was created, so that changes may have been missed before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub created: bool,
}

/// Brings both subscriptions to where they should be. Without a public URL there are none.
pub(crate) async fn keep(ctx: &Context, connection: &Connection, client: &GraphClient) -> Result<Kept, WorkerError> {
    let Some(public_url) = &ctx.config.public_url else {
        return Ok(Kept::default());
    };
    // Full syncs and the scheduler come here: creating twice would end as one, but by way of a conflict.
    let _one_at_a_time = ctx.subscribing.lock().await;
    let store = &ctx.store;
    let known = store.list_subscriptions(Some(connection.id)).await?;
    let mut kept = Kept::default();
    for resource in [Resource::Users, Resource::Groups] {
        match standing(&known, resource, store.now()) {
            Standing::Good | Standing::BeingCreated => {}
            Standing::Due(subscription) if renew(store, client, subscription).await?.expires_at.is_some() => {}
            Standing::Due(_) | Standing::Missing => {
                create(store, connection, client, resource, public_url).await?;
                kept.created = true;
            }
        }
    }
    for stale in known.iter().filter(|subscription| is_stale_intent(subscription, store.now())) {
        store.drop_subscription_intent(stale.id).await?;
    }
    Ok(kept)
}

enum Standing<'a> {
    Good,
    BeingCreated,
    Due(&'a Subscription),
    Missing,
}

fn standing(known: &[Subscription], resource: Resource, now: Timestamp) -> Standing<'_> {
    let of = |state| known.iter().filter(move |known| known.resource == resource && known.status == state);
    if let Some(live) = of(SubscriptionStatus::Active).max_by_key(|live| live.expires_at) {
        return if live.renew_at.is_none_or(|at| at <= now) { Standing::Due(live) } else { Standing::Good };
    }
    if of(SubscriptionStatus::Pending).any(|intent| !is_stale_intent(intent, now)) {
        return Standing::BeingCreated;
    }
    Standing::Missing
}

fn is_stale_intent(subscription: &Subscription, now: Timestamp) -> bool {
    subscription.status == SubscriptionStatus::Pending && now.since(subscription.created_at) > INTENT_LIFE
}

async fn create(
    store: &Store,
    connection: &Connection,
    client: &GraphClient,
    resource: Resource,
    public_url: &Url,
) -> Result<(), WorkerError> {
    match try_create(store, connection, client, resource, public_url).await {
        // Its clientState cannot be read, so adopting it means deleting it [WH26].
        Err(WorkerError::Graph(GraphError::SubscriptionExists { id: Some(orphan) })) => {
            warn!(connection.id = %connection.id, "Deleting an orphaned subscription of connection {}", connection.id);
            client.delete_subscription(orphan).await?;
            try_create(store, connection, client, resource, public_url).await
        }
        other => other,
    }
}

async fn try_create(
    store: &Store,
    connection: &Connection,
    client: &GraphClient,
    resource: Resource,
    public_url: &Url,
) -> Result<(), WorkerError> {
    let client_state = client_state()?;
    let path_token = store.path_token(connection).await?;
    // Before the call: Graph's handshake, and even a notification, may arrive while the call is open (FA-19).
    let intent = store.open_subscription_intent(connection.id, resource, &client_state).await?;
    let wanted = NewSubscription {
        resource: match resource {
            Resource::Users => WatchedResource::Users,
            Resource::Groups => WatchedResource::Groups,
        },
        notification_url: endpoint(public_url, &path_token, "notifications"),
        lifecycle_url: endpoint(public_url, &path_token, "lifecycle"),
        client_state,
        expires_at: store.now() + store.timing().sub_lifetime,
    };
    match client.create_subscription(&wanted).await {
        Ok(created) => {
            let renew_at = renew_at(store.now(), created.expires_at);
            store.activate_subscription(intent, created.id, created.expires_at, renew_at).await?;
            info!(subscription.id = %intent, connection.id = %connection.id, "Created subscription {intent}");
            Ok(())
        }
        Err(failure) => {
            // Without an answer it may exist: the intent stays, so that its notifications are still taken.
            if !matches!(failure, GraphError::Unreachable { .. } | GraphError::ServerError { .. }) {
                store.drop_subscription_intent(intent).await?;
            }
            Err(failure.into())
        }
    }
}

/// 32 random bytes (TH-01).
fn client_state() -> Result<SecretString, WorkerError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| WorkerError::NoRandom)?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
}

fn endpoint(public_url: &Url, path_token: &SecretString, leaf: &str) -> Url {
    let mut url = public_url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["graph", path_token.expose_secret(), leaf]);
    }
    url
}

/// Half-life, give or take a tenth of the lifetime: a day of failed tries still fits.
fn renew_at(now: Timestamp, expires_at: Timestamp) -> Timestamp {
    let jitter = chance().mul_add(0.2, -0.1);
    now + expires_at.since(now).mul_f64(0.5 + jitter)
}

async fn renew(store: &Store, client: &GraphClient, subscription: &Subscription) -> Result<Renewed, WorkerError> {
    let id = subscription.id;
    let Some(graph_id) = subscription.graph_id else {
        return Ok(Renewed { id, expires_at: None });
    };
    // The handshake may come again on a renewal [FN25].
    store.begin_renewal(id).await?;
    let until = store.now() + store.timing().sub_lifetime;
    match client.renew_subscription(graph_id, until).await? {
        RenewOutcome::Renewed { expires_at } => {
            store.renew_subscription(id, expires_at, renew_at(store.now(), expires_at)).await?;
            info!(subscription.id = %id, "Renewed subscription {id}");
            Ok(Renewed { id, expires_at: Some(expires_at) })
        }
        RenewOutcome::Gone => {
            warn!(subscription.id = %id, "Subscription {id} is gone in Graph; it is created anew and caught up");
            store.mark_subscription_gone(id).await?;
            Ok(Renewed { id, expires_at: None })
        }
    }
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
    let client = graph_client(store, connection, settings).await?;
    let mut renewed = Vec::new();
    for subscription in store.list_subscriptions(Some(connection.id)).await? {
        let wanted = only.is_none_or(|id| id == subscription.id);
        if wanted && subscription.status == SubscriptionStatus::Active {
            renewed.push(renew(store, &client, &subscription).await?);
        }
    }
    Ok(renewed)
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
    let mut removed = Removed::default();
    let subscriptions = store.list_subscriptions(Some(connection.id)).await?;
    let live: Vec<_> = subscriptions.iter().filter_map(|subscription| subscription.graph_id).collect();
    match graph_client(store, connection, settings).await {
        Ok(client) => {
            for graph_id in live {
                match client.delete_subscription(graph_id).await {
                    Ok(()) => removed.deleted += 1,
                    Err(_) => removed.left += 1,
                }
            }
        }
        Err(_) => removed.left = live.len(),
    }
    store.remove_connection(connection.id).await?;
    Ok(removed)
}
