//! Compares a group's listing with the mirror: whoever is new is read in full, whoever is missing is read by id. The
//! listing itself takes nobody's access (G-09).

use std::collections::BTreeSet;

use lockstep_core::{ObjectId, Ticket, Timestamp, settle};
use lockstep_graph::GraphClient;
use lockstep_store::{
    Due, DueClaim, DueKind, DueReason, EventOutcome, ListedPage, MarkDue, MirroredGroup, NextLook, People, TaskKind,
    Trigger, Tx,
};
use tracing::{info, warn};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::decide_listed::{PAGE, decide_listed};
use crate::jobs::relist::shrank;
use crate::jobs::sync_people::{brings_everyone, distinct};
use crate::listing::{self, Cursor, Fetched, NestedGroup, deleted_group, fetch, read_group, read_nested};
use crate::read::stamp;
use crate::settle_people::Occasion;

/// A larger group is listed by a task with a checkpoint; about 2,000 members.
const MOST_PAGES: usize = 3;
/// Later than any ticket drawn.
const EVERYONE: Ticket = Ticket(i64::MAX);

/// Looks at one due group.
pub(crate) async fn run(ctx: &Context, basis: &Basis, client: &GraphClient, due: &Due) -> Result<(), WorkerError> {
    let group = due.object;
    let scope = listing::scope(&ctx.store, &basis.connection).await?;
    let Some(read) = read_group(&ctx.store, client, group).await? else {
        return gone(ctx, basis, due, &scope).await;
    };
    let Some(parents) = client.group_parents(group).await? else {
        return gone(ctx, basis, due, &scope).await;
    };
    let in_scope = is_in_scope(basis, group, &parents, &scope);
    let found = NestedGroup { group: read, parents };
    match list(ctx, client, group).await? {
        Listed::All(pages) => {
            tracing::trace!(target: "lockstep::point", "group.listed");
            let nested = nested(ctx, client, &pages, &scope).await?;
            compare(ctx, client, basis, due, &ReadGroup { group: found, in_scope, pages, nested }).await
        }
        Listed::TooLarge => {
            ctx.store.start_task(basis.connection.id, TaskKind::ListGroup, Some(group), ctx.store.now()).await?;
            let mut tx = ctx.store.begin("compare_group").await?;
            mirror_one(&mut tx, basis, &found).await?;
            settle_group(&mut tx, ctx, due, &found).await?;
            Ok(tx.commit().await?)
        }
        Listed::NoGroup => gone(ctx, basis, due, &scope).await,
    }
}

enum Listed {
    All(Vec<ListedPage>),
    TooLarge,
    NoGroup,
}

async fn list(ctx: &Context, client: &GraphClient, group: ObjectId) -> Result<Listed, WorkerError> {
    let mut pages = Vec::new();
    let mut cursor = Cursor::default();
    loop {
        if pages.len() == MOST_PAGES {
            return Ok(Listed::TooLarge);
        }
        match fetch(client, group, &cursor, stamp(&ctx.store).await?).await? {
            Fetched::NoGroup => return Ok(Listed::NoGroup),
            Fetched::Page(page, following) => {
                pages.push(page);
                let Some(next) = following else {
                    return Ok(Listed::All(pages));
                };
                cursor = next;
            }
        }
    }
}

/// Mapped, already followed, or standing in a group that is.
fn is_in_scope(basis: &Basis, group: ObjectId, parents: &[ObjectId], scope: &[MirroredGroup]) -> bool {
    let followed = |id: &ObjectId| scope.iter().any(|known| known.id == *id && known.present);
    basis.rules.lookup(group).is_some() || parents.iter().any(followed)
}

/// Groups inside it that are not followed yet.
async fn nested(
    ctx: &Context,
    client: &GraphClient,
    pages: &[ListedPage],
    scope: &[MirroredGroup],
) -> Result<Vec<NestedGroup>, WorkerError> {
    let known: BTreeSet<ObjectId> = scope.iter().map(|group| group.id).collect();
    let mut nested = Vec::new();
    for id in distinct(pages.iter().flat_map(|page| page.groups.iter().copied())) {
        if !known.contains(&id) {
            nested.extend(read_nested(&ctx.store, client, id).await?);
        }
    }
    Ok(nested)
}

/// What was read of a group.
struct ReadGroup {
    group: NestedGroup,
    in_scope: bool,
    pages: Vec<ListedPage>,
    nested: Vec<NestedGroup>,
}

impl ReadGroup {
    fn people(&self) -> BTreeSet<ObjectId> {
        self.pages.iter().flat_map(|page| page.users.iter().map(|(id, _)| *id)).collect()
    }

    fn first_ticket(&self) -> Ticket {
        self.pages.first().map_or(self.group.group.ticket, |page| page.first_ticket)
    }

    async fn mirror(&self, tx: &mut Tx, basis: &Basis, now: Timestamp) -> Result<(), WorkerError> {
        mirror_one(tx, basis, &self.group).await?;
        for group in &self.nested {
            mirror_one(tx, basis, group).await?;
        }
        for page in &self.pages {
            tx.mirror_listing(&basis.connection, page).await?;
        }
        Ok(tx.mark_group_listed(&basis.connection, self.group.group.id, now).await?)
    }
}

async fn compare(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    due: &Due,
    read: &ReadGroup,
) -> Result<(), WorkerError> {
    let (connection, group, now) = (&basis.connection, due.object, ctx.store.now());
    let listed = read.people();
    let outsiders = if read.in_scope { BTreeSet::new() } else { strangers(ctx, basis, &listed).await? };
    let mut tx = ctx.store.begin("compare_group").await?;
    let before: BTreeSet<ObjectId> = tx.missing_from_listing(connection, group, EVERYONE).await?.into_iter().collect();
    if read.in_scope {
        read.mirror(&mut tx, basis, now).await?;
    }
    let missing = tx.missing_from_listing(connection, group, read.first_ticket()).await?;
    note_shrinking(&mut tx, basis, group, missing.len() as u64).await?;
    let mut marks: Vec<MarkDue> = missing.iter().map(|user| mark(*user, DueReason::NotListed, true, now)).collect();
    let mapped = basis.rules.lookup(group).is_some();
    // A group that came or went takes everyone below it along, known members included.
    let everyone = brings_everyone(due);
    let looked_at = |user: &&ObjectId| everyone || (!mapped && !before.contains(*user));
    let below = listed.iter().filter(looked_at).filter(|user| !missing.contains(user) && !outsiders.contains(user));
    marks.extend(below.map(|user| mark(*user, DueReason::EnteredScope, everyone, now)));
    tx.mark_due(connection.id, &marks).await?;
    tx.commit().await?;
    tracing::trace!(target: "lockstep::point", "group.compared");
    if mapped {
        decide(ctx, client, basis, &listed.iter().copied().collect::<Vec<_>>()).await?;
    }
    info!(connection.id = %connection.id, group.id = %group, listed = listed.len(), due = marks.len(), "Compared group {group}");
    settle(ctx, due, read).await
}

async fn settle(ctx: &Context, due: &Due, read: &ReadGroup) -> Result<(), WorkerError> {
    let ticket = read.group.group.ticket.min(read.first_ticket());
    let mut tx = ctx.store.begin("compare_group").await?;
    settle_group(&mut tx, ctx, due, &read.group).await?;
    if read.in_scope && due.reason != DueReason::Settle {
        tx.owe_relists(due.connection, Some(due.object)).await?;
    }
    tx.settle_events(due.connection, &[(due.object, ticket, EventOutcome::applied())]).await?;
    tx.commit().await?;
    ctx.due.notify_one();
    Ok(())
}

/// A hint about a group is settled by relists, unless what was read contradicts it. Where one came into another, or left
/// it, the other is listed again, too: whoever is below may have been read from a stale replica.
async fn settle_group(tx: &mut Tx, ctx: &Context, due: &Due, found: &NestedGroup) -> Result<(), WorkerError> {
    let next = if contradicts(due, &found.parents) { looks_again(ctx, due, true) } else { None };
    tx.settle_due(due, next, found.group.read_at).await?;
    if let Some(around) = due.claim_group.filter(|_| due.reason != DueReason::Settle) {
        tx.owe_relists(due.connection, Some(around)).await?;
    }
    Ok(())
}

/// Whether a group that is there, and stands in these groups, is the opposite of what was claimed.
fn contradicts(due: &Due, parents: &[ObjectId]) -> bool {
    let stands_there = || due.claim_group.map(|group| parents.contains(&group));
    match due.claim {
        Some(DueClaim::Deleted) => true,
        Some(DueClaim::Added) => stands_there() == Some(false),
        Some(DueClaim::Removed) => stands_there() == Some(true),
        Some(DueClaim::Changed) | None => false,
    }
}

/// What a hint told of is read again like a person (FA-15).
fn looks_again(ctx: &Context, due: &Due, contradicted: bool) -> Option<NextLook> {
    let at = settle::after_hint(due.hinted_at?, contradicted, ctx.store.now(), ctx.store.timing());
    if contradicted && at.is_none() {
        warn!(group.id = %due.object, connection.id = %due.connection, "Graph still contradicts what it notified about group {}", due.object);
        metrics::counter!("lockstep_hints_contradicted_total").increment(1);
    }
    let (read_profile, read_membership, settle_at) = (due.read_profile, due.read_membership, due.settle_at);
    Some(NextLook { at: at?, reason: DueReason::Settle, read_profile, read_membership, settle_at })
}

/// FA-16: whoever is missing is read by id in any case; that many of them are a sign of a truncated answer.
pub(crate) async fn note_shrinking(
    tx: &mut Tx,
    basis: &Basis,
    group: ObjectId,
    missing: u64,
) -> Result<(), WorkerError> {
    let known = tx.count_in_group(&basis.connection, group).await?;
    if shrank(missing, known) {
        warn!(group.id = %group, missing, known, "The listing of group {group} did not show {missing} of {known} people: each is read by id");
        metrics::counter!("lockstep_listing_shrank_total").increment(1);
    }
    Ok(())
}

/// Decides the people of a mapped group from its listing.
pub(crate) async fn decide(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    people: &[ObjectId],
) -> Result<(), WorkerError> {
    let occasion = Occasion::of(Trigger::Sync);
    for page in people.chunks(PAGE) {
        decide_listed(ctx, client, basis, page, occasion).await?.tx.commit().await?;
    }
    ctx.due.notify_one();
    Ok(())
}

/// Of a group that is not followed only people we know are looked at: cost follows the people that are managed.
async fn strangers(
    ctx: &Context,
    basis: &Basis,
    listed: &BTreeSet<ObjectId>,
) -> Result<BTreeSet<ObjectId>, WorkerError> {
    let ids: Vec<ObjectId> = listed.iter().copied().collect();
    let known = ctx.store.load_people(&basis.connection, People::Ids(&ids)).await?;
    let known: BTreeSet<ObjectId> = known.into_iter().map(|person| person.user.id).collect();
    Ok(listed.difference(&known).copied().collect())
}

/// A deleted group's edges name the candidates: each is read by id in full.
async fn gone(ctx: &Context, basis: &Basis, due: &Due, scope: &[MirroredGroup]) -> Result<(), WorkerError> {
    let deleted = deleted_group(&ctx.store, due.object, scope).await?;
    let mut tx = ctx.store.begin("compare_group").await?;
    let people = mark_deleted(&mut tx, basis, &deleted, scope, ctx.store.now()).await?;
    // A replica that lags does not know a new group yet, nor that one was restored.
    let next = looks_again(ctx, due, due.claim == Some(DueClaim::Added));
    tx.settle_due(due, next, deleted.read_at).await?;
    tx.settle_events(basis.connection.id, &[(due.object, deleted.ticket, EventOutcome::applied())]).await?;
    tx.commit().await?;
    info!(connection.id = %basis.connection.id, group.id = %due.object, due = people, "Group {} is deleted", due.object);
    ctx.due.notify_one();
    Ok(())
}

/// Keeps the group as deleted and makes everyone with an edge to it due; how many.
pub(crate) async fn mark_deleted(
    tx: &mut Tx,
    basis: &Basis,
    deleted: &MirroredGroup,
    scope: &[MirroredGroup],
    now: Timestamp,
) -> Result<usize, WorkerError> {
    let people = tx.missing_from_listing(&basis.connection, deleted.id, deleted.ticket).await?;
    if scope.iter().any(|known| known.id == deleted.id) {
        tx.mirror_group(&basis.connection, deleted).await?;
    }
    let mut marks: Vec<MarkDue> = people.iter().map(|user| mark(*user, DueReason::NotListed, true, now)).collect();
    // People known only as members of a group around it have no edge to it: the listings around it tell who is missing.
    marks.extend(
        groups_around(tx, basis, deleted.id)
            .await?
            .into_iter()
            .map(|group| MarkDue { kind: DueKind::Group, ..mark(group, DueReason::NotListed, true, now) }),
    );
    tx.mark_due(basis.connection.id, &marks).await?;
    Ok(marks.len())
}

/// Every group in scope that this one stands in, at any depth; cycles are harmless.
async fn groups_around(tx: &mut Tx, basis: &Basis, group: ObjectId) -> Result<BTreeSet<ObjectId>, WorkerError> {
    let mut around = BTreeSet::new();
    let mut open = vec![group];
    while let Some(inner) = open.pop() {
        let parents = tx.group_parents(&basis.connection, inner).await?;
        open.extend(parents.into_iter().filter(|parent| around.insert(*parent)));
    }
    Ok(around)
}

/// Mirrors a group and where it stands.
pub(crate) async fn mirror_one(tx: &mut Tx, basis: &Basis, found: &NestedGroup) -> Result<(), WorkerError> {
    tx.mirror_group(&basis.connection, &found.group).await?;
    tx.set_group_parents(&basis.connection, found.group.id, &found.parents).await?;
    Ok(())
}

/// A user to be read in full.
pub(crate) fn mark(object: ObjectId, reason: DueReason, urgent: bool, at: Timestamp) -> MarkDue {
    MarkDue { object, kind: DueKind::User, at, urgent, read_profile: true, read_membership: true, reason }
}
