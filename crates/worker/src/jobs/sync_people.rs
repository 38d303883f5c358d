//! Brings due objects of one connection up to date: reads them concurrently, then one transaction for all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use lockstep_core::mirror::ProfileFacet;
use lockstep_core::record::Status;
use lockstep_core::retry::{RetryPolicy, Verdict};
use lockstep_core::{ConnectionId, ErrorClass, ObjectId, Timestamp};
use lockstep_graph::{GraphClient, ObjectKind};
use lockstep_store::{Due, DueClaim, DueKind, DueReason, MirroredPerson, People, StoreError, Trigger};
use tracing::{debug, warn};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::compare_group;
use crate::jobs::settle_due::{commit_people, forget_object, pass_by};
use crate::read::{Facets, decisive, read_person, stamp};
use crate::settle_people::{Look, Occasion};
use crate::supervise::chain;
use crate::trouble::{self, chance};

/// A batch that meets newer rows runs again; after that each person runs alone, so that one clash spoils nobody else.
const RUNS: usize = 3;
/// How long after the first sync the looks that it asked for still count as part of it.
const FIRST_SYNC_ENDS: Duration = Duration::from_secs(10 * 60);

/// What reading one due object found.
enum Found {
    Person(Look),
    Group,
    /// A device or the like: nothing of ours.
    Other(Look),
    Failed(WorkerError),
}

/// Looks at these objects of one connection and commits what follows. Errors of the connection or of single objects are
/// dealt with here; what is returned concerns the store alone.
pub(crate) async fn run(ctx: &Context, connection: ConnectionId, dues: Vec<Due>) -> Result<(), WorkerError> {
    // Removed meanwhile: its rows went with it.
    let Some(basis) = Basis::load(&ctx.store, connection).await? else {
        return Ok(());
    };
    let dues = drop_exhausted(ctx, dues).await?;
    match ctx.client(&basis.connection).await {
        Ok(client) => look_at(ctx, &basis, &client, dues).await,
        Err(failure) if matches!(failure, WorkerError::Store(_)) => Err(failure),
        Err(failure) => connection_failed(ctx, &basis, &dues, &failure).await,
    }
}

async fn look_at(ctx: &Context, basis: &Basis, client: &GraphClient, dues: Vec<Due>) -> Result<(), WorkerError> {
    let known = load_known(ctx, basis, &dues).await?;
    let found = join_all(dues.iter().map(|due| find(ctx, basis, client, due, known.get(&due.object)))).await;
    let mut people = Vec::new();
    let mut answered = false;
    let mut failed: Option<(Vec<Due>, WorkerError)> = None;
    for (due, found) in dues.into_iter().zip(found) {
        answered |= !matches!(found, Found::Failed(_));
        match found {
            Found::Person(look) if !known.contains_key(&due.object) && is_stranger(basis, &look) => {
                pass_by(ctx, &due, &look).await?;
            }
            Found::Person(look) => people.push((due, look)),
            Found::Group => group(ctx, basis, client, &due, &mut failed).await?,
            Found::Other(look) => forget_object(ctx, &due, &look).await?,
            Found::Failed(failure) if failure.is_connection_wide() => {
                failed.get_or_insert_with(|| (Vec::new(), failure)).0.push(due);
            }
            Found::Failed(failure) => object_failed(ctx, &due, &failure).await?,
        }
    }
    settle(ctx, basis, client, people, &mut failed).await?;
    match failed {
        Some((dues, failure)) => connection_failed(ctx, basis, &dues, &failure).await,
        None if answered => trouble::note_ok(ctx, &basis.connection).await,
        None => Ok(()),
    }
}

/// What is known of them already decides which facets must be read.
async fn load_known(
    ctx: &Context,
    basis: &Basis,
    dues: &[Due],
) -> Result<BTreeMap<ObjectId, MirroredPerson>, WorkerError> {
    let ids: Vec<ObjectId> = dues.iter().filter(|due| due.kind != DueKind::Group).map(|due| due.object).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let known = ctx.store.load_people(&basis.connection, People::Ids(&ids)).await?;
    Ok(known.into_iter().map(|person| (person.user.id, person)).collect())
}

async fn find(ctx: &Context, basis: &Basis, client: &GraphClient, due: &Due, known: Option<&MirroredPerson>) -> Found {
    if due.kind == DueKind::Group {
        return Found::Group;
    }
    match find_person(ctx, basis, client, due, known).await {
        Ok(found) => found,
        Err(failure) => Found::Failed(failure),
    }
}

/// A member may be a user, a group or a device: a 404 as a user says nothing before its kind is known.
async fn find_person(
    ctx: &Context,
    basis: &Basis,
    client: &GraphClient,
    due: &Due,
    known: Option<&MirroredPerson>,
) -> Result<Found, WorkerError> {
    let facets = facets(basis, due, known);
    let read = read_person(&ctx.store, client, due.object, facets).await?;
    let now = ctx.store.now();
    let (ticket, read_at) = match decisive(&read) {
        Some(place) => place,
        // Asked for nothing: cannot be, but must not be taken for an answer.
        None => (stamp(&ctx.store).await?.0, now),
    };
    let look = Look { read, ticket, read_at };
    if due.kind != DueKind::Unknown || known.is_some_and(is_a_user) || !look.is_missing() {
        return Ok(Found::Person(look));
    }
    Ok(match client.resolve_kinds(&[due.object]).await?.get(&due.object) {
        Some(ObjectKind::Group) => Found::Group,
        Some(ObjectKind::Other) => Found::Other(look),
        Some(ObjectKind::User) | None => Found::Person(look),
    })
}

/// Somebody we do not know, in no mapped group: nothing of them is kept, cost follows the people that are managed.
fn is_stranger(basis: &Basis, look: &Look) -> bool {
    match &look.read.membership {
        Some(membership) => membership.groups.keys().all(|group| basis.rules.lookup(*group).is_none()),
        None => look.is_missing(),
    }
}

/// Graph has shown this id to be a user before.
fn is_a_user(person: &MirroredPerson) -> bool {
    !matches!(person.user.profile, ProfileFacet::Unknown)
}

/// Taking access needs one facet, giving it both in one task (G-10): whoever is in is read as asked, everybody else in
/// full.
fn facets(basis: &Basis, due: &Due, known: Option<&MirroredPerson>) -> Facets {
    let is_in = |person: &&MirroredPerson| {
        is_a_user(person)
            && !person.user.needs_membership()
            && person.record.as_ref().is_some_and(|record| record.status == Status::Active)
    };
    let as_asked = known.filter(is_in).is_some() && (due.read_profile || due.read_membership);
    Facets {
        profile: due.read_profile || !as_asked,
        membership: due.read_membership || !as_asked,
        direct_too: basis.direct_too(),
    }
}

async fn group(
    ctx: &Context,
    basis: &Basis,
    client: &GraphClient,
    due: &Due,
    failed: &mut Option<(Vec<Due>, WorkerError)>,
) -> Result<(), WorkerError> {
    match compare_group::run(ctx, basis, client, due).await {
        Ok(()) => Ok(()),
        Err(failure) if failure.is_connection_wide() => {
            failed.get_or_insert_with(|| (Vec::new(), failure)).0.push(due.clone());
            Ok(())
        }
        Err(failure) => object_failed(ctx, due, &failure).await,
    }
}

/// Commits all of them at once; on a clash again with rows of now, and at last one by one.
async fn settle(
    ctx: &Context,
    basis: &Basis,
    client: &GraphClient,
    people: Vec<(Due, Look)>,
    failed: &mut Option<(Vec<Due>, WorkerError)>,
) -> Result<(), WorkerError> {
    let now = ctx.store.now();
    let (first, later): (Vec<_>, Vec<_>) = people.into_iter().partition(|(due, _)| ends_first_sync(basis, due, now));
    settle_alike(ctx, basis, client, first, true, failed).await?;
    settle_alike(ctx, basis, client, later, false, failed).await
}

/// A look that the first sync asked for because a listing is no evidence: its removals belong to the sync's one hold.
fn ends_first_sync(basis: &Basis, due: &Due, now: Timestamp) -> bool {
    let lately = basis.connection.first_sync_at.is_none_or(|at| now.since(at) < FIRST_SYNC_ENDS);
    lately && due.reason == DueReason::BothFacets && due.hinted_at.is_none()
}

async fn settle_alike(
    ctx: &Context,
    basis: &Basis,
    client: &GraphClient,
    people: Vec<(Due, Look)>,
    first_sync: bool,
    failed: &mut Option<(Vec<Due>, WorkerError)>,
) -> Result<(), WorkerError> {
    if people.is_empty() {
        return Ok(());
    }
    match settle_again(ctx, basis, client, &people, first_sync).await {
        Err(WorkerError::Store(StoreError::Conflict { .. })) if people.len() > 1 => {
            for one in people {
                Box::pin(settle_alike(ctx, basis, client, vec![one], first_sync, failed)).await?;
            }
            Ok(())
        }
        Err(failure) if failure.is_connection_wide() => {
            let dues = people.into_iter().map(|(due, _)| due);
            failed.get_or_insert_with(|| (Vec::new(), failure)).0.extend(dues);
            Ok(())
        }
        Err(failure) => {
            for (due, _) in &people {
                object_failed(ctx, due, &failure).await?;
            }
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

async fn settle_again(
    ctx: &Context,
    basis: &Basis,
    client: &GraphClient,
    people: &[(Due, Look)],
    first_sync: bool,
) -> Result<(), WorkerError> {
    let mut basis = basis.clone();
    for run in 1.. {
        match commit_people(ctx, &basis, client, people, occasion(people, first_sync)).await {
            Err(WorkerError::Store(StoreError::Conflict { .. })) if run < RUNS => {
                let Some(now) = Basis::load(&ctx.store, basis.connection.id).await? else {
                    return Ok(());
                };
                basis = now;
            }
            ended => return ended,
        }
    }
    Ok(())
}

/// For the history; a batch of several kinds counts as what most of them are.
fn occasion(people: &[(Due, Look)], first_sync: bool) -> Occasion {
    let trigger = match people.first().map(|(due, _)| due.reason) {
        Some(DueReason::Hint) => Trigger::Hint,
        Some(DueReason::OnDemand) => Trigger::OnDemand,
        Some(DueReason::Rules) => Trigger::Rule,
        Some(DueReason::NotListed | DueReason::Relist) => Trigger::Sync,
        _ => Trigger::Settle,
    };
    Occasion { trigger, first_sync }
}

/// Whatever was claimed more often than an object may be tried breaks its worker (FA-24).
async fn drop_exhausted(ctx: &Context, dues: Vec<Due>) -> Result<Vec<Due>, WorkerError> {
    let most = RetryPolicy::default().attempts;
    let (exhausted, rest): (Vec<Due>, Vec<Due>) = dues.into_iter().partition(|due| due.attempts > most);
    for due in exhausted {
        fail(ctx, &due, "no attempt came to an end").await?;
    }
    Ok(rest)
}

/// A fault of the connection spends no attempt: the objects wait, and are due at once when it ends.
async fn connection_failed(
    ctx: &Context,
    basis: &Basis,
    dues: &[Due],
    failure: &WorkerError,
) -> Result<(), WorkerError> {
    trouble::note(ctx, &basis.connection, failure).await?;
    ctx.store.release(ctx.id, dues).await?;
    Ok(())
}

async fn object_failed(ctx: &Context, due: &Due, failure: &WorkerError) -> Result<(), WorkerError> {
    debug!(object.id = %due.object, error = %chain(failure), "Looking at {} failed", due.object);
    spend_attempt(ctx, due, failure.class(), &failure.to_string()).await
}

/// A fault of the object itself: tried again later, or given up and shown.
pub(crate) async fn spend_attempt(ctx: &Context, due: &Due, class: ErrorClass, why: &str) -> Result<(), WorkerError> {
    // A worker that broke down may have done so by no fault of the object: that is found out by trying again.
    let class = if why_may_heal(class, due) { ErrorClass::Transient { retry_after: None } } else { class };
    match RetryPolicy::default().verdict(class, due.attempts, chance()) {
        Verdict::RetryIn(wait) => ctx.store.retry_object(due, ctx.store.now() + wait, why).await?,
        Verdict::Fail => fail(ctx, due, why).await?,
    }
    Ok(())
}

fn why_may_heal(class: ErrorClass, due: &Due) -> bool {
    class == ErrorClass::Bug && due.attempts < RetryPolicy::default().attempts
}

async fn fail(ctx: &Context, due: &Due, why: &str) -> Result<(), WorkerError> {
    warn!(object.id = %due.object, connection.id = %due.connection, why, "Gave up on {} after {} attempts", due.object, due.attempts);
    metrics::counter!("lockstep_events_failed_total").increment(1);
    ctx.store.fail_object(due, why).await?;
    Ok(())
}

/// Groups whose people are all looked at: a group that came into, or left, a mapped group brings everyone below it.
pub(crate) fn brings_everyone(due: &Due) -> bool {
    matches!(due.claim, Some(DueClaim::Added | DueClaim::Removed))
}

/// Distinct ids in their order.
pub(crate) fn distinct(ids: impl IntoIterator<Item = ObjectId>) -> Vec<ObjectId> {
    ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
