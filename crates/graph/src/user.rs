//! Users by id: the reads on which access hangs.

use lockstep_core::ObjectId;
use lockstep_core::profile::{MANAGER, Profile, SELECT};
use serde_json::Value;
use url::Url;

use crate::call::{Call, Priority, Reply, parse};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::odata::Object;

pub(crate) static READ: Call =
    Call { name: "GET /users/{id}", permission: "User.Read.All", priority: Priority::Normal };

/// What a read of one user found.
#[derive(Clone, Debug, PartialEq)]
pub enum UserRead {
    /// 200.
    Present(Box<Profile>),
    /// 404: deleted, not replicated yet, or of another tenant. Alone it proves nothing (G-10).
    NotFound,
}

/// [`select`] with the manager as well: free of charge in a read by id, one unit more in a listing [THRL].
pub(crate) fn select_with_manager() -> String {
    let of_manager: Vec<&str> = MANAGER.iter().filter_map(|name| name.strip_prefix("manager.")).collect();
    format!("{}&$expand=manager($select={})", select(), of_manager.join(","))
}

/// Whoever has no manager comes without the property, also where it was asked for `[unverified]`.
pub(crate) fn with_manager_said(mut object: Object) -> Object {
    object.entry("manager").or_insert(Value::Null);
    object
}

/// `$select` with the fixed superset of properties; without it `accountEnabled` would be missing [USER].
pub(crate) fn select() -> String {
    format!("$select={}", SELECT.join(","))
}

impl GraphClient {
    /// Reads one user, with their manager.
    ///
    /// # Errors
    /// See [`GraphError`]; [`GraphError::ObjectRefused`] when the answer is not that user (BI-33).
    pub async fn read_user(&self, id: ObjectId) -> Result<UserRead, GraphError> {
        self.read(&self.address(&["users", &id.to_string()], Some(&select_with_manager())), Some(id)).await
    }

    /// Reads one user by object id or user principal name, as a person typed it.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub async fn read_user_by_name(&self, id_or_upn: &str) -> Result<UserRead, GraphError> {
        let name = id_or_upn.trim();
        if let Ok(id) = name.parse() {
            return self.read_user(id).await;
        }
        // Without an at sign it would be the name of a function (`delta`), not of a user.
        if !name.contains('@') {
            return Ok(UserRead::NotFound);
        }
        self.read(&self.address(&["users", name], Some(&select_with_manager())), None).await
    }

    async fn read(&self, url: &Url, asked: Option<ObjectId>) -> Result<UserRead, GraphError> {
        judged(self.get(&READ, url).await?, asked)
    }
}

/// What the answer about one user says (BI-33).
pub(crate) fn judged(reply: Reply, asked: Option<ObjectId>) -> Result<UserRead, GraphError> {
    let Some(body) = reply.found(&READ)? else {
        return Ok(UserRead::NotFound);
    };
    let object = with_manager_said(parse(&READ, &body)?);
    let profile = Profile::from_graph(asked, object).map_err(|_| GraphError::ObjectRefused {
        call: READ.name,
        id: asked,
        why: "its id is missing, malformed or another's",
    })?;
    Ok(UserRead::Present(Box::new(profile)))
}
