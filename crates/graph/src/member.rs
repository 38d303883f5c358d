//! The members of one group, page by page: they give, they never take (G-09).

use std::sync::Arc;

use lockstep_core::ObjectId;
use lockstep_core::profile::Profile;

use crate::call::{Call, Priority};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::kind::ObjectKind;
use crate::odata::{Object, object_id};
use crate::page_link::PageLink;
use crate::user::select;

static LIST: Call =
    Call { name: "GET /groups/{id}/transitiveMembers", permission: "GroupMember.Read.All", priority: Priority::Low };

/// One page of the people and groups below a group, directly or through other groups.
#[derive(Clone, Debug)]
pub struct MembersPage {
    /// The people, each with the profile the listing shows; `None` when it shows only an id.
    pub users: Vec<(ObjectId, Option<Arc<Profile>>)>,
    /// The groups below this group.
    pub groups: Vec<ObjectId>,
    /// Members that could not be used (BI-33): then the run is not complete. Devices and contacts are not counted.
    pub refused: usize,
    /// The next page.
    pub next: Option<PageLink>,
}

/// What a listing found.
#[derive(Clone, Debug)]
pub enum MembersRead {
    /// A page; it may be empty and still have a next one.
    Page(MembersPage),
    /// 404: there is no such group just now. Says nothing about people.
    NotFound,
}

impl GraphClient {
    /// One page of a group's transitive members: the first, or the one `page` leads to. Plain paging without a cast,
    /// because filters and casts are served from an index that may lag [GTM].
    ///
    /// # Errors
    /// See [`GraphError`]. A link that repeats the current page is refused; longer circles are the caller's to find.
    pub async fn list_transitive_members(
        &self,
        group: ObjectId,
        page: Option<&PageLink>,
    ) -> Result<MembersRead, GraphError> {
        let reply = match page {
            Some(link) => self.follow(&LIST, link).await?,
            None => {
                let query = format!("{}&$top=999", select());
                self.get(&LIST, &self.address(&["groups", &group.to_string(), "transitiveMembers"], Some(&query)))
                    .await?
            }
        };
        let Some(body) = reply.found(&LIST)? else {
            return Ok(MembersRead::NotFound);
        };
        let listed = self.page(&LIST, &body, page)?;
        let mut members =
            MembersPage { users: Vec::new(), groups: Vec::new(), refused: listed.malformed, next: listed.next };
        for object in listed.objects {
            members.take(object);
        }
        Ok(MembersRead::Page(members))
    }
}

impl MembersPage {
    fn take(&mut self, object: Object) {
        match (ObjectKind::of(&object), object_id(&object)) {
            (Some(ObjectKind::Other), _) => {}
            (Some(ObjectKind::Group), Some(id)) => self.groups.push(id),
            (Some(ObjectKind::User), Some(id)) if !shows_profile(&object) => self.users.push((id, None)),
            (Some(ObjectKind::User), Some(id)) => match Profile::from_graph(Some(id), object) {
                Ok(profile) => self.users.push((id, Some(Arc::new(profile)))),
                Err(_) => self.refused += 1,
            },
            (None, _) | (_, None) => self.refused += 1,
        }
    }
}

/// Whether the listing honoured `$select`: an object without these is a name card, not a profile (BI-34).
pub(crate) fn shows_profile(object: &Object) -> bool {
    object.contains_key("accountEnabled") && object.contains_key("userPrincipalName")
}
