//! Subscriptions as they are shown.

use std::time::Duration;

use lockstep_core::renewal::SubscriptionStatus;
use lockstep_core::{SubscriptionId, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use super::PAGE;
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, sql};

/// A subscription of ours with Graph. Graph's own id is in no view: it is half of what a forger needs (TH-01).
#[derive(Clone, Debug, Serialize)]
pub struct SubscriptionView {
    /// Ours.
    pub id: SubscriptionId,
    /// Name of the connection.
    pub connection: String,
    /// `users` or `groups`.
    pub resource: String,
    /// How it does.
    pub status: SubscriptionStatus,
    /// When Graph ends it; null while it is pending.
    pub expires_at: Option<Timestamp>,
    /// The last authentic notification by it.
    pub last_notification_at: Option<Timestamp>,
}

/// Which subscriptions to list.
#[derive(Clone, Copy)]
pub struct SubscriptionFilter<'a> {
    /// Of the connection of this name.
    pub connection: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
    /// Older than this one.
    pub after: Option<SubscriptionId>,
}

impl Default for SubscriptionFilter<'_> {
    fn default() -> Self {
        Self { connection: None, limit: PAGE, after: None }
    }
}

const SUBSCRIPTIONS: &str = "SELECT s.id, c.name AS connection, s.resource, s.status, s.expires_at, s.last_notification_at \
     FROM subscription s JOIN connection c ON c.id = s.connection_id WHERE TRUE";

impl SubscriptionView {
    fn from_row(row: &Row, lifetime: Duration, now: Timestamp) -> Result<Self, StoreError> {
        let expires_at = row.maybe_at("expires_at")?;
        let status = |stored: &str| match stored {
            "pending" => Some(SubscriptionStatus::Pending),
            "active" => Some(SubscriptionStatus::at(expires_at, lifetime, now)),
            "gone" => Some(SubscriptionStatus::Gone),
            _ => None,
        };
        Ok(Self {
            id: SubscriptionId(row.get::<Uuid>("id")?),
            connection: row.get("connection")?,
            resource: row.get("resource")?,
            status: row.word("subscription", "status", status)?,
            expires_at,
            last_notification_at: row.maybe_at("last_notification_at")?,
        })
    }
}

impl Store {
    /// Subscriptions, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_subscription_views(
        &self,
        filter: &SubscriptionFilter<'_>,
    ) -> Result<Vec<SubscriptionView>, StoreError> {
        let query = sql(SUBSCRIPTIONS)
            .and("c.name = ", filter.connection)
            .and("s.id < ", filter.after)
            .page(" ORDER BY s.id DESC", filter.limit);
        let (lifetime, now) = (self.timing().sub_lifetime, self.now());
        let rows = self.shown("listing subscriptions", query).await?;
        rows.iter().map(|row| SubscriptionView::from_row(row, lifetime, now)).collect()
    }
}
