//! `sub_check`: our subscriptions against Graph's own list. Graph does not say when one for users or groups ends early,
//! so this is how it is found (FA-21).

use lockstep_core::Timestamp;
use lockstep_graph::RemoteSubscription;
use lockstep_store::{Resource, Subscription, SubscriptionStatus};
use secrecy::{ExposeSecret, SecretString};
use tracing::{info, warn};
use url::Url;
use uuid::Uuid;

use super::{Desk, redirect, renew};
use crate::error::WorkerError;

/// What is not as it should be.
#[derive(Debug, PartialEq)]
enum Finding<'a> {
    /// Ours, but not on the list.
    Unlisted(&'a Subscription),
    /// Ours, but it does not post where we listen: the public URL was changed.
    Elsewhere(&'a Subscription),
    /// Ours, and at its half-life; its lifecycle notifications go where we no longer listen, which cannot be changed.
    HalfElsewhere(&'a Subscription),
    /// Ours, but another one of ours watches the same.
    Double(&'a Subscription),
    /// It posts to us, and we know nothing of it: somebody died between Graph's create and our save (FA-19).
    Orphan(Uuid),
}

/// What is to be compared; `before` was read before the list was fetched, `known` after it.
struct Seen<'a> {
    before: &'a [Subscription],
    known: &'a [Subscription],
    remote: &'a [RemoteSubscription],
    path_token: &'a SecretString,
    notification_url: &'a Url,
    lifecycle_url: &'a Url,
    /// Whatever is to be renewed by then may as well be made anew.
    renewed_by: Timestamp,
    now: Timestamp,
}

impl Desk<'_> {
    pub(super) async fn compare(&self) -> Result<(), WorkerError> {
        let before = self.known().await?;
        let remote = self.client.list_subscriptions().await?;
        let known = self.known().await?;
        let path_token = self.store.path_token(self.connection).await?;
        let [notification_url, lifecycle_url] =
            ["notifications", "lifecycle"].map(|leaf| self.address(&path_token, leaf));
        let now = self.store.now();
        let seen = Seen {
            before: &before,
            known: &known,
            remote: &remote,
            path_token: &path_token,
            notification_url: &notification_url,
            lifecycle_url: &lifecycle_url,
            renewed_by: now + self.store.timing().sub_check,
            now,
        };
        for finding in seen.findings() {
            self.put_right(finding, &notification_url).await?;
        }
        Ok(())
    }

    async fn put_right(&self, finding: Finding<'_>, notification_url: &Url) -> Result<(), WorkerError> {
        match finding {
            // A list may be older than what it lists: only Graph's answer about the one says that it is gone.
            Finding::Unlisted(subscription) => renew(self.store, self.client, subscription).await.map(drop),
            Finding::Elsewhere(subscription) => {
                let id = subscription.id;
                info!(subscription.id = %id, "Subscription {id} posts to another public URL; it is told the new one");
                redirect(self.store, self.client, subscription, notification_url).await
            }
            Finding::HalfElsewhere(subscription) => {
                let id = subscription.id;
                info!(subscription.id = %id, "Lifecycle notifications of subscription {id} go to another public URL; it is created anew");
                self.replace(subscription).await
            }
            Finding::Double(subscription) => {
                let id = subscription.id;
                warn!(subscription.id = %id, "Subscription {id} is one too many; it is deleted");
                self.replace(subscription).await
            }
            Finding::Orphan(graph_id) => {
                let id = self.connection.id;
                warn!(connection.id = %id, "Deleting an orphaned subscription of connection {id}");
                Ok(self.client.delete_subscription(graph_id).await?)
            }
        }
    }

    /// Deleted in Graph first: dying in between leaves one that is found gone.
    async fn replace(&self, subscription: &Subscription) -> Result<(), WorkerError> {
        if let Some(graph_id) = subscription.graph_id {
            self.client.delete_subscription(graph_id).await?;
        }
        Ok(self.store.mark_subscription_gone(subscription.id).await?)
    }
}

impl<'a> Seen<'a> {
    fn findings(&self) -> Vec<Finding<'a>> {
        let active = self.known.iter().filter(|known| known.status == SubscriptionStatus::Active);
        let ours = active.filter_map(|known| self.judge(known));
        let orphans =
            self.remote.iter().filter(|remote| self.is_orphan(remote)).map(|remote| Finding::Orphan(remote.id));
        ours.chain(orphans).collect()
    }

    fn judge(&self, ours: &'a Subscription) -> Option<Finding<'a>> {
        match self.listed(ours) {
            // Created while the list was on its way: it says nothing about this one.
            None if !self.before.iter().any(|before| before.graph_id == ours.graph_id) => None,
            None => Some(Finding::Unlisted(ours)),
            Some(remote) if Url::parse(&remote.notification_url).ok().as_ref() != Some(self.notification_url) => {
                Some(Finding::Elsewhere(ours))
            }
            Some(_) if self.has_better(ours) => Some(Finding::Double(ours)),
            Some(remote) if self.is_half_elsewhere(remote) && ours.renew_at.is_some_and(|at| at <= self.renewed_by) => {
                Some(Finding::HalfElsewhere(ours))
            }
            Some(_) => None,
        }
    }

    fn is_half_elsewhere(&self, remote: &RemoteSubscription) -> bool {
        let url = remote.lifecycle_url.as_ref().and_then(|url| Url::parse(url).ok());
        url.is_some_and(|url| url != *self.lifecycle_url)
    }

    fn listed(&self, ours: &Subscription) -> Option<&'a RemoteSubscription> {
        self.remote.iter().find(|remote| Some(remote.id) == ours.graph_id)
    }

    /// The one that lives longest stays, as it is the one that is renewed.
    fn has_better(&self, ours: &Subscription) -> bool {
        let rank = |one: &Subscription| (one.expires_at, one.id);
        let rivals = self.known.iter().filter(|other| {
            other.status == SubscriptionStatus::Active && other.resource == ours.resource && other.id != ours.id
        });
        rivals.filter(|rival| self.listed(rival).is_some()).any(|rival| rank(rival) > rank(ours))
    }

    fn is_orphan(&self, remote: &RemoteSubscription) -> bool {
        let is_known = |known: &&Subscription| {
            let live = known.status == SubscriptionStatus::Active && known.graph_id == Some(remote.id);
            // Its creator may still be about to save it.
            let being_created = known.status == SubscriptionStatus::Pending
                && !known.is_stale_intent(self.now)
                && watches(remote, known.resource);
            live || being_created
        };
        bears(remote, self.path_token) && !self.known.iter().any(|known| is_known(&known))
    }
}

/// Whether it is for this resource; Graph's spelling may differ from ours in case and slashes.
pub(super) fn watches(remote: &RemoteSubscription, resource: Resource) -> bool {
    remote.resource.trim_matches('/').eq_ignore_ascii_case(resource.as_str())
}

/// Whether it posts to this connection, under whichever public URL. Those of other installations do not.
pub(super) fn bears(remote: &RemoteSubscription, path_token: &SecretString) -> bool {
    let url = Url::parse(&remote.notification_url).ok();
    let token = path_token.expose_secret();
    url.and_then(|url| Some(url.path_segments()?.any(|segment| segment == token))).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lockstep_core::{ConnectionId, SubscriptionId};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
    const HERE: &str = "https://sync.example/graph/token/notifications";

    fn ours(graph_id: u128, status: SubscriptionStatus) -> Subscription {
        Subscription {
            id: SubscriptionId(Uuid::from_u128(graph_id + 1000)),
            connection: ConnectionId(Uuid::nil()),
            resource: Resource::Users,
            status,
            graph_id: (status != SubscriptionStatus::Pending).then(|| Uuid::from_u128(graph_id)),
            expires_at: Some(NOW + Duration::from_secs(3600)),
            renew_at: None,
            pending_since: None,
            created_at: NOW,
            last_notification_at: None,
        }
    }

    fn remote(graph_id: u128, url: &str) -> RemoteSubscription {
        RemoteSubscription {
            id: Uuid::from_u128(graph_id),
            resource: "/Users".to_owned(),
            notification_url: url.to_owned(),
            lifecycle_url: Some(url.replace("notifications", "lifecycle")),
            expires_at: NOW,
        }
    }

    /// How many findings of each kind: unlisted, elsewhere (wholly or half), double, orphan.
    fn counted(before: &[Subscription], known: &[Subscription], remote: &[RemoteSubscription]) -> [usize; 4] {
        let (path_token, notification_url) = (SecretString::from("token"), Url::parse(HERE).expect("a URL"));
        let lifecycle_url = Url::parse(&HERE.replace("notifications", "lifecycle")).expect("a URL");
        let seen = Seen {
            before,
            known,
            remote,
            path_token: &path_token,
            notification_url: &notification_url,
            lifecycle_url: &lifecycle_url,
            renewed_by: NOW,
            now: NOW,
        };
        let mut counts = [0; 4];
        for finding in seen.findings() {
            counts[match finding {
                Finding::Unlisted(_) => 0,
                Finding::Elsewhere(_) | Finding::HalfElsewhere(_) => 1,
                Finding::Double(_) => 2,
                Finding::Orphan(_) => 3,
            }] += 1;
        }
        counts
    }

    #[test]
    fn fa21_one_of_ours_that_is_not_listed_is_asked_about() {
        let known = [ours(1, SubscriptionStatus::Active)];
        assert_eq!(counted(&known, &known, &[]), [1, 0, 0, 0]);
        assert_eq!(counted(&known, &known, &[remote(1, HERE)]), [0; 4]);
        assert_eq!(counted(&[], &known, &[]), [0; 4], "created after the list was asked for");
        let gone = [ours(1, SubscriptionStatus::Gone)];
        assert_eq!(counted(&gone, &gone, &[]), [0; 4]);
    }

    #[test]
    fn fa19_an_unknown_one_that_posts_to_us_is_an_orphan_unless_it_is_being_created() {
        assert_eq!(counted(&[], &[], &[remote(1, HERE)]), [0, 0, 0, 1]);
        let moved = remote(1, "https://old.example/graph/token/notifications");
        assert_eq!(counted(&[], &[], &[moved]), [0, 0, 0, 1], "under an older public URL");
        let foreign = remote(1, "https://sync.example/graph/another/notifications");
        assert_eq!(counted(&[], &[], &[foreign, remote(2, "")]), [0; 4], "another installation's");

        let mut intent = ours(9, SubscriptionStatus::Pending);
        assert_eq!(counted(&[], &[intent.clone()], &[remote(1, HERE)]), [0; 4]);
        intent.created_at = NOW - Duration::from_secs(61);
        assert_eq!(counted(&[], &[intent], &[remote(1, HERE)]), [0, 0, 0, 1]);
        let retired = [ours(1, SubscriptionStatus::Gone)];
        assert_eq!(counted(&retired, &retired, &[remote(1, HERE)]), [0, 0, 0, 1]);
    }

    #[test]
    fn fa20_of_two_for_the_same_resource_one_stays() {
        let mut other = ours(2, SubscriptionStatus::Active);
        let both = [remote(1, HERE), remote(2, HERE)];
        let known = [ours(1, SubscriptionStatus::Active), other.clone()];
        assert_eq!(counted(&known, &known, &both), [0, 0, 1, 0]);
        other.resource = Resource::Groups;
        let known = [ours(1, SubscriptionStatus::Active), other];
        assert_eq!(counted(&known, &known, &both), [0; 4]);
    }

    #[test]
    fn one_that_posts_to_an_older_public_url_is_redirected() {
        let known = [ours(1, SubscriptionStatus::Active)];
        let moved = remote(1, "https://old.example/graph/token/notifications");
        assert_eq!(counted(&known, &known, &[moved]), [0, 1, 0, 0]);
    }

    #[test]
    fn an_older_lifecycle_address_waits_for_the_half_life() {
        let old = "https://old.example/graph/token/lifecycle".to_owned();
        let redirected = [RemoteSubscription { lifecycle_url: Some(old), ..remote(1, HERE) }];
        let mut known = [ours(1, SubscriptionStatus::Active)];
        known[0].renew_at = Some(NOW + Duration::from_secs(1));
        assert_eq!(counted(&known, &known, &redirected), [0; 4]);
        known[0].renew_at = Some(NOW);
        assert_eq!(counted(&known, &known, &redirected), [0, 1, 0, 0]);
        let untold = [RemoteSubscription { lifecycle_url: None, ..remote(1, HERE) }];
        assert_eq!(counted(&known, &known, &untold), [0; 4]);
    }
}
