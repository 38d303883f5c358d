//! What an id stands for: a notification names members without saying whether they are users.

use std::collections::BTreeMap;

use lockstep_core::ObjectId;
use serde_json::json;

use crate::call::{Call, Priority};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::odata::{Object, object_id};

static RESOLVE: Call =
    Call { name: "POST /directoryObjects/getByIds", permission: "Directory.Read.All", priority: Priority::Normal };

/// Most ids in one `getByIds`.
const MOST_IDS: usize = 1000;

/// What a directory object is, as far as we care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A person.
    User,
    /// A group of any sort.
    Group,
    /// A device, contact, service principal, or something newer.
    Other,
}

impl ObjectKind {
    /// From `@odata.type`; `None` when it is missing. Case differs between Graph and its notifications.
    pub(crate) fn of(object: &Object) -> Option<Self> {
        let name = object.get("@odata.type")?.as_str()?.to_ascii_lowercase();
        Some(match name.as_str() {
            "#microsoft.graph.user" => Self::User,
            "#microsoft.graph.group" => Self::Group,
            _ => Self::Other,
        })
    }
}

impl GraphClient {
    /// The kinds of these ids, 1,000 a request. Ids that Graph does not know are absent from the answer; that is no
    /// evidence about anybody (G-09).
    ///
    /// # Errors
    /// See [`GraphError`]; all or nothing.
    pub async fn resolve_kinds(&self, ids: &[ObjectId]) -> Result<BTreeMap<ObjectId, ObjectKind>, GraphError> {
        let mut kinds = BTreeMap::new();
        let url = self.address(&["directoryObjects", "getByIds"], Some("$select=id"));
        for some in ids.chunks(MOST_IDS) {
            let reply = self.post(&RESOLVE, &url, &json!({ "ids": some })).await?.body(&RESOLVE)?;
            let page = self.page(&RESOLVE, &reply, None)?;
            for object in self.rest(&RESOLVE, page).await? {
                if let Some(id) = object_id(&object).filter(|id| some.contains(id)) {
                    kinds.insert(id, ObjectKind::of(&object).unwrap_or(ObjectKind::Other));
                }
            }
        }
        Ok(kinds)
    }
}
