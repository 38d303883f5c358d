//! Many people at once: a burst of changes costs few requests (T5). Each answer stands for itself, so that one bad one
//! spoils no other.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::ObjectId;
use lockstep_core::profile::Profile;

use crate::batch::MOST_REQUESTS;
use crate::call::{Call, Priority};
use crate::client::GraphClient;
use crate::deleted::{LOOK_UP, stands_deleted};
use crate::error::GraphError;
use crate::member::shows_profile;
use crate::membership::{DIRECT, IDS_ONLY, Memberships, MembershipsRead, TRANSITIVE, group_ids};
use crate::odata::{Object, encoded, literal, object_id};
use crate::user::{READ, UserRead, judged, select, select_with_manager, with_manager_said};

/// Most people in one [`GraphClient::read_users`].
pub const IDS_PER_BATCH: usize = MOST_REQUESTS * IDS_PER_FILTER;
/// Most people in one [`GraphClient::read_users_by_id`].
pub const BY_ID_PER_BATCH: usize = MOST_REQUESTS;
/// Most people in one [`GraphClient::read_memberships_many`].
pub const MEMBERSHIPS_PER_BATCH: usize = MOST_REQUESTS;
/// Most people in one [`GraphClient::is_deleted_users_many`].
pub const DELETED_PER_BATCH: usize = MOST_REQUESTS;

/// Most ids in one `id in (…)` (performance.md, lesson 6).
const IDS_PER_FILTER: usize = 15;

static FILTERED: Call =
    Call { name: "GET /users?$filter=id in", permission: "User.Read.All", priority: Priority::Normal };

/// What became of each person asked for; everybody asked for is in it.
pub type EachUser<T> = BTreeMap<ObjectId, Result<T, GraphError>>;

/// What a read of many people shows of one of them.
#[derive(Clone, Debug, PartialEq)]
pub enum UserSight {
    /// Read by id, because only one was asked for: evidence of either kind (G-10).
    ById(UserRead),
    /// Found by a filter. It is the person as read, but no by-id read: before it takes access away, read by id (G-10).
    Listed(Box<Profile>),
    /// Not in the filtered answer, or not with all that access hangs on. No evidence of absence (G-09): read by id.
    Unseen,
}

impl GraphClient {
    /// Reads up to [`IDS_PER_BATCH`] people in one HTTP request, by id when it is one alone. One ticket covers the call.
    /// Of several nothing is said of their managers, unless `with_managers`: that costs as many units again.
    ///
    /// # Errors
    /// See [`GraphError`]: the request as a whole failed. What failed for some people only stands with them: after a 429
    /// inside, they and nobody else are throttled, all with the longest wait asked for [THR25].
    ///
    /// # Panics
    /// With more ids than fit into one request.
    pub async fn read_users(&self, ids: &[ObjectId], with_managers: bool) -> Result<EachUser<UserSight>, GraphError> {
        match &distinct(ids, IDS_PER_BATCH)[..] {
            [] => Ok(BTreeMap::new()),
            [only] => match self.read_user(*only).await {
                Err(error) if error.is_connection_wide() => Err(error),
                read => Ok(BTreeMap::from([(*only, read.map(UserSight::ById))])),
            },
            several => self.list_users(several, with_managers).await,
        }
    }

    async fn list_users(&self, ids: &[ObjectId], with_managers: bool) -> Result<EachUser<UserSight>, GraphError> {
        let what = if with_managers { select_with_manager() } else { select() };
        let urls: Vec<String> = ids.chunks(IDS_PER_FILTER).map(|some| filtered(some, &what)).collect();
        let mut answers = self.batch(&FILTERED, &urls).await?;
        let mut sights = BTreeMap::new();
        for (place, some) in ids.chunks(IDS_PER_FILTER).enumerate() {
            let listed = match answers.take(&FILTERED, place) {
                Ok(reply) => self.all_of(&FILTERED, reply).await,
                Err(error) => Err(error),
            };
            match listed {
                Ok(objects) => {
                    let objects = objects.unwrap_or_default().into_iter();
                    let said = |object| if with_managers { with_manager_said(object) } else { object };
                    sights.extend(sights_of(some, objects.map(said)));
                }
                Err(error) => sights.extend(some.iter().map(|id| (*id, Err(error.clone())))),
            }
        }
        Ok(sights)
    }

    /// Reads up to [`BY_ID_PER_BATCH`] people by id in one HTTP request: each answer is what
    /// [`GraphClient::read_user`] would have been given, and so evidence of either kind (G-10). One ticket covers the call.
    ///
    /// # Errors
    /// See [`GraphError`]: the request as a whole failed. What failed for some people only stands with them; after a 429
    /// inside, all that were throttled wait for the longest time asked for [THR25].
    ///
    /// # Panics
    /// With more ids than fit into one request.
    pub async fn read_users_by_id(&self, ids: &[ObjectId]) -> Result<EachUser<UserRead>, GraphError> {
        let users = distinct(ids, BY_ID_PER_BATCH);
        if users.is_empty() {
            return Ok(BTreeMap::new());
        }
        let urls: Vec<String> = users.iter().map(|user| format!("/users/{user}?{}", select_with_manager())).collect();
        let mut answers = self.batch(&READ, &urls).await?;
        let read = |(place, user): (usize, &ObjectId)| {
            (*user, answers.take(&READ, place).and_then(|reply| judged(reply, Some(*user))))
        };
        Ok(users.iter().enumerate().map(read).collect())
    }

    /// Reads all groups of up to [`MEMBERSHIPS_PER_BATCH`] people, each complete or an error, like
    /// [`GraphClient::read_memberships`]. One HTTP request, a second one for `direct_too`, and one for each further page
    /// of somebody in more than 999 groups; all ordered by the ticket drawn before the call.
    ///
    /// # Errors
    /// See [`GraphError`]: the request as a whole failed. What failed for some people only stands with them.
    ///
    /// # Panics
    /// With more ids than fit into one request.
    pub async fn read_memberships_many(
        &self,
        ids: &[ObjectId],
        direct_too: bool,
    ) -> Result<EachUser<MembershipsRead>, GraphError> {
        let users = distinct(ids, MEMBERSHIPS_PER_BATCH);
        let mut reads: EachUser<MembershipsRead> = BTreeMap::new();
        for (user, groups) in self.groups_of_each(&TRANSITIVE, "transitiveMemberOf", &users).await? {
            let present = |transitive| MembershipsRead::Present(Memberships { transitive, direct: None });
            reads.insert(user, groups.map(|groups| groups.map_or(MembershipsRead::NotFound, present)));
        }
        if direct_too {
            self.add_direct(&mut reads).await;
        }
        Ok(reads)
    }

    /// A failure of this second request belongs to those it was for: what the first one said of others stays.
    async fn add_direct(&self, reads: &mut EachUser<MembershipsRead>) {
        let is_present = |read: &Result<_, _>| matches!(read, Ok(MembershipsRead::Present(_)));
        let users: Vec<ObjectId> = reads.iter().filter(|(_, read)| is_present(read)).map(|(user, _)| *user).collect();
        let mut direct = match self.groups_of_each(&DIRECT, "memberOf", &users).await {
            Ok(direct) => direct,
            Err(error) => users.iter().map(|user| (*user, Err(error.clone()))).collect(),
        };
        for (user, read) in reads {
            match (&mut *read, direct.remove(user)) {
                (Ok(MembershipsRead::Present(found)), Some(Ok(Some(groups)))) => found.direct = Some(groups),
                (_, Some(Ok(None))) => *read = Ok(MembershipsRead::NotFound),
                (_, Some(Err(error))) => *read = Err(error),
                (_, Some(Ok(Some(_))) | None) => {}
            }
        }
    }

    async fn groups_of_each(
        &self,
        call: &'static Call,
        relation: &str,
        users: &[ObjectId],
    ) -> Result<EachUser<Option<BTreeSet<ObjectId>>>, GraphError> {
        let mut groups = BTreeMap::new();
        if users.is_empty() {
            return Ok(groups);
        }
        let urls: Vec<String> = users.iter().map(|user| format!("/users/{user}/{relation}?{IDS_ONLY}")).collect();
        let mut answers = self.batch(call, &urls).await?;
        for (place, user) in users.iter().enumerate() {
            let objects = match answers.take(call, place) {
                Ok(reply) => self.all_of(call, reply).await,
                Err(error) => Err(error),
            };
            let ids = objects.and_then(|objects| objects.map(|objects| group_ids(call, &objects)).transpose());
            groups.insert(*user, ids);
        }
        Ok(groups)
    }

    /// Which of up to [`DELETED_PER_BATCH`] people stand in deleted items, like [`GraphClient::is_deleted_user`].
    ///
    /// # Errors
    /// See [`GraphError`]: the request as a whole failed. What failed for some people only stands with them.
    ///
    /// # Panics
    /// With more ids than fit into one request.
    pub async fn is_deleted_users_many(&self, ids: &[ObjectId]) -> Result<EachUser<bool>, GraphError> {
        let users = distinct(ids, DELETED_PER_BATCH);
        if users.is_empty() {
            return Ok(BTreeMap::new());
        }
        let urls: Vec<String> = users.iter().map(|user| format!("/directory/deletedItems/{user}?$select=id")).collect();
        let mut answers = self.batch(&LOOK_UP, &urls).await?;
        let deleted = |(place, user): (usize, &ObjectId)| {
            (*user, answers.take(&LOOK_UP, place).and_then(|reply| stands_deleted(reply, *user)))
        };
        Ok(users.iter().enumerate().map(deleted).collect())
    }
}

/// Each id once. More than fit would become a second request that no ticket covers (G-08).
fn distinct(ids: &[ObjectId], most: usize) -> Vec<ObjectId> {
    let distinct: BTreeSet<ObjectId> = ids.iter().copied().collect();
    assert!(distinct.len() <= most, "{} people in a request for {most}", distinct.len());
    distinct.into_iter().collect()
}

fn filtered(ids: &[ObjectId], what: &str) -> String {
    let ids: Vec<String> = ids.iter().map(|id| literal(&id.to_string())).collect();
    let filter = encoded(&format!("id in ({})", ids.join(",")));
    format!("/users?$filter={filter}&{what}")
}

/// Everybody asked for, as far as the answer shows them. Objects nobody asked for are left behind (BI-33).
fn sights_of(asked: &[ObjectId], objects: impl Iterator<Item = Object>) -> EachUser<UserSight> {
    let mut sights: EachUser<UserSight> = asked.iter().map(|id| (*id, Ok(UserSight::Unseen))).collect();
    for object in objects.filter(shows_profile) {
        if let Some(id) = object_id(&object).filter(|id| asked.contains(id))
            && let Ok(profile) = Profile::from_graph(Some(id), object)
        {
            sights.insert(id, Ok(UserSight::Listed(Box::new(profile))));
        }
    }
    sights
}
