//! Writing what a merge changed, many people at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_core::mirror::{CompleteRead, Edge, MirroredUser, ProfileFacet, Source};
use lockstep_core::{ConnectionId, ObjectId, Ticket, Timestamp};

use crate::db::Tx;
use crate::error::StoreError;
use crate::mirror::load::{MirrorRow, source_word};
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, Sql, sql};

const INSERT_USERS: &str = "INSERT INTO directory_user (connection_id, user_id, profile_state, profile, profile_source,
    profile_ticket, profile_read_at, missing_since, in_deleted_items, membership_ticket, membership_read_at, created_at) VALUES ";

const ENTER_USERS: &str = "INSERT INTO directory_user (connection_id, user_id, profile_state, created_at) VALUES ";
const ENTERED: &str = " ON CONFLICT (connection_id, user_id) DO NOTHING RETURNING user_id";

// The core has compared the tickets already; this is the assertion of G-08 that no smaller ticket is ever written.
const MERGE_USERS: &str = " ON CONFLICT (connection_id, user_id) DO UPDATE SET profile_state = excluded.profile_state,
    profile = excluded.profile, profile_source = excluded.profile_source, profile_ticket = excluded.profile_ticket,
    profile_read_at = excluded.profile_read_at, missing_since = excluded.missing_since,
    in_deleted_items = excluded.in_deleted_items, membership_ticket = excluded.membership_ticket,
    membership_read_at = excluded.membership_read_at
    WHERE excluded.profile_ticket >= directory_user.profile_ticket
      AND coalesce(excluded.membership_ticket, 0) >= coalesce(directory_user.membership_ticket, 0)";

// Somebody who is as they were: a look at them costs a row no more than when it was.
const LOOKED_AT: &str =
    "WITH looked_at (connection_id, user_id, profile_source, profile_ticket, profile_read_at, membership_ticket,
    membership_read_at) AS (VALUES ";
const LOOKED_AT_SET: &str = ") UPDATE directory_user SET profile_source = looked_at.profile_source,
    profile_ticket = looked_at.profile_ticket, profile_read_at = looked_at.profile_read_at,
    membership_ticket = looked_at.membership_ticket, membership_read_at = looked_at.membership_read_at
    FROM looked_at WHERE directory_user.connection_id = looked_at.connection_id
      AND directory_user.user_id = looked_at.user_id AND looked_at.profile_ticket >= directory_user.profile_ticket
      AND coalesce(looked_at.membership_ticket, 0) >= coalesce(directory_user.membership_ticket, 0)";

const INSERT_EDGES: &str = "INSERT INTO membership (connection_id, user_id, group_id, ticket, direct, present) VALUES ";
const MERGE_EDGES: &str = " ON CONFLICT (connection_id, user_id, group_id) DO UPDATE SET ticket = excluded.ticket,
    direct = excluded.direct, present = excluded.present WHERE excluded.ticket >= membership.ticket";

impl Tx {
    /// Writes the facets and edges that differ.
    pub(crate) async fn write_mirror(
        &mut self,
        connection: ConnectionId,
        before: &BTreeMap<ObjectId, MirrorRow>,
        after: &BTreeMap<ObjectId, MirrorRow>,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let mut users = Vec::new();
        let mut looked_at = Vec::new();
        let mut edges = Vec::new();
        for (id, row) in after {
            let old = before.get(id).map(|row| &row.user);
            match old.map_or_else(|| entered(&row.user), |old| facets_differ(old, &row.user)) {
                Differs::Nothing => {}
                Differs::WhenReadOnly => looked_at.extend(looked_at_row(connection, &row.user)),
                Differs::Content => users.push(user_row(connection, &row.user, now)),
            }
            let known = |group| old.and_then(|old| old.membership.edges.get(group));
            let changed = row.user.membership.edges.iter().filter(|(group, edge)| known(group) != Some(*edge));
            edges.extend(changed.map(|(group, edge)| edge_row(connection, *id, *group, edge)));
        }
        self.write_all("directory_user", users, |rows| sql(INSERT_USERS).rows(rows).push(MERGE_USERS)).await?;
        self.write_all("directory_user", looked_at, looked_at_statement).await?;
        self.write_all("membership", edges, |rows| sql(INSERT_EDGES).rows(rows).push(MERGE_EDGES)).await
    }

    async fn write_all(
        &mut self,
        table: &'static str,
        rows: Vec<Vec<Bind>>,
        statement: impl Fn(Vec<Vec<Bind>>) -> Sql,
    ) -> Result<(), StoreError> {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let chunk: Vec<_> = rows.by_ref().take(ROWS_PER_STATEMENT).collect();
            let wanted = chunk.len() as u64;
            if self.run(statement(chunk)).await? != wanted {
                return Err(StoreError::impossible(table, "ticket", "?"));
            }
        }
        Ok(())
    }
}

/// An id nobody knew, and that Graph does not know either, leaves no trace (TH-08).
impl Tx {
    /// Locks these people, sorted by id, until the transaction ends (G-08). There is no row to lock of somebody unknown, so
    /// one is inserted; gives those. SQLite has one writer at a time and locks nobody.
    pub(crate) async fn lock_people(
        &mut self,
        connection: ConnectionId,
        sorted: &[ObjectId],
    ) -> Result<BTreeSet<ObjectId>, StoreError> {
        let mut entered = BTreeSet::new();
        if !self.has_company() {
            return Ok(entered);
        }
        let now = self.now();
        for chunk in sorted.chunks(ROWS_PER_STATEMENT) {
            let rows = chunk.iter().map(|id| vec![connection.into(), (*id).into(), "unknown".into(), now.into()]);
            for row in self.all(sql(ENTER_USERS).rows(rows).push(ENTERED)).await? {
                entered.insert(ObjectId(row.get("user_id")?));
            }
        }
        Ok(entered)
    }

    /// Whoever was entered only to be locked, and turned out not worth keeping, goes again.
    pub(crate) async fn forget_unkept(
        &mut self,
        connection: ConnectionId,
        entered: &BTreeSet<ObjectId>,
        after: &BTreeMap<ObjectId, MirrorRow>,
    ) -> Result<(), StoreError> {
        let unkept = |id: &&ObjectId| after.get(id).is_none_or(|row| !is_worth_keeping(&row.user));
        let unkept: Vec<ObjectId> = entered.iter().filter(unkept).copied().collect();
        for chunk in unkept.chunks(IDS_PER_STATEMENT) {
            let forget = sql("DELETE FROM directory_user WHERE connection_id = ").value(connection);
            self.run(forget.push(" AND user_id IN ").list(chunk.iter().copied())).await?;
        }
        Ok(())
    }
}

fn is_worth_keeping(user: &MirroredUser) -> bool {
    !matches!(user.profile, ProfileFacet::Missing { last: None, in_deleted_items: false, .. })
        || !user.membership.edges.is_empty()
}

/// What of a directory user is to be written.
enum Differs {
    Nothing,
    /// When and in what order they were read, and how.
    WhenReadOnly,
    Content,
}

fn entered(user: &MirroredUser) -> Differs {
    if is_worth_keeping(user) { Differs::Content } else { Differs::Nothing }
}

fn facets_differ(old: &MirroredUser, new: &MirroredUser) -> Differs {
    match (&old.profile, &new.profile) {
        (ProfileFacet::Present { profile: known, .. }, ProfileFacet::Present { profile: read, .. })
            if Arc::ptr_eq(known, read) || known == read =>
        {
            if when_read(old) == when_read(new) {
                Differs::Nothing
            } else {
                Differs::WhenReadOnly
            }
        }
        (known, read) if known == read && old.membership.complete == new.membership.complete => Differs::Nothing,
        _ => Differs::Content,
    }
}

fn when_read(user: &MirroredUser) -> (Option<Ticket>, Option<Timestamp>, bool, Option<CompleteRead>) {
    let by_id = matches!(user.profile, ProfileFacet::Present { source: Source::ById, .. });
    (user.profile.ticket(), user.profile.read_at(), by_id, user.membership.complete)
}

pub(crate) fn looked_at_statement(rows: Vec<Vec<Bind>>) -> Sql {
    sql(LOOKED_AT).rows(rows).push(LOOKED_AT_SET)
}

/// `None`: nobody whom Graph shows.
fn looked_at_row(connection: ConnectionId, user: &MirroredUser) -> Option<Vec<Bind>> {
    let ProfileFacet::Present { ticket, read_at, source, .. } = &user.profile else { return None };
    let complete = user.membership.complete;
    Some(vec![
        connection.into(),
        user.id.into(),
        source_word(*source).into(),
        (*ticket).into(),
        (*read_at).into(),
        complete.map(|read| read.ticket).into(),
        complete.map(|read| read.read_at).into(),
    ])
}

fn user_row(connection: ConnectionId, user: &MirroredUser, now: Timestamp) -> Vec<Bind> {
    let [state, profile, source, ticket, read_at, missing_since, in_deleted_items] = profile_binds(&user.profile);
    let complete = user.membership.complete;
    vec![
        connection.into(),
        user.id.into(),
        state,
        profile,
        source,
        ticket,
        read_at,
        missing_since,
        in_deleted_items,
        complete.map(|read| read.ticket).into(),
        complete.map(|read| read.read_at).into(),
        now.into(),
    ]
}

fn profile_binds(facet: &ProfileFacet) -> [Bind; 7] {
    match facet {
        ProfileFacet::Unknown => [
            "unknown".into(),
            Bind::Json(None),
            Bind::Text(None),
            0_i64.into(),
            Bind::Int(None),
            Bind::Int(None),
            false.into(),
        ],
        ProfileFacet::Present { ticket, read_at, source, profile } => [
            "present".into(),
            Bind::json(&**profile),
            source_word(*source).into(),
            (*ticket).into(),
            (*read_at).into(),
            Bind::Int(None),
            false.into(),
        ],
        ProfileFacet::Missing { ticket, read_at, first_at, in_deleted_items, last } => [
            "missing".into(),
            last.as_deref().map_or(Bind::Json(None), Bind::json),
            Bind::Text(None),
            (*ticket).into(),
            (*read_at).into(),
            (*first_at).into(),
            (*in_deleted_items).into(),
        ],
    }
}

fn edge_row(connection: ConnectionId, user: ObjectId, group: ObjectId, edge: &Edge) -> Vec<Bind> {
    vec![connection.into(), user.into(), group.into(), edge.ticket.into(), edge.direct.into(), edge.present.into()]
}
