//! The two subscriptions of a connection: compared with Graph's own list, renewed at half-life, created when missing.
//! What fails for one of them is tried again with back-off and said on the connection, which goes on working.

pub(crate) mod by_command;
mod compare;
mod create;
mod upkeep;

use lockstep_core::spans::TARGET;
use lockstep_core::{SubscriptionId, Timestamp};
use lockstep_graph::{GraphClient, GraphError, RenewOutcome};
use lockstep_store::{Connection, Resource, Store, Subscription, SubscriptionStatus};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use tracing::{Instrument as _, Span, info, warn};
use url::Url;

use crate::context::Context;
use crate::error::WorkerError;
use crate::supervise::chain;
use crate::trouble::chance;

use upkeep::Memory;
pub(crate) use upkeep::Upkeep;

/// How the connection's reason begins while something is wrong with its subscriptions only.
const DRAWBACK: &str = "Microsoft does not notify of every change: ";

/// One renewed subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Renewed {
    /// Ours.
    pub id: SubscriptionId,
    /// When it ends now; `None`: it is gone in Graph and the scheduler creates it anew.
    pub expires_at: Option<Timestamp>,
}

/// Whether anything was created, so that changes may have been missed before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub created: bool,
}

/// What the work on one connection's subscriptions needs.
#[derive(Clone, Copy)]
struct Desk<'a> {
    store: &'a Store,
    connection: &'a Connection,
    client: &'a GraphClient,
    public_url: &'a Url,
}

/// Brings both subscriptions to where they should be. Without a public URL there are none.
///
/// # Errors
/// When the store, or Graph as a whole, is in trouble. Whatever else fails is noted here and tried again.
pub(crate) async fn keep(ctx: &Context, connection: &Connection, client: &GraphClient) -> Result<Kept, WorkerError> {
    let Some(public_url) = &ctx.config.public_url else {
        return Ok(Kept::default());
    };
    // Full syncs and the scheduler come here: one at a time in this process, and one intent at a time in the store.
    let mut upkeep = ctx.subscribing.lock().await;
    let memory = upkeep.of(connection.id);
    if memory.waits(ctx.store.now()) {
        return Ok(Kept::default());
    }
    let desk = Desk { store: &ctx.store, connection, client, public_url };
    let (kept, failure) = desk.attend(memory).await?;
    match failure {
        None => desk.note_complete(memory).await?,
        Some(failure) => desk.note_failure(memory, &failure).await?,
    }
    Ok(kept)
}

enum Standing<'a> {
    Good,
    BeingCreated,
    Due(&'a Subscription),
    /// Graph let it end: we were away, or every renewal failed.
    Ended(&'a Subscription),
    Missing,
}

fn standing(known: &[Subscription], resource: Resource, now: Timestamp) -> Standing<'_> {
    let of = |state| known.iter().filter(move |known| known.resource == resource && known.status == state);
    if let Some(live) = of(SubscriptionStatus::Active).max_by_key(|live| live.expires_at) {
        return match (live.expires_at, live.renew_at) {
            (Some(end), _) if end <= now => Standing::Ended(live),
            (_, Some(renew_at)) if renew_at > now => Standing::Good,
            _ => Standing::Due(live),
        };
    }
    if of(SubscriptionStatus::Pending).any(|intent| !intent.is_stale_intent(now)) {
        return Standing::BeingCreated;
    }
    Standing::Missing
}

/// Trouble that is not the subscriptions' own. With Microsoft's limit of subscriptions reached, all else works.
fn is_beyond_them(failure: &WorkerError) -> bool {
    let quota = matches!(failure, WorkerError::Graph(GraphError::SubscriptionQuota));
    matches!(failure, WorkerError::Store(_)) || (failure.is_connection_wide() && !quota)
}

impl Desk<'_> {
    /// One round; what fails for one does not keep the others from being looked at. The first failure is told.
    async fn attend(&self, memory: &mut Memory) -> Result<(Kept, Option<WorkerError>), WorkerError> {
        let mut kept = Kept::default();
        let mut failures = Vec::new();
        let mut known = self.known().await?;
        let stale: Vec<_> =
            known.iter().filter(|known| known.is_stale_intent(self.store.now())).map(|it| it.id).collect();
        let must_compare = memory.must_compare(self.connection, self.store) || !stale.is_empty();
        if must_compare {
            failures.extend(own_failure(self.compare().instrument(self.span("compare")).await)?);
            known = self.known().await?;
        }
        let compared = must_compare && failures.is_empty();
        for resource in [Resource::Users, Resource::Groups] {
            match self.bring(&known, resource).await {
                Ok(created) => kept.created |= created,
                Err(failure) => failures.extend(own_failure(Err(failure))?),
            }
        }
        if compared {
            // Only now: until the orphan of an intent was looked for and replaced, its notifications are taken.
            for intent in stale {
                self.store.drop_subscription_intent(intent).await?;
            }
            memory.note_compared(self.store.now());
        }
        Ok((kept, failures.into_iter().next()))
    }

    /// Whether one had to be created.
    async fn bring(&self, known: &[Subscription], resource: Resource) -> Result<bool, WorkerError> {
        match standing(known, resource, self.store.now()) {
            Standing::Good | Standing::BeingCreated => return Ok(false),
            Standing::Due(subscription) => {
                let renewing = renew(self.store, self.client, subscription);
                if renewing.instrument(self.span("renew")).await?.expires_at.is_some() {
                    return Ok(false);
                }
            }
            Standing::Ended(subscription) => self.note_gone(subscription).await?,
            Standing::Missing => {}
        }
        self.create(resource).instrument(self.span("create")).await
    }

    fn span(&self, action: &'static str) -> Span {
        tracing::debug_span!(target: TARGET, "tend subscriptions", action, connection.id = %self.connection.id)
    }

    async fn known(&self) -> Result<Vec<Subscription>, WorkerError> {
        Ok(self.store.list_subscriptions(Some(self.connection.id)).await?)
    }

    async fn note_gone(&self, subscription: &Subscription) -> Result<(), WorkerError> {
        note_gone(self.store, subscription).await
    }

    async fn note_complete(&self, memory: &mut Memory) -> Result<(), WorkerError> {
        memory.note_complete();
        match &self.connection.reason {
            Some(reason) if reason.starts_with(DRAWBACK) => {
                Ok(self.store.clear_drawback(self.connection.id, reason).await?)
            }
            _ => Ok(()),
        }
    }

    async fn note_failure(&self, memory: &mut Memory, failure: &WorkerError) -> Result<(), WorkerError> {
        let id = self.connection.id;
        memory.note_failure(self.store.now());
        warn!(connection.id = %id, error = %chain(failure), "Connection {id} has no complete set of subscriptions");
        let remedy = match failure {
            WorkerError::Graph(error) => error.operator_sentence(),
            other => other.to_string(),
        };
        Ok(self.store.note_drawback(id, &format!("{DRAWBACK}{failure}"), &remedy).await?)
    }

    /// Where Graph is to post for this connection; `leaf` is `notifications` or `lifecycle`.
    fn address(&self, path_token: &SecretString, leaf: &str) -> Url {
        let mut url = self.public_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["graph", path_token.expose_secret(), leaf]);
        }
        url
    }
}

/// The failure when it is the subscriptions' own, for later.
fn own_failure(ended: Result<(), WorkerError>) -> Result<Option<WorkerError>, WorkerError> {
    match ended {
        Err(failure) if is_beyond_them(&failure) => Err(failure),
        other => Ok(other.err()),
    }
}

async fn note_gone(store: &Store, subscription: &Subscription) -> Result<(), WorkerError> {
    let id = subscription.id;
    warn!(subscription.id = %id, "Subscription {id} is gone in Graph; it is created anew and caught up");
    Ok(store.mark_subscription_gone(id).await?)
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
    tracing::trace!(target: "lockstep::point", "renewal.begun");
    let until = store.now() + store.timing().sub_lifetime;
    let outcome = client.renew_subscription(graph_id, until).await?;
    save_renewal(store, subscription, outcome).await
}

/// Has it post to where we listen now. What it posted elsewhere since the public URL was changed is a gap.
async fn redirect(
    store: &Store,
    client: &GraphClient,
    subscription: &Subscription,
    notification_url: &Url,
) -> Result<(), WorkerError> {
    let Some(graph_id) = subscription.graph_id else {
        return Ok(());
    };
    // Graph calls the new address before it believes in it.
    store.begin_renewal(subscription.id).await?;
    let until = store.now() + store.timing().sub_lifetime;
    let outcome = client.redirect_subscription(graph_id, notification_url, until).await?;
    save_renewal(store, subscription, outcome).await?;
    Ok(store.mark_gap(subscription.connection).await?)
}

async fn save_renewal(
    store: &Store,
    subscription: &Subscription,
    outcome: RenewOutcome,
) -> Result<Renewed, WorkerError> {
    let id = subscription.id;
    match outcome {
        RenewOutcome::Renewed { expires_at } => {
            tracing::trace!(target: "lockstep::point", "renewal.answered");
            store.renew_subscription(id, expires_at, renew_at(store.now(), expires_at)).await?;
            tracing::trace!(target: "lockstep::point", "renewal.saved");
            info!(subscription.id = %id, "Renewed subscription {id}");
            Ok(Renewed { id, expires_at: Some(expires_at) })
        }
        RenewOutcome::Gone => {
            note_gone(store, subscription).await?;
            Ok(Renewed { id, expires_at: None })
        }
    }
}
