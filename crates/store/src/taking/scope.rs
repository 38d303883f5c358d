//! Who is in scope: the people and groups we mirror, and everyone linked to a record.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lockstep_core::hint::{HintMessage, Subject};
use lockstep_core::{ConnectionId, ObjectId};

use crate::db::Tx;
use crate::due::DueKind;
use crate::error::StoreError;
use crate::sql::{IDS_PER_STATEMENT, sql};

/// What we know of the objects that some messages name.
#[derive(Default)]
pub(crate) struct Scope {
    users: HashSet<(ConnectionId, ObjectId)>,
    groups: HashSet<(ConnectionId, ObjectId)>,
    seen_users: HashSet<(ConnectionId, ObjectId)>,
}

impl Scope {
    pub(crate) fn has_user(&self, connection: ConnectionId, id: ObjectId) -> bool {
        self.users.contains(&(connection, id))
    }

    pub(crate) fn has_group(&self, connection: ConnectionId, id: ObjectId) -> bool {
        self.groups.contains(&(connection, id))
    }

    /// A member may be a user, a group or a device; Graph is asked only when we cannot tell.
    pub(crate) fn kind(&self, connection: ConnectionId, id: ObjectId) -> DueKind {
        let key = (connection, id);
        if self.users.contains(&key) || self.seen_users.contains(&key) {
            DueKind::User
        } else if self.groups.contains(&key) {
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
        const USERS: &str = "SELECT user_id AS id FROM directory_user WHERE connection_id = ";
        // By the index of live records: without the status every record of the connection would be looked at.
        const LINKED: &str = "SELECT entra_id AS id FROM record WHERE status <> 'archived' AND connection_id = ";
        const GROUPS: &str = "SELECT group_id AS id FROM directory_group WHERE connection_id = ";
        const SEEN: &str = "SELECT object_id AS id FROM seen WHERE object_kind = 'user' AND connection_id = ";
        let users = self.ids(USERS, connection, " AND user_id IN ", ids).await?;
        let linked = self.ids(LINKED, connection, " AND entra_id IN ", ids).await?;
        let groups = self.ids(GROUPS, connection, " AND group_id IN ", ids).await?;
        let seen = self.ids(SEEN, connection, " AND object_id IN ", ids).await?;
        let with_connection = |id| (connection, id);
        scope.users.extend(users.into_iter().chain(linked).map(with_connection));
        scope.groups.extend(groups.into_iter().map(with_connection));
        scope.seen_users.extend(seen.into_iter().map(with_connection));
        Ok(())
    }

    async fn ids(
        &mut self,
        select: &'static str,
        connection: ConnectionId,
        among: &str,
        ids: &[ObjectId],
    ) -> Result<Vec<ObjectId>, StoreError> {
        let rows = self.all(sql(select).value(connection).push(among).list(ids.iter().copied())).await?;
        rows.iter().map(|row| row.get("id").map(ObjectId)).collect()
    }
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
