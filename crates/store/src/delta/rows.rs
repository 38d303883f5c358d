//! Rows of a delta are hints: whoever is in scope becomes due, with what the row claims; everybody else is `seen`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::AddAssign;
use std::time::Duration;

use lockstep_core::hint::MAX_MEMBERS;
use lockstep_core::{ConnectionId, ObjectId, Timestamp};

use crate::db::Tx;
use crate::due::mark::{HintedObject, MarkDue};
use crate::due::{DueClaim, DueKind, DueReason};
use crate::error::StoreError;
use crate::sql::{IDS_PER_STATEMENT, sql};
use crate::taking::scope::Scope;

/// A change that was notified this long ago or less was not missed by the notifications (FA-22).
const NOTIFIED_LATELY: Duration = Duration::from_secs(10 * 60);

/// A user in a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaUser {
    /// Entra's id.
    pub id: ObjectId,
    /// `@removed`, for whatever reason: a read by id decides (BI-38).
    pub removed: bool,
    /// What changed may take access.
    pub urgent: bool,
    /// They were there before the last round, and what shows now hangs together with access. Of a stranger that tells,
    /// as nothing else does, that they were restored.
    pub may_be_restored: bool,
}

/// A group in a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaGroup {
    /// Entra's id.
    pub id: ObjectId,
    /// `@removed`, for whatever reason.
    pub removed: bool,
    /// Members that came or went: of a large group a slice.
    pub members: Vec<DeltaMember>,
}

/// A member in a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaMember {
    /// Entra's id.
    pub id: ObjectId,
    /// What it is; `Unknown` where the row did not say.
    pub kind: DueKind,
    /// It left.
    pub removed: bool,
}

/// What became of the rows of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenRows {
    /// Objects made due.
    pub due: u64,
    /// Rows out of scope.
    pub out_of_scope: u64,
    /// Changes in scope that nobody had notified (FA-22).
    pub unnotified: u64,
}

impl AddAssign for TakenRows {
    fn add_assign(&mut self, other: Self) {
        self.due += other.due;
        self.out_of_scope += other.out_of_scope;
        self.unnotified += other.unnotified;
    }
}

impl Tx {
    /// Takes users of a page: a read by id of each in scope follows.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn take_delta_users(
        &mut self,
        connection: ConnectionId,
        users: &[DeltaUser],
    ) -> Result<TakenRows, StoreError> {
        let ids: BTreeSet<ObjectId> = users.iter().map(|user| user.id).collect();
        let mut taking = TakingRows::about(connection, self.scope_among(connection, &ids).await?);
        for user in users {
            taking.user(*user);
        }
        self.write_rows(&taking).await
    }

    /// Takes groups of a page: like hints, each member named becomes due, or the group where it names none or too many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn take_delta_groups(
        &mut self,
        connection: ConnectionId,
        groups: &[DeltaGroup],
    ) -> Result<TakenRows, StoreError> {
        let members = groups.iter().flat_map(|group| group.members.iter().map(|member| member.id));
        let ids: BTreeSet<ObjectId> = groups.iter().map(|group| group.id).chain(members).collect();
        let mut taking = TakingRows::about(connection, self.scope_among(connection, &ids).await?);
        for group in groups {
            taking.group(group);
        }
        self.write_rows(&taking).await
    }

    /// Notes mirrored users of a page whose rows were taken as snapshots: they are settled like every hint (FA-15), and
    /// counted where nobody had notified of them (FA-22).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_delta_snapshots(
        &mut self,
        connection: ConnectionId,
        users: &[ObjectId],
    ) -> Result<TakenRows, StoreError> {
        let named_by = users.iter().map(|user| (*user, *user)).collect();
        let unnotified = self.count_unnotified(connection, &named_by).await?;
        let at = self.now() + self.timing().settle;
        let settle = |user: &ObjectId| MarkDue {
            object: *user,
            kind: DueKind::User,
            at,
            urgent: false,
            read_profile: true,
            read_membership: false,
            reason: DueReason::Settle,
        };
        let marks: Vec<MarkDue> = users.iter().map(settle).collect();
        self.mark_due(connection, &marks).await?;
        Ok(TakenRows { due: named_by.len() as u64, out_of_scope: 0, unnotified })
    }

    /// Which of these users are mirrored or linked to a record.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn users_in_scope(
        &mut self,
        connection: ConnectionId,
        users: &[ObjectId],
    ) -> Result<Vec<ObjectId>, StoreError> {
        let scope = self.scope_among(connection, &users.iter().copied().collect()).await?;
        Ok(users.iter().copied().filter(|user| scope.has_user(connection, *user)).collect())
    }

    async fn write_rows(&mut self, taking: &TakingRows) -> Result<TakenRows, StoreError> {
        let unnotified = self.count_unnotified(taking.connection, &taking.named_by).await?;
        let (due, out_of_scope) = (taking.due.len() as u64, taking.seen.len() as u64);
        let rows = TakenRows { due, out_of_scope, unnotified };
        let due: Vec<HintedObject> = taking.due.values().cloned().collect();
        self.mark_hinted(&due).await?;
        let seen = taking.seen.iter().map(|(id, kind)| ((taking.connection, *id), *kind)).collect();
        self.note_seen(&seen).await?;
        Ok(rows)
    }

    /// Of objects that changed, how many nobody notified of, nor of the object whose hint would have told of them.
    async fn count_unnotified(
        &mut self,
        connection: ConnectionId,
        named_by: &BTreeMap<ObjectId, ObjectId>,
    ) -> Result<u64, StoreError> {
        let lately = self.now() - NOTIFIED_LATELY;
        let changed: BTreeSet<ObjectId> = named_by.keys().copied().collect();
        let notified = self.notified_since(connection, &changed, lately).await?;
        let missed = named_by.iter().filter(|(id, by)| !notified.contains(id) && !notified.contains(by));
        Ok(missed.count() as u64)
    }

    /// Objects that a notification named since then.
    async fn notified_since(
        &mut self,
        connection: ConnectionId,
        ids: &BTreeSet<ObjectId>,
        since: Timestamp,
    ) -> Result<HashSet<ObjectId>, StoreError> {
        let ids: Vec<ObjectId> = ids.iter().copied().collect();
        let mut notified = HashSet::new();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let hinted = sql("SELECT object_id FROM due WHERE hinted_at >= ").value(since);
            let hinted = hinted.push(" AND connection_id = ").value(connection).push(" AND object_id IN ");
            let told = sql("SELECT o.object_id FROM event_object o JOIN event e ON e.id = o.event_id
                WHERE e.message_id IS NOT NULL AND e.received_at >= ")
            .value(since);
            let told = told.push(" AND o.connection_id = ").value(connection).push(" AND o.object_id IN ");
            for query in [hinted, told] {
                for row in self.all(query.list(chunk.iter().copied())).await? {
                    notified.insert(ObjectId(row.get("object_id")?));
                }
            }
        }
        Ok(notified)
    }
}

/// What the rows of one page come to.
struct TakingRows {
    connection: ConnectionId,
    scope: Scope,
    due: BTreeMap<ObjectId, HintedObject>,
    seen: BTreeMap<ObjectId, DueKind>,
    /// Changed objects in scope, and the object whose hint would have told of them.
    named_by: BTreeMap<ObjectId, ObjectId>,
}

impl TakingRows {
    fn about(connection: ConnectionId, scope: Scope) -> Self {
        Self { connection, scope, due: BTreeMap::new(), seen: BTreeMap::new(), named_by: BTreeMap::new() }
    }

    fn user(&mut self, user: DeltaUser) {
        let claim = if user.removed { DueClaim::Deleted } else { DueClaim::Changed };
        if !self.scope.has_user(self.connection, user.id) {
            if user.may_be_restored {
                return self.look_at(user.id, DueKind::User, (claim, None), false, (true, true));
            }
            self.seen.insert(user.id, DueKind::User);
            return;
        }
        self.named_by.insert(user.id, user.id);
        self.look_at(user.id, DueKind::User, (claim, None), user.urgent || user.removed, (true, false));
    }

    fn group(&mut self, group: &DeltaGroup) {
        if !self.scope.has_group(self.connection, group.id) {
            self.seen.insert(group.id, DueKind::Group);
            return;
        }
        let told = group.members.len();
        if group.removed || self.scope.looks_at_group(self.connection, group.id, told, told >= MAX_MEMBERS) {
            self.named_by.insert(group.id, group.id);
            let claim = if group.removed { DueClaim::Deleted } else { DueClaim::Changed };
            return self.look_at(group.id, DueKind::Group, (claim, None), true, (true, true));
        }
        for member in &group.members {
            self.named_by.insert(member.id, group.id);
            let kind = match member.kind {
                DueKind::Unknown => self.scope.kind(self.connection, member.id),
                known => known,
            };
            let claim = if member.removed { DueClaim::Removed } else { DueClaim::Added };
            // Whoever comes in needs both facets in one task (G-10); whoever goes is judged by the membership.
            self.look_at(member.id, kind, (claim, Some(group.id)), member.removed, (!member.removed, true));
        }
    }

    fn look_at(
        &mut self,
        object: ObjectId,
        kind: DueKind,
        (claim, claim_group): (DueClaim, Option<ObjectId>),
        urgent: bool,
        (read_profile, read_membership): (bool, bool),
    ) {
        let connection = self.connection;
        let hinted =
            HintedObject { connection, object, kind, claim, claim_group, urgent, read_profile, read_membership };
        self.due.entry(object).and_modify(|known| known.join(&hinted)).or_insert(hinted);
    }
}
