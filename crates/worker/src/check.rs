//! Does a connection work? A token, the organization, one read of a user and one of a group.

use lockstep_core::ObjectId;
use lockstep_graph::{GraphClient, GraphError};
use uuid::Uuid;

/// What the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The tenant's id as Graph gives it (BI-40).
    pub organization: ObjectId,
    /// The tenant's display name.
    pub display_name: String,
    /// Domains verified in the tenant.
    pub verified_domains: Vec<String>,
    /// `User.Read.All` is consented.
    pub can_read_users: bool,
    /// `Group.Read.All` (or `GroupMember.Read.All`) is consented.
    pub can_read_groups: bool,
}

/// Gets a token and reads. A token alone proves nothing about consent [CC].
///
/// # Errors
/// When there is no token or the organization cannot be read. A permission missing for users or groups is an answer,
/// not an error.
pub async fn check_connection(client: &GraphClient) -> Result<Checked, GraphError> {
    let organization = client.organization().await?;
    // Nobody has this id: Graph judges the permission before it looks, and 404 means that we may look.
    let nobody = ObjectId(Uuid::new_v4());
    Ok(Checked {
        organization: organization.id,
        display_name: organization.display_name,
        verified_domains: organization.verified_domains,
        can_read_users: permitted(client.read_user(nobody).await.map(drop))?,
        can_read_groups: permitted(client.read_group(nobody).await.map(drop))?,
    })
}

fn permitted(read: Result<(), GraphError>) -> Result<bool, GraphError> {
    match read {
        Ok(()) => Ok(true),
        Err(GraphError::PermissionMissing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
