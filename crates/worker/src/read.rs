//! Reading people. Each request takes a place and draws its ticket directly before it goes out (G-08); who many are is
//! asked together (`read/many.rs`).

mod many;

use std::collections::BTreeMap;

use lockstep_core::mirror::{MembershipRead, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::profile::Profile;
use lockstep_core::{ObjectId, Ticket, Timestamp};
use lockstep_graph::{GraphClient, Memberships, MembershipsRead, UserRead};
use lockstep_store::Store;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::error::WorkerError;

pub(crate) use many::{Asked, Missed};

/// Which facets to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facets {
    pub profile: bool,
    pub membership: bool,
    /// Tell direct membership from nested.
    pub direct_too: bool,
}

/// Reads for one connection, no more at a time than there are places.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub store: &'a Store,
    pub client: &'a GraphClient,
    pub places: &'a Semaphore,
}

/// When a read began, and where it stands among all reads.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    pub ticket: Ticket,
    pub read_at: Timestamp,
}

impl<'a> Reader<'a> {
    /// Reads one person by id, what is asked for concurrently.
    pub(crate) async fn person(&self, user: ObjectId, facets: Facets) -> Result<PersonRead, WorkerError> {
        self.person_whose_profile(user, facets, self.profile(user)).await
    }

    /// The same; the profile, if it is asked for, is read by `profile`.
    pub(crate) async fn person_whose_profile(
        &self,
        user: ObjectId,
        facets: Facets,
        profile: impl Future<Output = Result<ProfileRead, WorkerError>>,
    ) -> Result<PersonRead, WorkerError> {
        // Neither is called off when the other fails: it may be the probe by which an outage ends (FA-12).
        let (profile, membership) =
            futures::future::join(async { if facets.profile { profile.await.map(Some) } else { Ok(None) } }, async {
                if facets.membership { self.membership(user, facets.direct_too).await } else { Ok(None) }
            })
            .await;
        let (profile, membership) = (profile?, membership?);
        let unexplained = facets.membership && membership.is_none() && profile.is_none();
        // Nobody's memberships can be read once they are deleted: the profile tells whether that is so.
        let profile = if unexplained { Some(self.profile(user).await?) } else { profile };
        Ok(PersonRead { user, profile, membership })
    }

    pub(crate) async fn profile(&self, user: ObjectId) -> Result<ProfileRead, WorkerError> {
        let (_place, order) = self.begin().await?;
        read_profile(self.client, user, order).await
    }

    /// `None`: there is no such user now, which says nothing about their groups.
    async fn membership(&self, user: ObjectId, direct_too: bool) -> Result<Option<MembershipRead>, WorkerError> {
        let (_place, order) = self.begin().await?;
        Ok(order.membership(self.client.read_memberships(user, direct_too).await?))
    }

    /// Waits for a place, then draws a ticket: the other way round it would be old by the time the request goes out.
    async fn begin(&self) -> Result<(SemaphorePermit<'a>, Order), WorkerError> {
        let place = self.take_place().await?;
        let (ticket, read_at) = stamp(self.store).await?;
        Ok((place, Order { ticket, read_at }))
    }

    /// A place for work that draws its tickets itself.
    pub(crate) async fn take_place(&self) -> Result<SemaphorePermit<'a>, WorkerError> {
        self.places.acquire().await.map_err(|_| WorkerError::Stopping)
    }
}

/// Reads a profile at this place in the order, which was drawn for it just now.
pub(crate) async fn read_profile(
    client: &GraphClient,
    user: ObjectId,
    order: Order,
) -> Result<ProfileRead, WorkerError> {
    Ok(match client.read_user(user).await? {
        UserRead::Present(profile) => order.present(Source::ById, profile),
        UserRead::NotFound => order.missing(client.is_deleted_user(user).await?),
    })
}

impl Order {
    fn present(self, source: Source, profile: Box<Profile>) -> ProfileRead {
        self.profile(source, ProfileFound::Present(profile.into()))
    }

    fn missing(self, in_deleted_items: bool) -> ProfileRead {
        self.profile(Source::ById, ProfileFound::Missing { in_deleted_items })
    }

    fn profile(self, source: Source, found: ProfileFound) -> ProfileRead {
        ProfileRead { ticket: self.ticket, read_at: self.read_at, source, found }
    }

    fn membership(self, read: MembershipsRead) -> Option<MembershipRead> {
        let MembershipsRead::Present(found) = read else { return None };
        let (ticket, read_at) = (self.ticket, self.read_at);
        Some(MembershipRead { ticket, read_at, source: Source::ById, groups: edges(found) })
    }
}

fn edges(found: Memberships) -> BTreeMap<ObjectId, Option<bool>> {
    let Memberships { transitive, direct } = found;
    let Some(direct) = direct else {
        return transitive.into_iter().map(|group| (group, None)).collect();
    };
    let mut edges: BTreeMap<_, _> = transitive.into_iter().map(|group| (group, Some(false))).collect();
    // The two lists are two requests: who joined in between is in the second one only.
    edges.extend(direct.into_iter().map(|group| (group, Some(true))));
    edges
}

/// A place in the order of reads, and when the read begins by store time.
pub(crate) async fn stamp(store: &Store) -> Result<(Ticket, Timestamp), WorkerError> {
    let ticket = store.draw_ticket().await?;
    Ok((ticket, store.now()))
}

/// The ticket that all of a read came after: what it may settle (G-05).
pub(crate) fn decisive(read: &PersonRead) -> Option<(Ticket, Timestamp)> {
    let profile = read.profile.as_ref().map(|read| (read.ticket, read.read_at));
    let membership = read.membership.as_ref().map(|read| (read.ticket, read.read_at));
    profile.into_iter().chain(membership).min()
}
