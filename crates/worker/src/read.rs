//! Reading one person by id. Each request draws its ticket directly before it goes out (G-08).

use std::collections::BTreeMap;

use lockstep_core::mirror::{MembershipRead, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::{ObjectId, Ticket, Timestamp};
use lockstep_graph::{GraphClient, Memberships, MembershipsRead, UserRead};
use lockstep_store::Store;

use crate::error::WorkerError;

/// Which facets to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facets {
    pub profile: bool,
    pub membership: bool,
    /// Tell direct membership from nested.
    pub direct_too: bool,
}

/// Reads what is asked for, concurrently.
pub(crate) async fn read_person(
    store: &Store,
    client: &GraphClient,
    user: ObjectId,
    facets: Facets,
) -> Result<PersonRead, WorkerError> {
    let (profile, membership) = futures::future::try_join(
        async { if facets.profile { read_profile(store, client, user).await.map(Some) } else { Ok(None) } },
        async {
            if facets.membership { read_membership(store, client, user, facets.direct_too).await } else { Ok(None) }
        },
    )
    .await?;
    let unexplained = facets.membership && membership.is_none() && profile.is_none();
    // Nobody's memberships can be read once they are deleted: the profile tells whether that is so.
    let profile = if unexplained { Some(read_profile(store, client, user).await?) } else { profile };
    Ok(PersonRead { user, profile, membership })
}

async fn read_profile(store: &Store, client: &GraphClient, user: ObjectId) -> Result<ProfileRead, WorkerError> {
    let (ticket, read_at) = stamp(store).await?;
    let found = match client.read_user(user).await? {
        UserRead::Present(profile) => ProfileFound::Present(profile),
        UserRead::NotFound => ProfileFound::Missing { in_deleted_items: client.is_deleted_user(user).await? },
    };
    Ok(ProfileRead { ticket, read_at, source: Source::ById, found })
}

/// `None`: there is no such user now, which says nothing about their groups.
async fn read_membership(
    store: &Store,
    client: &GraphClient,
    user: ObjectId,
    direct_too: bool,
) -> Result<Option<MembershipRead>, WorkerError> {
    let (ticket, read_at) = stamp(store).await?;
    match client.read_memberships(user, direct_too).await? {
        MembershipsRead::NotFound => Ok(None),
        MembershipsRead::Present(found) => {
            Ok(Some(MembershipRead { ticket, read_at, source: Source::ById, groups: edges(found) }))
        }
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
