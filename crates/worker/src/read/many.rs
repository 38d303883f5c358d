//! Reading many people: a burst costs few requests (T5). What goes wrong for one of them stays with that one.

use std::collections::BTreeMap;

use futures::future::{try_join, try_join_all};
use lockstep_core::ObjectId;
use lockstep_core::mirror::{MembershipRead, PersonRead, ProfileRead, Source};
use lockstep_graph::{
    BY_ID_PER_BATCH, DELETED_PER_BATCH, EachUser, GraphError, MEMBERSHIPS_PER_BATCH, UserRead, UserSight,
};

use crate::error::WorkerError;
use crate::read::{Facets, Reader};

/// What came of reading each of many people. An error of the store concerns all of them and stands outside.
pub(crate) type Each<T> = BTreeMap<ObjectId, Result<T, Missed>>;

/// Why somebody could not be read.
#[derive(Clone, Debug)]
pub(crate) struct Missed {
    pub failure: GraphError,
    /// The request was about others too: any of them may be the reason.
    pub shared: bool,
}

/// One of many people to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub user: ObjectId,
    pub facets: Facets,
    /// Only a read by id will do: access hangs on it (G-10).
    pub by_id: bool,
    /// The manager is to be told in any case.
    pub manager_too: bool,
}

impl Reader<'_> {
    /// Profiles of up to `IDS_PER_BATCH` people by one request with filters. `None`: not shown by it, which is no
    /// evidence of absence (G-09).
    pub(crate) async fn glance(
        &self,
        users: &[ObjectId],
        with_managers: bool,
    ) -> Result<Each<Option<ProfileRead>>, WorkerError> {
        let (_place, order) = self.begin().await?;
        let sights = match self.client.read_users(users, with_managers).await {
            Ok(sights) => each(sights, users.len() > 1),
            Err(failure) => return Ok(all_failed(users, &failure)),
        };
        let read = |sight| match sight {
            UserSight::Listed(profile) => Some(order.present(Source::Listing, profile)),
            UserSight::ById(UserRead::Present(profile)) => Some(order.present(Source::ById, profile)),
            UserSight::ById(UserRead::NotFound) | UserSight::Unseen => None,
        };
        Ok(sights.into_iter().map(|(user, sight)| (user, sight.map(read))).collect())
    }

    /// Reads up to `MEMBERSHIPS_PER_BATCH` people, by id wherever that is asked for or a filtered answer does not
    /// suffice.
    pub(crate) async fn people(
        &self,
        asked: &[Asked],
        suffices: impl Fn(ObjectId, &ProfileRead) -> bool,
    ) -> Result<Each<PersonRead>, WorkerError> {
        let of_membership: Vec<&Asked> = asked.iter().filter(|one| one.facets.membership).collect();
        let (mut profiles, mut memberships) =
            try_join(self.profiles(asked, suffices), self.memberships(&of_membership)).await?;
        // Nobody's memberships can be read once they are deleted: the profile tells whether that is so.
        let unexplained = |user: &ObjectId| !profiles.contains_key(user) && matches!(memberships[user], Ok(None));
        let unexplained: Vec<ObjectId> = memberships.keys().copied().filter(unexplained).collect();
        profiles.extend(self.by_id(&unexplained).await?);
        let person = |one: &Asked| {
            let user = one.user;
            let profile = profiles.remove(&user).transpose();
            let membership = memberships.remove(&user).transpose().map(Option::flatten);
            let read = profile.and_then(|profile| Ok(PersonRead { user, profile, membership: membership? }));
            (user, read)
        };
        Ok(asked.iter().map(person).collect())
    }

    async fn profiles(
        &self,
        asked: &[Asked],
        suffices: impl Fn(ObjectId, &ProfileRead) -> bool,
    ) -> Result<Each<ProfileRead>, WorkerError> {
        let wanted = asked.iter().filter(|one| one.facets.profile);
        let (by_id, listed): (Vec<&Asked>, Vec<&Asked>) = wanted.partition(|one| one.by_id);
        let mut by_id: Vec<ObjectId> = by_id.into_iter().map(|one| one.user).collect();
        let mut profiles = BTreeMap::new();
        let with_managers = listed.iter().any(|one| one.manager_too);
        let listed: Vec<ObjectId> = listed.into_iter().map(|one| one.user).collect();
        if listed.len() < 2 {
            by_id.extend(listed);
        } else {
            for (user, sight) in self.glance(&listed, with_managers).await? {
                match sight {
                    Ok(Some(read)) if suffices(user, &read) => drop(profiles.insert(user, Ok(read))),
                    Ok(_) => by_id.push(user),
                    Err(failure) => drop(profiles.insert(user, Err(failure))),
                }
            }
        }
        profiles.extend(self.by_id(&by_id).await?);
        Ok(profiles)
    }

    /// As few requests as there can be; of all who are not there it is asked together whether they stand in deleted
    /// items.
    async fn by_id(&self, users: &[ObjectId]) -> Result<Each<ProfileRead>, WorkerError> {
        let reads = users.chunks(BY_ID_PER_BATCH).map(async |some| {
            let (_place, order) = self.begin().await?;
            let reads = match some {
                [only] => each(BTreeMap::from([(*only, self.client.read_user(*only).await)]), false),
                several => match self.client.read_users_by_id(several).await {
                    Ok(reads) => each(reads, false),
                    Err(failure) => all_failed(several, &failure),
                },
            };
            Ok::<_, WorkerError>((order, reads))
        });
        let mut profiles: Each<ProfileRead> = BTreeMap::new();
        let mut missing = BTreeMap::new();
        for (order, reads) in try_join_all(reads).await? {
            for (user, read) in reads {
                match read {
                    Ok(UserRead::Present(profile)) => {
                        profiles.insert(user, Ok(order.present(Source::ById, profile)));
                    }
                    Ok(UserRead::NotFound) => drop(missing.insert(user, order)),
                    Err(missed) => drop(profiles.insert(user, Err(missed))),
                }
            }
        }
        let gone: Vec<ObjectId> = missing.keys().copied().collect();
        for (user, deleted) in self.are_deleted(&gone).await? {
            if let Some(order) = missing.remove(&user) {
                profiles.insert(user, deleted.map(|deleted| order.missing(deleted)));
            }
        }
        Ok(profiles)
    }

    async fn are_deleted(&self, users: &[ObjectId]) -> Result<Each<bool>, WorkerError> {
        if let [only] = users {
            let _place = self.take_place().await?;
            return Ok(each(BTreeMap::from([(*only, self.client.is_deleted_user(*only).await)]), false));
        }
        let asked = users.chunks(DELETED_PER_BATCH).map(async |some| {
            let _place = self.take_place().await?;
            let deleted = self.client.is_deleted_users_many(some).await.map(|deleted| each(deleted, false));
            Ok::<_, WorkerError>(deleted.unwrap_or_else(|failure| all_failed(some, &failure)))
        });
        Ok(try_join_all(asked).await?.into_iter().flatten().collect())
    }

    /// `None`: there is no such user now, which says nothing about their groups.
    async fn memberships(&self, asked: &[&Asked]) -> Result<Each<Option<MembershipRead>>, WorkerError> {
        let direct_too = asked.iter().any(|one| one.facets.direct_too);
        let users: Vec<ObjectId> = asked.iter().map(|one| one.user).collect();
        let reads = users.chunks(MEMBERSHIPS_PER_BATCH).map(async |some| {
            let (_place, order) = self.begin().await?;
            let found = match some {
                [only] => each(BTreeMap::from([(*only, self.client.read_memberships(*only, direct_too).await)]), false),
                several => match self.client.read_memberships_many(several, direct_too).await {
                    Ok(found) => each(found, false),
                    Err(failure) => all_failed(several, &failure),
                },
            };
            let read = |(user, found): (ObjectId, Result<_, _>)| (user, found.map(|found| order.membership(found)));
            Ok::<Each<_>, WorkerError>(found.into_iter().map(read).collect())
        });
        Ok(try_join_all(reads).await?.into_iter().flatten().collect())
    }
}

fn each<T>(reads: EachUser<T>, shared: bool) -> Each<T> {
    let missed = |failure| Missed { failure, shared };
    reads.into_iter().map(|(user, read)| (user, read.map_err(missed))).collect()
}

fn all_failed<T>(users: &[ObjectId], failure: &GraphError) -> Each<T> {
    let missed = Missed { failure: failure.clone(), shared: users.len() > 1 };
    users.iter().map(|user| (*user, Err(missed.clone()))).collect()
}
