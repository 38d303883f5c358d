//! The groups of one user or group, complete or not at all: evidence for G-10 (c).

use std::collections::BTreeSet;

use lockstep_core::ObjectId;
use url::Url;

use crate::call::{Call, Priority};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::kind::ObjectKind;
use crate::odata::{Object, object_id};

pub(crate) static TRANSITIVE: Call =
    Call { name: "GET /users/{id}/transitiveMemberOf", permission: "GroupMember.Read.All", priority: Priority::Normal };
pub(crate) static DIRECT: Call =
    Call { name: "GET /users/{id}/memberOf", permission: "GroupMember.Read.All", priority: Priority::Normal };
static PARENTS: Call =
    Call { name: "GET /groups/{id}/memberOf", permission: "GroupMember.Read.All", priority: Priority::Low };

pub(crate) const IDS_ONLY: &str = "$select=id&$top=999";

/// All groups of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memberships {
    /// Directly or through other groups. Groups whose membership is hidden are missing without the right to see them
    /// [GTM]: a mapped group with hidden membership is never shown absent by this (G-10).
    pub transitive: BTreeSet<ObjectId>,
    /// Directly; `None` when it was not asked for.
    pub direct: Option<BTreeSet<ObjectId>>,
}

/// What a read of a user's groups found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipsRead {
    /// Complete.
    Present(Memberships),
    /// 404: there is no such user just now. Says nothing about groups.
    NotFound,
}

impl GraphClient {
    /// Reads all groups a user is in, every page of it.
    ///
    /// # Errors
    /// See [`GraphError`]; never a part of the list.
    pub async fn read_memberships(&self, user: ObjectId, direct_too: bool) -> Result<MembershipsRead, GraphError> {
        let id = user.to_string();
        let transitive = self.address(&["users", &id, "transitiveMemberOf"], Some(IDS_ONLY));
        let Some(transitive) = self.groups_at(&TRANSITIVE, &transitive).await? else {
            return Ok(MembershipsRead::NotFound);
        };
        if !direct_too {
            return Ok(MembershipsRead::Present(Memberships { transitive, direct: None }));
        }
        let direct = self.address(&["users", &id, "memberOf"], Some(IDS_ONLY));
        let Some(direct) = self.groups_at(&DIRECT, &direct).await? else {
            return Ok(MembershipsRead::NotFound);
        };
        Ok(MembershipsRead::Present(Memberships { transitive, direct: Some(direct) }))
    }

    /// The groups a group is directly in; `None` when there is no such group just now.
    ///
    /// # Errors
    /// See [`GraphError`]; never a part of the list.
    pub async fn group_parents(&self, group: ObjectId) -> Result<Option<Vec<ObjectId>>, GraphError> {
        let url = self.address(&["groups", &group.to_string(), "memberOf"], Some(IDS_ONLY));
        Ok(self.groups_at(&PARENTS, &url).await?.map(|parents| parents.into_iter().collect()))
    }

    async fn groups_at(&self, call: &'static Call, url: &Url) -> Result<Option<BTreeSet<ObjectId>>, GraphError> {
        self.all(call, url).await?.map(|objects| group_ids(call, &objects)).transpose()
    }
}

/// The groups in a list of what somebody is a member of.
pub(crate) fn group_ids(call: &'static Call, objects: &[Object]) -> Result<BTreeSet<ObjectId>, GraphError> {
    // Roles and administrative units stand in the same list. What does not say its type may be a group: an id more harms
    // nobody, since only mapped groups are looked for.
    let groups = objects.iter().filter(|object| ObjectKind::of(object).is_none_or(|kind| kind == ObjectKind::Group));
    let refused = GraphError::ObjectRefused { call: call.name, id: None, why: "a group without a usable id" };
    groups.map(|object| object_id(object).ok_or(refused.clone())).collect()
}
