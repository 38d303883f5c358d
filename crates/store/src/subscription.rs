//! Subscriptions as we keep them: the intent comes before the call to Graph, so that nothing it causes is unknown.

use lockstep_core::{ConnectionId, SubscriptionId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::db::Store;
use crate::error::StoreError;
use crate::secret::MacPurpose;
use crate::sql::{Row, sql};

const COLUMNS: &str =
    "SELECT id, connection_id, resource, status, graph_id, expires_at, renew_at, pending_since, created_at,
    last_notification_at FROM subscription ";
const INTENT: &str =
    "INSERT INTO subscription (id, connection_id, resource, status, client_state_mac, pending_since, created_at)
    VALUES ($1, $2, $3, 'pending', $4, $5, $5)";
const ACTIVATE: &str =
    "UPDATE subscription SET status = 'active', graph_id = $2, expires_at = $3, renew_at = $4, pending_since = NULL
    WHERE id = $1";
const DROP_INTENT: &str = "DELETE FROM subscription WHERE id = $1 AND status = 'pending'";
const BEGIN_RENEWAL: &str = "UPDATE subscription SET pending_since = $2 WHERE id = $1 AND status = 'active'";
const RENEWED: &str =
    "UPDATE subscription SET expires_at = $2, renew_at = $3, pending_since = NULL WHERE id = $1 AND status = 'active'";
const GONE: &str = "UPDATE subscription SET status = 'gone', renew_at = NULL, pending_since = NULL WHERE id = $1";

/// What a subscription watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// `/users`
    Users,
    /// `/groups`
    Groups,
}

impl Resource {
    /// As shown and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Groups => "groups",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Users, Self::Groups].into_iter().find(|resource| resource.as_str() == word)
    }
}

/// Where a subscription stands; `expiring` is a matter of the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionStatus {
    /// The call to Graph is under way, or its answer was lost.
    Pending,
    /// Graph knows it.
    Active,
    /// Graph does not know it any more.
    Gone,
}

impl SubscriptionStatus {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Gone => "gone",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Active, Self::Gone].into_iter().find(|status| status.as_str() == word)
    }
}

/// A subscription as stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Ours.
    pub id: SubscriptionId,
    /// The connection it belongs to.
    pub connection: ConnectionId,
    /// What it watches.
    pub resource: Resource,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// Graph's id; `None` while pending.
    pub graph_id: Option<Uuid>,
    /// When Graph lets it end.
    pub expires_at: Option<Timestamp>,
    /// When it is to be renewed.
    pub renew_at: Option<Timestamp>,
    /// A create or renewal is under way since then: the handshake is answered.
    pub pending_since: Option<Timestamp>,
    /// When the intent was written.
    pub created_at: Timestamp,
    /// The last authentic notification by it.
    pub last_notification_at: Option<Timestamp>,
}

impl Store {
    /// Writes the intent *before* Graph is called: notifications with this clientState are accepted from now on, and a
    /// crash between Graph's create and our save leaves a trace (FA-19).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn open_subscription_intent(
        &self,
        connection: ConnectionId,
        resource: Resource,
        client_state: &SecretString,
    ) -> Result<SubscriptionId, StoreError> {
        let id = SubscriptionId(Uuid::now_v7());
        let mac = self.keys().mac(MacPurpose::ClientState, client_state.expose_secret().as_bytes());
        let intent = sql(INTENT).bind(id).bind(connection).bind(resource.as_str()).bind(mac.to_vec()).bind(self.now());
        self.write("open_subscription_intent", intent).await?;
        Ok(id)
    }

    /// Graph created it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn activate_subscription(
        &self,
        id: SubscriptionId,
        graph_id: Uuid,
        expires_at: Timestamp,
        renew_at: Timestamp,
    ) -> Result<(), StoreError> {
        let activate = sql(ACTIVATE).bind(id).bind(graph_id).bind(expires_at).bind(renew_at);
        self.write("activate_subscription", activate).await
    }

    /// Graph refused it: the intent goes.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn drop_subscription_intent(&self, id: SubscriptionId) -> Result<(), StoreError> {
        self.write("drop_subscription_intent", sql(DROP_INTENT).bind(id)).await
    }

    /// A renewal is about to be sent: its handshake, if Graph wants one, is answered.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn begin_renewal(&self, id: SubscriptionId) -> Result<(), StoreError> {
        self.write("begin_renewal", sql(BEGIN_RENEWAL).bind(id).bind(self.now())).await
    }

    /// Graph renewed it, or the renewal failed and is tried again at `renew_at`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn renew_subscription(
        &self,
        id: SubscriptionId,
        expires_at: Timestamp,
        renew_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write("renew_subscription", sql(RENEWED).bind(id).bind(expires_at).bind(renew_at)).await
    }

    /// Graph does not know it any more: notifications by it are forged from now on.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn mark_subscription_gone(&self, id: SubscriptionId) -> Result<(), StoreError> {
        self.write("mark_subscription_gone", sql(GONE).bind(id)).await
    }

    /// All subscriptions, those gone included, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_subscriptions(&self, connection: Option<ConnectionId>) -> Result<Vec<Subscription>, StoreError> {
        let query = match connection {
            Some(id) => sql(COLUMNS).push("WHERE connection_id = ").value(id).push(" ORDER BY id"),
            None => sql(COLUMNS).push("ORDER BY id"),
        };
        self.all("list_subscriptions", query).await?.iter().map(subscription_from).collect()
    }

    /// Active subscriptions whose time to renew has come.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn subscriptions_due(&self, now: Timestamp) -> Result<Vec<Subscription>, StoreError> {
        let query = sql(COLUMNS).push("WHERE status = 'active' AND renew_at <= ").value(now).push(" ORDER BY renew_at");
        self.all("subscriptions_due", query).await?.iter().map(subscription_from).collect()
    }
}

fn subscription_from(row: &Row) -> Result<Subscription, StoreError> {
    const T: &str = "subscription";
    Ok(Subscription {
        id: SubscriptionId(row.get("id")?),
        connection: ConnectionId(row.get("connection_id")?),
        resource: row.word(T, "resource", Resource::parse)?,
        status: row.word(T, "status", SubscriptionStatus::parse)?,
        graph_id: row.get("graph_id")?,
        expires_at: row.maybe_at("expires_at")?,
        renew_at: row.maybe_at("renew_at")?,
        pending_since: row.maybe_at("pending_since")?,
        created_at: row.at("created_at")?,
        last_notification_at: row.maybe_at("last_notification_at")?,
    })
}
