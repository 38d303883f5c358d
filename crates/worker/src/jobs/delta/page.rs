//! Pages of the delta rounds: fetched, and turned into hints. In a round of thousands the rows of the wide one refresh
//! fields like a listing, since reading each by id would cost more than the listing itself.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::mirror::{PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::profile::Profile;
use lockstep_core::{ConnectionId, ObjectId, Ticket, Timestamp};
use lockstep_graph::{
    DELTA_ACCESS, DELTA_GROUPS, DELTA_PROFILE, DeltaNext, DeltaPage, GraphClient, GraphError, GroupRow, MemberChange,
    ObjectKind, PageLink, Removed, UserRow,
};
use lockstep_store::{
    DeltaGroup, DeltaMember, DeltaRound, DeltaState, DeltaUser, DueKind, DueReason, People, TakenRows, Trigger, Tx,
};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::compare_group::mark;
use crate::jobs::decide_listed::waiting;
use crate::jobs::deleted_people::note_strangers;
use crate::settle_people::{Look, Occasion, Settled, settle_people};

/// Rows of a round of which each is read by id; beyond that a row of the wide round serves as a snapshot (T5).
const READ_BY_ID: u64 = 1_000;

/// One page of any round.
pub(super) struct Page {
    pub rows: Rows,
    pub refused: u64,
    pub next: DeltaNext,
}

/// What a page tells.
pub(super) enum Rows {
    Access(Vec<UserRow>),
    Profile(Vec<UserRow>),
    Groups(Vec<GroupRow>),
}

impl Rows {
    pub fn len(&self) -> usize {
        match self {
            Self::Access(rows) | Self::Profile(rows) => rows.len(),
            Self::Groups(rows) => rows.len(),
        }
    }
}

fn page<Row>(page: DeltaPage<Row>, rows: impl FnOnce(Vec<Row>) -> Rows) -> Page {
    Page { rows: rows(page.rows), refused: page.refused as u64, next: page.next }
}

pub(super) async fn fetch(client: &GraphClient, round: DeltaRound, link: &PageLink) -> Result<Page, GraphError> {
    Ok(match round {
        DeltaRound::UsersAccess => page(client.user_delta_page(link).await?, Rows::Access),
        DeltaRound::UsersProfile => page(client.user_delta_page(link).await?, Rows::Profile),
        DeltaRound::Groups => page(client.group_delta_page(link).await?, Rows::Groups),
    })
}

/// Where a round begins that tells only what changes from now on. Where Graph tells everything all the same, it is
/// passed over: the listing that follows shows it.
pub(super) async fn latest(ctx: &Context, client: &GraphClient, round: DeltaRound) -> Result<String, WorkerError> {
    let mut next = match round {
        DeltaRound::UsersAccess => client.user_delta_latest(DELTA_ACCESS).await?.next,
        DeltaRound::UsersProfile => client.user_delta_latest(&DELTA_PROFILE).await?.next,
        DeltaRound::Groups => client.group_delta_latest(DELTA_GROUPS).await?.next,
    };
    loop {
        match next {
            DeltaNext::Done(link) => return Ok(link.as_str().to_owned()),
            DeltaNext::Next(_) if ctx.stopping() => return Err(WorkerError::Stopping),
            DeltaNext::Next(link) => next = fetch(client, round, &link).await?.next,
        }
    }
}

/// Takes the rows of a page; the caller adds the checkpoint and commits.
pub(super) async fn take(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    state: &DeltaState,
    rows: Rows,
    place: (Ticket, Timestamp),
) -> Result<(Tx, TakenRows), WorkerError> {
    let connection = basis.connection.id;
    let (users, urgent) = match rows {
        Rows::Access(users) => (users, true),
        Rows::Profile(users) => (users, false),
        Rows::Groups(groups) => {
            let groups: Vec<DeltaGroup> = groups.iter().filter_map(group).collect();
            let mut tx = ctx.store.begin("delta").await?;
            let taken = tx.take_delta_groups(connection, &groups).await?;
            return Ok((tx, taken));
        }
    };
    let strangers = note_strangers(ctx, client, basis, &deleted(&users), place).await?;
    let users: Vec<UserRow> = users.into_iter().filter(|row| !strangers.contains(&row.id)).collect();
    let few = state.under_way.as_ref().is_none_or(|progress| progress.rows < READ_BY_ID);
    let (tx, mut taken) = if urgent || few {
        let restored = |row: &UserRow| urgent && few && may_be_restored(row, state.taken_at);
        let users: Vec<DeltaUser> =
            users.iter().map(|row| DeltaUser { may_be_restored: restored(row), ..user(row, urgent) }).collect();
        hint_users(ctx, connection, &users).await?
    } else {
        refresh_users(ctx, client, basis, users, place).await?
    };
    taken.out_of_scope += strangers.len() as u64;
    Ok((tx, taken))
}

/// Whom the page shows as restorable last: deleted for good nobody comes back.
fn deleted(users: &[UserRow]) -> Vec<ObjectId> {
    let last: BTreeMap<ObjectId, Option<Removed>> = users.iter().map(|row| (row.id, row.removed)).collect();
    let restorable = |removed: &Option<Removed>| removed.is_some_and(|reason| reason != Removed::Deleted);
    last.into_iter().filter(|(_, removed)| restorable(removed)).map(|(id, _)| id).collect()
}

async fn hint_users(
    ctx: &Context,
    connection: ConnectionId,
    users: &[DeltaUser],
) -> Result<(Tx, TakenRows), WorkerError> {
    let mut tx = ctx.store.begin("delta").await?;
    let taken = tx.take_delta_users(connection, users).await?;
    Ok((tx, taken))
}

/// A restored person shows like a new one, but is older than the last round, which passes over what changed of others
/// that has nothing to do with access.
fn may_be_restored(row: &UserRow, last_round: Timestamp) -> bool {
    row.removed.is_none() && row.created_at().is_some_and(|created_at| created_at < last_round)
}

/// Rows as snapshots: they refresh fields and neither give nor take access. Who is gone, not mirrored yet, or shown
/// otherwise than by the last read by id, is read by id.
async fn refresh_users(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    users: Vec<UserRow>,
    place: (Ticket, Timestamp),
) -> Result<(Tx, TakenRows), WorkerError> {
    let connection = basis.connection.id;
    if users.is_empty() {
        return hint_users(ctx, connection, &[]).await;
    }
    let ids: Vec<ObjectId> = users.iter().map(|row| row.id).collect::<BTreeSet<_>>().into_iter().collect();
    let mirrored = ctx.store.load_people(&basis.connection, People::Ids(&ids)).await?;
    let mirrored: BTreeSet<ObjectId> = mirrored.into_iter().map(|person| person.user.id).collect();
    let mut hints: Vec<DeltaUser> = Vec::new();
    // The last row about somebody is the newest.
    let mut shown: BTreeMap<ObjectId, Profile> = BTreeMap::new();
    for row in users {
        let hint = user(&row, false);
        let other_manager = row.other_manager;
        match row.into_profile() {
            Some(profile) if mirrored.contains(&hint.id) && !other_manager => {
                shown.insert(hint.id, profile);
            }
            _ => hints.push(hint),
        }
    }
    let looks: Vec<Look> = shown.into_iter().map(|(id, profile)| look(id, profile, place)).collect();
    let occasion = Occasion::of(Trigger::Sync);
    let Settled { mut tx, outcomes, .. } = settle_people(&ctx.store, client, basis, &looks, occasion).await?;
    let now = ctx.store.now();
    let differing = outcomes.iter().filter(|outcome| outcome.person.merged.lost_and_differs);
    let mut marks: Vec<_> =
        differing.map(|outcome| mark(outcome.person.user.id, DueReason::LostRead, true, now)).collect();
    marks.extend(outcomes.iter().filter_map(|outcome| waiting(outcome, now)));
    tx.mark_due(connection, &marks).await?;
    let mut taken = tx.take_delta_users(connection, &hints).await?;
    let refreshed: Vec<ObjectId> = looks.iter().map(|look| look.read.user).collect();
    taken += tx.note_delta_snapshots(connection, &refreshed).await?;
    Ok((tx, taken))
}

fn look(user: ObjectId, profile: Profile, (ticket, read_at): (Ticket, Timestamp)) -> Look {
    let found = ProfileFound::Present(profile.into());
    let profile = ProfileRead { ticket, read_at, source: Source::Listing, found };
    Look { read: PersonRead { user, profile: Some(profile), membership: None }, ticket, read_at }
}

fn user(row: &UserRow, urgent: bool) -> DeltaUser {
    DeltaUser { id: row.id, removed: row.removed.is_some(), urgent, may_be_restored: false }
}

/// Devices and the like are nothing of ours, nor a row that names only such.
fn group(row: &GroupRow) -> Option<DeltaGroup> {
    let members: Vec<DeltaMember> = row.members.iter().filter_map(member).collect();
    let only_others = members.is_empty() && !row.members.is_empty() && row.removed.is_none();
    (!only_others).then_some(DeltaGroup { id: row.id, removed: row.removed.is_some(), members })
}

fn member(change: &MemberChange) -> Option<DeltaMember> {
    let kind = match change.kind {
        Some(ObjectKind::User) => DueKind::User,
        Some(ObjectKind::Group) => DueKind::Group,
        Some(ObjectKind::Other) => return None,
        None => DueKind::Unknown,
    };
    Some(DeltaMember { id: change.id, kind, removed: change.removed })
}
