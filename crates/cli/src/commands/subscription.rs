//! `lockstep subscription …`: what Microsoft was asked to notify about.

use std::time::Duration;

use clap::{Args, Subcommand};
use lockstep_core::SubscriptionId;
use lockstep_store::view::subscription::{SubscriptionFilter, SubscriptionView};
use lockstep_store::{Store, Subscription as Stored, SubscriptionStatus};
use lockstep_worker::{Renewed, dismiss_subscriptions, renew_subscriptions_now};
use tokio::time::Instant;

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{Listing, or_dash};
use crate::word::word;

#[derive(Subcommand)]
pub enum Subscription {
    /// List subscriptions
    List(List),
    /// Renew one subscription, or all, now
    Renew {
        /// The subscription's id; all when left out
        id: Option<SubscriptionId>,
    },
    /// Delete one subscription, or all, and have `serve` make them anew with another secret
    Recreate {
        /// The subscription's id; all when left out
        id: Option<SubscriptionId>,
    },
}

/// A scheduler that lives beats every 2 s.
const SERVES: Duration = Duration::from_secs(10);
/// One look of the scheduler and two handshakes each.
const MADE_WITHIN: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct List {
    /// Of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    #[command(flatten)]
    page: Page,
}

const LISTING: Listing<'_, SubscriptionView> = Listing {
    columns: &["id", "connection", "resource", "status", "expires", "last notification"],
    row: |subscription| {
        vec![
            subscription.id.to_string(),
            subscription.connection.clone(),
            subscription.resource.clone(),
            word(subscription.status),
            or_dash(subscription.expires_at.as_ref()),
            or_dash(subscription.last_notification_at.as_ref()),
        ]
    },
    when_empty: "no subscriptions: `lockstep serve` makes them once LOCKSTEP_PUBLIC_URL is set and a connection has rules",
};

const RENEWED: Listing<'_, Renewed> = Listing {
    columns: &["id", "expires"],
    row: |one| {
        vec![one.id.to_string(), one.expires_at.map_or_else(|| "gone in Microsoft".to_owned(), |at| at.to_string())]
    },
    when_empty: "nothing to renew: no subscription is active",
};

impl Subscription {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Renew { id } => renew(app, id).await,
            Self::Recreate { id } => recreate(app, id).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Outcome {
        let filter = SubscriptionFilter {
            connection: self.connection.as_deref(),
            limit: self.page.limit,
            ..SubscriptionFilter::default()
        };
        LISTING.print(app.format, &app.store().await?.list_subscription_views(&filter).await?)
    }
}

async fn renew(app: &App, id: Option<SubscriptionId>) -> Outcome {
    let store = app.store().await?;
    let mut renewed = Vec::new();
    for connection in store.list_connections().await? {
        renewed.extend(renew_subscriptions_now(&store, &connection, &app.graph(), id).await?);
    }
    RENEWED.print(app.format, &renewed)?;
    match renewed.iter().filter(|one| one.expires_at.is_none()).count() {
        _ if id.is_some() && renewed.is_empty() => {
            Err(Failure::Failed("renewing: there is no active subscription with this id".to_owned()))
        }
        0 => Ok(()),
        gone => {
            Err(Failure::Failed(format!("renewing: {gone} are gone in Microsoft; `lockstep serve` makes them anew")))
        }
    }
}

/// Only `serve` can make them: Microsoft calls its notification address while a subscription is made.
async fn recreate(app: &App, id: Option<SubscriptionId>) -> Outcome {
    let store = app.store().await?;
    if store.workers_alive(SERVES).await? == 0 {
        return Err(Failure::Failed(
            "recreating: `lockstep serve` makes subscriptions, and none is running here; start it first".to_owned(),
        ));
    }
    let mut dismissed = Vec::new();
    for connection in store.list_connections().await? {
        dismissed.extend(dismiss_subscriptions(&store, &connection, &app.graph(), id).await?);
    }
    if id.is_some() && dismissed.is_empty() {
        return Err(Failure::Failed("recreating: there is no active subscription with this id".to_owned()));
    }
    let successors = successors(&store, &dismissed).await?;
    let filter = SubscriptionFilter { limit: usize::MAX, ..SubscriptionFilter::default() };
    let mut shown = store.list_subscription_views(&filter).await?;
    shown.retain(|subscription| successors.contains(&subscription.id));
    LISTING.print(app.format, &shown)
}

/// Waits until each has a successor.
async fn successors(store: &Store, dismissed: &[SubscriptionId]) -> Result<Vec<SubscriptionId>, Failure> {
    let began = Instant::now();
    loop {
        let known = store.list_subscriptions(None).await?;
        let gone = known.iter().filter(|known| dismissed.contains(&known.id));
        let found: Option<Vec<_>> = gone.map(|gone| successor(&known, gone)).collect();
        if let Some(found) = found {
            return Ok(found);
        }
        if began.elapsed() >= MADE_WITHIN {
            return Err(Failure::Failed(
                "recreating: deleted in Microsoft, but not made anew within 60 s; `lockstep connection list` says why, and `lockstep serve` goes on trying".to_owned(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn successor(known: &[Stored], gone: &Stored) -> Option<SubscriptionId> {
    let same = |other: &&Stored| {
        let live = other.status == SubscriptionStatus::Active;
        live && (other.connection, other.resource) == (gone.connection, gone.resource)
    };
    known.iter().find(same).map(|found| found.id)
}
