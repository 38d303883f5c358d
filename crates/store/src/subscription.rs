//! Subscriptions as we keep them: the intent comes before the call to Graph, so that nothing it causes is unknown.

use std::time::Duration;

use lockstep_core::{ConnectionId, SubscriptionId, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{Actor, AuditEntry};
use crate::connection::health::mark_gap_statement;
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::secret::MacPurpose;
use crate::sql::{Row, sql};

const COLUMNS: &str =
    "SELECT id, connection_id, resource, status, graph_id, expires_at, renew_at, pending_since, created_at,
    last_notification_at FROM subscription ";
const INTENT: &str =
    "INSERT INTO subscription (id, connection_id, resource, status, client_state_mac, pending_since, created_at)
    SELECT $1, $2, $3, 'pending', $4, $5, $5 WHERE NOT EXISTS (SELECT 1 FROM subscription
        WHERE connection_id = $2 AND resource = $3 AND status = 'pending' AND created_at >= $6)";
const ACTIVATE: &str =
    "UPDATE subscription SET status = 'active', graph_id = $2, expires_at = $3, renew_at = $4, pending_since = NULL
    WHERE id = $1 AND status = 'pending'";
const IS_SYNCED: &str = "SELECT id FROM connection WHERE id = $1 AND first_sync_at IS NOT NULL";
const DROP_INTENT: &str = "DELETE FROM subscription WHERE id = $1 AND status = 'pending'";
const BEGIN_RENEWAL: &str = "UPDATE subscription SET pending_since = $2 WHERE id = $1 AND status = 'active'";
const RENEWED: &str =
    "UPDATE subscription SET expires_at = $2, renew_at = $3, pending_since = NULL WHERE id = $1 AND status = 'active'";
const GONE: &str =
    "UPDATE subscription SET status = 'gone', renew_at = NULL, pending_since = NULL WHERE id = $1 AND status <> 'gone'";

/// A create takes 20 s at most: an intent this old belongs to a process that died over it (FA-19).
const INTENT_LIFE: Duration = Duration::from_secs(60);

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

impl Subscription {
    /// An intent whose process died over it. What it may have created is an orphan in Graph.
    pub fn is_stale_intent(&self, now: Timestamp) -> bool {
        self.status == SubscriptionStatus::Pending && now.since(self.created_at) > INTENT_LIFE
    }

    /// The last time that anything showed it alive: created, renewed, or a notification by it.
    fn last_sign_of_life(&self, lifetime: Duration) -> Timestamp {
        let renewed = self.expires_at.map(|at| at - lifetime);
        [renewed, self.last_notification_at].into_iter().flatten().fold(self.created_at, Timestamp::max)
    }
}

impl Store {
    /// Writes the intent *before* Graph is called: notifications with this clientState are accepted from now on, and a
    /// crash between Graph's create and our save leaves a trace (FA-19).
    ///
    /// One process at a time creates for one resource: the intent is the lease on it (FA-20).
    ///
    /// # Errors
    /// `Conflict` when somebody else is creating the same at this moment.
    pub async fn open_subscription_intent(
        &self,
        connection: ConnectionId,
        resource: Resource,
        client_state: &SecretString,
    ) -> Result<SubscriptionId, StoreError> {
        const OPERATION: &str = "open_subscription_intent";
        let (id, now) = (SubscriptionId(Uuid::now_v7()), self.now());
        let mac = self.keys().mac(MacPurpose::ClientState, client_state.expose_secret().as_bytes());
        let intent = sql(INTENT).bind(id).bind(connection).bind(resource.as_str()).bind(mac.to_vec()).bind(now);
        let mut tx = self.begin(OPERATION).await?;
        tx.lock_name(format!("subscriptions of {connection}")).await?;
        let opened = tx.run(intent.bind(now - INTENT_LIFE)).await? > 0;
        tx.commit().await?;
        if opened { Ok(id) } else { Err(StoreError::Conflict { operation: OPERATION, why: "an intent is open" }) }
    }

    /// Graph created it. Whatever happened before now was not notified: a gap, told with its start and end in the audit
    /// (FA-21). `false`: the intent is no longer there, so nobody will take notifications by it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn activate_subscription(
        &self,
        id: SubscriptionId,
        graph_id: Uuid,
        expires_at: Timestamp,
        renew_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin("activate_subscription").await?;
        let activated = tx.run(sql(ACTIVATE).bind(id).bind(graph_id).bind(expires_at).bind(renew_at)).await? > 0;
        if activated {
            tx.end_of_gap(id).await?;
        }
        tx.commit().await?;
        Ok(activated)
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
        self.give_up(id, Actor::Sync, "subscription.gone").await
    }

    /// A person wants it made anew, with another clientState (TH-03): the scheduler does so within a second.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn dismiss_subscription(&self, id: SubscriptionId) -> Result<(), StoreError> {
        self.give_up(id, Actor::Cli, "subscription.dismiss").await
    }

    async fn give_up(&self, id: SubscriptionId, actor: Actor, action: &'static str) -> Result<(), StoreError> {
        let mut tx = self.begin("give_up_subscription").await?;
        if tx.run(sql(GONE).bind(id)).await? > 0
            && let Some(gone) = tx.one(sql(COLUMNS).push("WHERE id = ").value(id)).await?
        {
            let gone = subscription_from(&gone)?;
            let detail = json!({ "gap_from": gone.last_sign_of_life(self.timing().sub_lifetime) });
            tx.audit_subscription(&gone, actor, action, detail).await?;
        }
        tx.commit().await
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

impl Tx {
    /// A subscription begins to notify; what a first sync has yet to list is no gap.
    async fn end_of_gap(&mut self, id: SubscriptionId) -> Result<(), StoreError> {
        let begun = self.only(sql(COLUMNS).push("WHERE id = ").value(id)).await?;
        let begun = subscription_from(&begun)?;
        let gone = sql(COLUMNS).push("WHERE status = 'gone' AND connection_id = ").value(begun.connection);
        let gone = gone.push(" AND resource = ").value(begun.resource.as_str()).push(" ORDER BY id DESC LIMIT 1");
        let gone = self.one(gone).await?.as_ref().map(subscription_from).transpose()?;
        let lifetime = self.timing().sub_lifetime;
        let (from, until) = (gone.map(|gone| gone.last_sign_of_life(lifetime)), self.now());
        if self.one(sql(IS_SYNCED).bind(begun.connection)).await?.is_some() {
            self.run(mark_gap_statement(begun.connection, until)).await?;
        }
        let detail = json!({ "gap_from": from, "gap_until": until });
        self.audit_subscription(&begun, Actor::Sync, "subscription.create", detail).await
    }

    async fn audit_subscription(
        &mut self,
        subscription: &Subscription,
        actor: Actor,
        action: &'static str,
        mut detail: Value,
    ) -> Result<(), StoreError> {
        detail["resource"] = subscription.resource.as_str().into();
        self.audit(AuditEntry {
            connection: Some(subscription.connection),
            actor,
            action,
            object_kind: "subscription",
            object_id: subscription.id.to_string(),
            detail,
        })
        .await
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
