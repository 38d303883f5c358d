//! Who is in scope: the people and groups we mirror, and everyone linked to a record.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lockstep_core::hint::{HintMessage, Subject};
use lockstep_core::{ConnectionId, ObjectId};

use crate::db::Tx;
use crate::due::DueKind;
use crate::error::StoreError;
use crate::sql::{IDS_PER_STATEMENT, Sql, sql};

/// What we know of the objects that some messages name.
#[derive(Default)]
pub(crate) struct Scope {
    users: HashSet<(ConnectionId, ObjectId)>,
    groups: HashSet<(ConnectionId, ObjectId)>,
    deleted_groups: HashSet<(ConnectionId, ObjectId)>,
    seen_users: HashSet<(ConnectionId, ObjectId)>,
}

impl Scope {
    pub(crate) fn has_user(&self, connection: ConnectionId, id: ObjectId) -> bool {
        self.users.contains(&(connection, id))
    }

    pub(crate) fn has_group(&self, connection: ConnectionId, id: ObjectId) -> bool {
        self.groups.contains(&(connection, id)) || self.deleted_groups.contains(&(connection, id))
    }

    /// Whether the group itself is looked at, and not the members that were told of: none were, or not all, or the group
    /// is known as deleted. Whatever tells of its members tells that it was restored.
    pub(crate) fn looks_at_group(&self, connection: ConnectionId, id: ObjectId, told: usize, truncated: bool) -> bool {
        told == 0 || truncated || self.deleted_groups.contains(&(connection, id))
    }

    /// A member may be a user, a group or a device; Graph is asked only when we cannot tell.
    pub(crate) fn kind(&self, connection: ConnectionId, id: ObjectId) -> DueKind {
        let key = (connection, id);
        if self.users.contains(&key) || self.seen_users.contains(&key) {
            DueKind::User
        } else if self.has_group(connection, id) {
            DueKind::Group
        } else {
            DueKind::Unknown
        }
    }
}

/// Shared by those who judge hints by the scope; taken by whoever brings people into it.
pub(crate) fn scope_lock(connection: ConnectionId) -> String {
    format!("scope of {connection}")
}

impl Tx {
    pub(crate) async fn scope_of(&mut self, messages: &[HintMessage]) -> Result<Scope, StoreError> {
        let mut scope = Scope::default();
        for (connection, ids) in named_ids(messages) {
            self.share_name(scope_lock(connection)).await?;
            let ids: Vec<ObjectId> = ids.into_iter().collect();
            for chunk in ids.chunks(IDS_PER_STATEMENT) {
                self.learn(&mut scope, connection, chunk).await?;
            }
        }
        Ok(scope)
    }

    /// What we know of these objects of one connection.
    pub(crate) async fn scope_among(
        &mut self,
        connection: ConnectionId,
        ids: &BTreeSet<ObjectId>,
    ) -> Result<Scope, StoreError> {
        let mut scope = Scope::default();
        self.share_name(scope_lock(connection)).await?;
        let ids: Vec<ObjectId> = ids.iter().copied().collect();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            self.learn(&mut scope, connection, chunk).await?;
        }
        Ok(scope)
    }

    async fn learn(&mut self, scope: &mut Scope, connection: ConnectionId, ids: &[ObjectId]) -> Result<(), StoreError> {
        for row in self.all(known_as(connection, ids)).await? {
            let known = (connection, ObjectId(row.get("id")?));
            match row.get::<String>("known_as")?.as_str() {
                "user" => scope.users.insert(known),
                "group" => scope.groups.insert(known),
                "deleted_group" => scope.deleted_groups.insert(known),
                _ => scope.seen_users.insert(known),
            };
        }
        Ok(())
    }
}

/// One row for each that is known, as what.
fn known_as(connection: ConnectionId, ids: &[ObjectId]) -> Sql {
    const USERS: &str = "SELECT user_id AS id, 'user' AS known_as FROM directory_user WHERE connection_id = ";
    // By the index of live records: without the status every record of the connection would be looked at.
    const LINKED: &str = " UNION SELECT entra_id, 'user' FROM record WHERE status <> 'archived' AND connection_id = ";
    const GROUPS: &str = " UNION SELECT group_id, CASE state WHEN 'deleted' THEN 'deleted_group' ELSE 'group' END
        FROM directory_group WHERE connection_id = ";
    const SEEN: &str = " UNION SELECT object_id, 'seen' FROM seen WHERE object_kind = 'user' AND connection_id = ";
    let ids = || ids.iter().copied();
    let query = sql(USERS).value(connection).push(" AND user_id IN ").list(ids());
    let query = query.push(LINKED).value(connection).push(" AND entra_id IN ").list(ids());
    let query = query.push(GROUPS).value(connection).push(" AND group_id IN ").list(ids());
    query.push(SEEN).value(connection).push(" AND object_id IN ").list(ids())
}

fn named_ids(messages: &[HintMessage]) -> BTreeMap<ConnectionId, BTreeSet<ObjectId>> {
    let mut named: BTreeMap<ConnectionId, BTreeSet<ObjectId>> = BTreeMap::new();
    for message in messages {
        let ids = named.entry(message.connection).or_default();
        for item in &message.items {
            match &item.subject {
                Subject::User { id, .. } => {
                    ids.insert(*id);
                }
                Subject::Group { id, members, .. } => {
                    ids.insert(*id);
                    ids.extend(members.iter().map(|member| member.id));
                }
                Subject::Lifecycle { .. } | Subject::Unclear => {}
            }
        }
    }
    named
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use uuid::Uuid;

    use super::*;
    use crate::sql::plan::plans;

    /// T13: the scope of some hints costs what they name, however many people the connection has.
    #[tokio::test]
    async fn t13_whoever_is_named_is_found_one_by_one() {
        let ids: Vec<ObjectId> = (0..IDS_PER_STATEMENT).map(|_| ObjectId(Uuid::new_v4())).collect();
        let steps = plans(vec![known_as(ConnectionId(Uuid::nil()), &ids)]).await;
        for key in ["connection_id=? AND user_id=?", "connection_id=? AND entra_id=?", "connection_id=? AND group_id=?"]
        {
            assert!(steps.iter().any(|step| step.starts_with("SEARCH") && step.contains(key)), "{key}: {steps:#?}");
        }
        let walks = |step: &&String| step.starts_with("SCAN");
        assert_eq!(steps.iter().find(walks), None, "{steps:#?}");
    }
}
