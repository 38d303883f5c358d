//! Groups: what a rule needs to know of the group it maps.

use lockstep_core::{ObjectId, Timestamp};
use serde_json::Value;

use crate::call::{Call, Priority, parse};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::odata::{Object, encoded, literal, object_id};

static READ: Call = Call { name: "GET /groups/{id}", permission: "Group.Read.All", priority: Priority::Normal };
static FIND: Call = Call { name: "GET /groups", permission: "Group.Read.All", priority: Priority::Normal };

const SELECT: &str = "$select=id,displayName,createdDateTime,visibility,securityEnabled";

/// A group as read from Graph. `Debug` is for tests; logs name the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Entra's id.
    pub id: ObjectId,
    /// Its name; not unique, may change.
    pub display_name: String,
    /// Breaks ties between rules (M2).
    pub created_at: Option<Timestamp>,
    /// `Public`, `Private`, `HiddenMembership`, or nothing. A group with hidden membership never shows absence (G-10).
    pub visibility: Option<String>,
    /// Whether it is a security group.
    pub security_enabled: Option<bool>,
}

/// What a read of one group found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRead {
    /// 200.
    Present(Group),
    /// 404: deleted, not replicated yet, or of another tenant.
    NotFound,
}

impl Group {
    fn from_graph(id: ObjectId, object: &Object) -> Self {
        let text = |property: &str| object.get(property).and_then(Value::as_str);
        Self {
            id,
            display_name: text("displayName").unwrap_or_default().to_owned(),
            created_at: text("createdDateTime").and_then(Timestamp::parse),
            visibility: text("visibility").map(str::to_owned),
            security_enabled: object.get("securityEnabled").and_then(Value::as_bool),
        }
    }
}

impl GraphClient {
    /// Reads one group.
    ///
    /// # Errors
    /// See [`GraphError`]; [`GraphError::ObjectRefused`] when the answer is not that group.
    pub async fn read_group(&self, id: ObjectId) -> Result<GroupRead, GraphError> {
        let url = self.address(&["groups", &id.to_string()], Some(SELECT));
        let Some(body) = self.get(&READ, &url).await?.found(&READ)? else {
            return Ok(GroupRead::NotFound);
        };
        let object: Object = parse(&READ, &body)?;
        if object_id(&object) != Some(id) {
            return Err(GraphError::ObjectRefused {
                call: READ.name,
                id: Some(id),
                why: "another object was answered",
            });
        }
        Ok(GroupRead::Present(Group::from_graph(id, &object)))
    }

    /// All groups of exactly this name, for rules that name a group: there may be none or several.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub async fn lookup_groups_by_name(&self, name: &str) -> Result<Vec<Group>, GraphError> {
        let filter = encoded(&format!("displayName eq {}", literal(name)));
        let url = self.address(&["groups"], Some(&format!("$filter={filter}&{SELECT}")));
        let objects = self.all(&FIND, &url).await?.unwrap_or_default();
        let refused = GraphError::ObjectRefused { call: FIND.name, id: None, why: "a group without a usable id" };
        let group = |object: &Object| object_id(object).map(|id| Group::from_graph(id, object)).ok_or(refused.clone());
        objects.iter().map(group).collect()
    }
}
