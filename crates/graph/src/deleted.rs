//! Deleted items: where a soft-deleted user stands for 30 days [DELREST].

use lockstep_core::ObjectId;

use crate::call::{Call, Priority, Reply, parse};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::odata::{Object, object_id};
use crate::page_link::PageLink;

pub(crate) static LOOK_UP: Call =
    Call { name: "GET /directory/deletedItems/{id}", permission: "User.Read.All", priority: Priority::Normal };
static LIST: Call = Call {
    name: "GET /directory/deletedItems/microsoft.graph.user",
    permission: "User.Read.All",
    priority: Priority::Low,
};

/// One page of deleted users.
#[derive(Clone, Debug)]
pub struct DeletedPage {
    /// Their ids.
    pub ids: Vec<ObjectId>,
    /// Entries without a usable id: then the listing is not complete.
    pub refused: usize,
    /// The next page.
    pub next: Option<PageLink>,
}

impl GraphClient {
    /// Whether this id stands in deleted items: with a by-id 404 a confirmed deletion (G-10).
    ///
    /// # Errors
    /// See [`GraphError`]; [`GraphError::ObjectRefused`] when the answer is another object.
    pub async fn is_deleted_user(&self, id: ObjectId) -> Result<bool, GraphError> {
        let url = self.address(&["directory", "deletedItems", &id.to_string()], Some("$select=id"));
        stands_deleted(self.get(&LOOK_UP, &url).await?, id)
    }

    /// One page of the ids of deleted users: the first, or the one `page` leads to.
    ///
    /// # Errors
    /// See [`GraphError`]. A link that repeats the current page is refused; longer circles are the caller's to find.
    pub async fn list_deleted_users(&self, page: Option<&PageLink>) -> Result<DeletedPage, GraphError> {
        let first = self.address(&["directory", "deletedItems", "microsoft.graph.user"], Some("$select=id&$top=999"));
        let reply = match page {
            Some(link) => self.follow(&LIST, link).await?,
            None => self.get(&LIST, &first).await?,
        };
        let listed = self.page(&LIST, &reply.body(&LIST)?, page)?;
        let ids: Vec<ObjectId> = listed.objects.iter().filter_map(object_id).collect();
        Ok(DeletedPage { refused: listed.malformed + listed.objects.len() - ids.len(), ids, next: listed.next })
    }
}

/// What a look-up in deleted items says of this id.
pub(crate) fn stands_deleted(reply: Reply, id: ObjectId) -> Result<bool, GraphError> {
    let Some(body) = reply.found(&LOOK_UP)? else {
        return Ok(false);
    };
    let object: Object = parse(&LOOK_UP, &body)?;
    if object_id(&object) == Some(id) {
        return Ok(true);
    }
    Err(GraphError::ObjectRefused { call: LOOK_UP.name, id: Some(id), why: "another object was answered" })
}
