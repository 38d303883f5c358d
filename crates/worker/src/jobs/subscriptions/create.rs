//! Creating a subscription: the intent first, and whatever stands in the way is deleted.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockstep_core::SubscriptionId;
use lockstep_graph::{CreatedSubscription, GraphError, NewSubscription, WatchedResource};
use lockstep_store::{Resource, StoreError, SubscriptionStatus};
use secrecy::SecretString;
use tracing::{info, warn};
use uuid::Uuid;

use super::compare::{bears, watches};
use super::{Desk, renew_at};
use crate::error::WorkerError;

/// More than one may stand in the way: two that were created at once.
const TRIES: usize = 3;

impl Desk<'_> {
    /// Whether it was created here; else somebody else is at it, or was quicker.
    pub(super) async fn create(&self, resource: Resource) -> Result<bool, WorkerError> {
        for _ in 1..TRIES {
            match self.try_create(resource).await {
                Err(WorkerError::Graph(GraphError::SubscriptionExists { id })) => {
                    if !self.make_way(resource, id).await? {
                        return Ok(false);
                    }
                }
                ended => return ended,
            }
        }
        self.try_create(resource).await
    }

    async fn try_create(&self, resource: Resource) -> Result<bool, WorkerError> {
        let client_state = client_state()?;
        let path_token = self.store.path_token(self.connection).await?;
        // Before the call: Graph's handshake, and even a notification, may arrive while the call is open (FA-19).
        let intent = match self.store.open_subscription_intent(self.connection.id, resource, &client_state).await {
            Err(StoreError::Conflict { .. }) => return Ok(false),
            opened => opened?,
        };
        tracing::trace!(target: "lockstep::point", "subscription.intended");
        // Whoever held the intent before us may have succeeded since we looked (FA-20).
        if self.is_live(resource).await? {
            self.store.drop_subscription_intent(intent).await?;
            return Ok(false);
        }
        let wanted = NewSubscription {
            resource: watched(resource),
            notification_url: self.address(&path_token, "notifications"),
            lifecycle_url: self.address(&path_token, "lifecycle"),
            client_state,
            expires_at: self.store.now() + self.store.timing().sub_lifetime,
        };
        match self.client.create_subscription(&wanted).await {
            Ok(created) => self.save(intent, created).await,
            Err(failure) => {
                if !may_exist(&failure) {
                    self.store.drop_subscription_intent(intent).await?;
                }
                Err(failure.into())
            }
        }
    }

    async fn save(&self, intent: SubscriptionId, created: CreatedSubscription) -> Result<bool, WorkerError> {
        let renew_at = renew_at(self.store.now(), created.expires_at);
        tracing::trace!(target: "lockstep::point", "subscription.created");
        if !self.store.activate_subscription(intent, created.id, created.expires_at, renew_at).await? {
            // We took so long that the intent was given up; nobody would believe a notification by it.
            self.client.delete_subscription(created.id).await?;
            return Ok(false);
        }
        tracing::trace!(target: "lockstep::point", "subscription.saved");
        info!(subscription.id = %intent, connection.id = %self.connection.id, "Created subscription {intent}");
        Ok(true)
    }

    async fn is_live(&self, resource: Resource) -> Result<bool, WorkerError> {
        let live = |status| status == SubscriptionStatus::Active;
        Ok(self.known().await?.iter().any(|known| known.resource == resource && live(known.status)))
    }

    /// Deletes what Graph says exists already. Its clientState cannot be read, so adopting it means deleting it [WH26].
    /// `false`: it is one that we know, created by somebody else meanwhile.
    async fn make_way(&self, resource: Resource, named: Option<Uuid>) -> Result<bool, WorkerError> {
        let orphan = match named {
            Some(id) => id,
            None => self.find_ours(resource).await?.ok_or(GraphError::SubscriptionExists { id: None })?,
        };
        let is_known = |status| status == SubscriptionStatus::Active;
        if self.known().await?.iter().any(|known| known.graph_id == Some(orphan) && is_known(known.status)) {
            return Ok(false);
        }
        let id = self.connection.id;
        warn!(connection.id = %id, "Deleting a subscription that stands in the way of connection {id}");
        self.client.delete_subscription(orphan).await?;
        Ok(true)
    }

    /// When the answer does not name it: the one of this resource that posts to us.
    async fn find_ours(&self, resource: Resource) -> Result<Option<Uuid>, WorkerError> {
        let path_token = self.store.path_token(self.connection).await?;
        let listed = self.client.list_subscriptions().await?;
        let ours = listed.iter().find(|remote| watches(remote, resource) && bears(remote, &path_token));
        Ok(ours.map(|remote| remote.id))
    }
}

fn watched(resource: Resource) -> WatchedResource {
    match resource {
        Resource::Users => WatchedResource::Users,
        Resource::Groups => WatchedResource::Groups,
    }
}

/// Without a usable answer it may exist all the same: the intent stays, so that its notifications are still taken.
fn may_exist(failure: &GraphError) -> bool {
    matches!(failure, GraphError::Unreachable { .. } | GraphError::ServerError { .. } | GraphError::BadAnswer { .. })
}

/// 32 random bytes (TH-01).
fn client_state() -> Result<SecretString, WorkerError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|_| WorkerError::NoRandom)?;
    Ok(SecretString::from(URL_SAFE_NO_PAD.encode(bytes)))
}
