//! `lockstep subscription …`: what Microsoft was asked to notify about.

use clap::{Args, Subcommand};
use lockstep_core::SubscriptionId;
use lockstep_store::view::subscription::{SubscriptionFilter, SubscriptionView};
use lockstep_worker::{Renewed, renew_subscriptions_now};

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
}

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
