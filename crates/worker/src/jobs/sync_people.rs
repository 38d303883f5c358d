//! Brings due objects of one connection up to date: what is read together is committed together.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use futures::{Stream, StreamExt as _};
use lockstep_core::spans::TARGET;
use lockstep_core::{ConnectionId, ObjectId};
use lockstep_store::{Due, DueClaim, DueKind, DueReason, KnownPerson, StoreError, Trigger};
use tracing::Instrument as _;

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::blame::{Suspect, judge, may_concern_one, smaller_requests_help};
use crate::jobs::compare_group;
use crate::jobs::failing::{Ended, conclude, drop_exhausted, object_failed};
use crate::jobs::find_people::{Batch, Found, Wave};
use crate::jobs::settle_due::{commit_people, forget_object, pass_by};
use crate::read::Reader;
use crate::settle_people::{Look, Occasion};

/// Never fewer than there can be: with the limit reached nobody would attend to the reads, of which one may be about to
/// draw its ticket, and all would wait for it.
const WAVES_AT_ONCE: usize = usize::MAX;
/// A batch that meets newer rows runs again; after that each person runs alone, so that one clash spoils nobody else.
const RUNS: usize = 3;

/// Looks at these objects of one connection and commits what follows. Errors of the connection or of single objects are
/// dealt with here; what is returned concerns the store alone.
pub(crate) async fn run(ctx: &Context, connection: ConnectionId, dues: Vec<Due>) -> Result<(), WorkerError> {
    let (basis, known) = futures::try_join!(Basis::load(ctx, connection), load_known(ctx, connection, &dues))?;
    // Removed meanwhile: its rows went with it.
    let Some(basis) = basis else {
        return Ok(());
    };
    let dues = drop_exhausted(ctx, dues).await?;
    match ctx.client(&basis.connection).await {
        Ok(client) => {
            let reader = Reader { store: &ctx.store, client: &client, places: &ctx.places };
            look_at(Batch { ctx, basis: &basis, reader, known: &known }, dues).await
        }
        Err(failure) if matches!(failure, WorkerError::Store(_)) => Err(failure),
        Err(failure) => conclude(ctx, &basis, Ended { kept_off: vec![(dues, failure)], ..Ended::default() }).await,
    }
}

async fn look_at(batch: Batch<'_>, dues: Vec<Due>) -> Result<(), WorkerError> {
    let (groups, people): (Vec<Due>, Vec<Due>) = dues.into_iter().partition(|due| due.kind == DueKind::Group);
    let groups = join_all(groups.into_iter().map(|due| group(batch, due)));
    let (groups, people) = futures::join!(groups, look_at_people(batch, people));
    let mut ended = people?;
    for group in groups {
        ended.join(group?);
    }
    judge(batch, &mut ended).await?;
    conclude(batch.ctx, batch.basis, ended).await
}

/// Each wave of answers is committed while the next one is on its way. What a request about several did not bring is
/// asked for in smaller ones, at last one by one: whoever spoils an answer must not take others along (FA-24).
async fn look_at_people(batch: Batch<'_>, dues: Vec<Due>) -> Result<Ended, WorkerError> {
    let mut ended = Ended::default();
    let left = settle_waves(batch, batch.find(dues), &mut ended).await?;
    let again = whom_to_ask_again(batch, left, &mut ended).await?;
    let left = settle_waves(batch, batch.find_by_id(again), &mut ended).await?;
    let again = whom_to_ask_again(batch, left, &mut ended).await?;
    let left = settle_waves(batch, batch.find_alone(again), &mut ended).await?;
    debug_assert!(left.unsure.is_empty() && left.spoiled.is_empty(), "nobody is asked for more closely than alone");
    Ok(ended)
}

/// Who must be asked for once more.
#[derive(Default)]
struct Left {
    /// The answer proves nothing.
    unsure: Vec<Due>,
    /// The request failed, and was about others too.
    spoiled: Vec<Suspect>,
}

async fn settle_waves(
    batch: Batch<'_>,
    waves: impl Stream<Item = Result<Wave, WorkerError>>,
    ended: &mut Ended,
) -> Result<Left, WorkerError> {
    let mut left = Left::default();
    let settled = waves.map(|wave| settle_wave(batch, wave)).buffer_unordered(WAVES_AT_ONCE);
    for wave in settled.collect::<Vec<_>>().await {
        let (wave, rest) = wave?;
        ended.join(wave);
        left.unsure.extend(rest.unsure);
        left.spoiled.extend(rest.spoiled);
    }
    Ok(left)
}

/// In an outage many small requests would fail like the large one: they are sent only if somebody else is answered.
async fn whom_to_ask_again(batch: Batch<'_>, left: Left, ended: &mut Ended) -> Result<Vec<Due>, WorkerError> {
    let Left { unsure: mut again, spoiled } = left;
    if spoiled.is_empty() {
        return Ok(again);
    }
    if ended.answered || smaller_requests_help(batch, &spoiled).await? {
        again.extend(spoiled.into_iter().map(|(due, _)| due));
    } else {
        ended.kept_off.extend(spoiled.into_iter().map(|(due, failure)| (vec![due], failure)));
    }
    Ok(again)
}

/// Commits what was found.
async fn settle_wave(batch: Batch<'_>, wave: Result<Wave, WorkerError>) -> Result<(Ended, Left), WorkerError> {
    let Batch { ctx, basis, known, .. } = batch;
    tracing::trace!(target: "lockstep::point", "due.read");
    let (mut people, mut groups, mut left) = (Vec::new(), Vec::new(), Left::default());
    let mut ended = Ended::default();
    for (due, found) in wave? {
        ended.answered |= !matches!(found, Found::Failed(_) | Found::Spoiled(_));
        match found {
            Found::Person(look) if !known.contains_key(&due.object) && is_stranger(basis, &look) => {
                pass_by(ctx, &due, &look).await?;
            }
            Found::Person(look) => people.push((due, look)),
            Found::Group => groups.push(due),
            Found::Other(look) => forget_object(ctx, &due, &look).await?,
            Found::Unsure => left.unsure.push(due),
            Found::Spoiled(failure) if may_concern_one(&failure) => left.spoiled.push((due, failure)),
            Found::Failed(failure) if may_concern_one(&failure) => ended.suspects.push((due, failure)),
            Found::Failed(failure) | Found::Spoiled(failure) if failure.is_connection_wide() => {
                ended.kept_off.push((vec![due], failure));
            }
            Found::Failed(failure) | Found::Spoiled(failure) => object_failed(ctx, &due, &failure).await?,
        }
    }
    settle(batch, people, &mut ended).await?;
    for due in groups {
        ended.join(group(batch, due).await?);
    }
    Ok((ended, left))
}

/// What is known of them already decides which facets must be read.
async fn load_known(
    ctx: &Context,
    connection: ConnectionId,
    dues: &[Due],
) -> Result<BTreeMap<ObjectId, KnownPerson>, WorkerError> {
    let ids: Vec<ObjectId> = dues.iter().filter(|due| due.kind != DueKind::Group).map(|due| due.object).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(ctx.store.known_people(connection, &ids).await?)
}

/// Somebody we do not know, in no mapped group: nothing of them is kept, cost follows the people that are managed.
fn is_stranger(basis: &Basis, look: &Look) -> bool {
    match &look.read.membership {
        Some(membership) => membership.groups.keys().all(|group| basis.rules.lookup(*group).is_none()),
        None => look.is_missing(),
    }
}

async fn group(batch: Batch<'_>, due: Due) -> Result<Ended, WorkerError> {
    let Batch { ctx, basis, reader, .. } = batch;
    let _place = reader.take_place().await?;
    match compare_group::run(ctx, basis, reader.client, &due).await {
        Ok(()) => Ok(Ended { answered: true, ..Ended::default() }),
        Err(failure @ WorkerError::Store(_)) if !is_conflict(&failure) => Err(failure),
        Err(failure) if may_concern_one(&failure) => Ok(Ended { suspects: vec![(due, failure)], ..Ended::default() }),
        Err(failure) if failure.is_connection_wide() => {
            Ok(Ended { kept_off: vec![(vec![due], failure)], ..Ended::default() })
        }
        Err(failure) => object_failed(ctx, &due, &failure).await.map(|()| Ended::default()),
    }
}

/// Commits all of them at once; on a clash again with rows of now, and at last one by one.
async fn settle(batch: Batch<'_>, people: Vec<(Due, Look)>, ended: &mut Ended) -> Result<(), WorkerError> {
    let (first, later): (Vec<_>, Vec<_>) = people.into_iter().partition(|(due, _)| is_of_first_sync(due));
    settle_alike(batch, first, true, ended).await?;
    settle_alike(batch, later, false, ended).await
}

/// A look that the first sync asked for because a listing is no evidence: what it concludes belongs to the sync's one
/// hold, however late it comes. What a hint tells of is news, and counts like any other.
fn is_of_first_sync(due: &Due) -> bool {
    due.reason == DueReason::FirstSync && due.hinted_at.is_none()
}

async fn settle_alike(
    batch: Batch<'_>,
    people: Vec<(Due, Look)>,
    first_sync: bool,
    ended: &mut Ended,
) -> Result<(), WorkerError> {
    if people.is_empty() {
        return Ok(());
    }
    match settle_again(batch, &people, first_sync).await {
        Ok(()) => Ok(()),
        // This process was stopped in between, or the clock jumped: nobody's fault, but the reads say nothing any more.
        Err(failure) if is_conflict(&failure) && is_too_old(batch.ctx, &people) => {
            let dues: Vec<Due> = people.into_iter().map(|(due, _)| due).collect();
            let at = Some(batch.ctx.store.now());
            Ok(batch.ctx.store.put_off(batch.ctx.id, &dues, at, &failure.to_string()).await?)
        }
        Err(failure) if (is_conflict(&failure) || may_concern_one(&failure)) && people.len() > 1 => {
            for one in people {
                Box::pin(settle_alike(batch, vec![one], first_sync, ended)).await?;
            }
            Ok(())
        }
        Err(failure) if may_concern_one(&failure) => {
            ended.suspects.extend(people.into_iter().next().map(|(due, _)| (due, failure)));
            Ok(())
        }
        Err(failure) if failure.is_connection_wide() => {
            ended.kept_off.push((people.into_iter().map(|(due, _)| due).collect(), failure));
            Ok(())
        }
        // The store is in trouble, nobody in particular.
        Err(failure @ WorkerError::Store(_)) if !is_conflict(&failure) => Err(failure),
        Err(failure) => {
            for (due, _) in &people {
                object_failed(batch.ctx, due, &failure).await?;
            }
            Ok(())
        }
    }
}

async fn settle_again(batch: Batch<'_>, people: &[(Due, Look)], first_sync: bool) -> Result<(), WorkerError> {
    let Batch { ctx, reader, .. } = batch;
    let mut basis = batch.basis.clone();
    for run in 1.. {
        let span = tracing::debug_span!(
            target: TARGET,
            "apply people",
            connection.id = %basis.connection.id,
            people = people.len() as i64,
            run = run as i64,
        );
        let committing = commit_people(ctx, &basis, reader.client, people, occasion(people, first_sync));
        match committing.instrument(span).await {
            Err(failure) if is_conflict(&failure) && run < RUNS => {
                let Some(now) = Basis::load(ctx, basis.connection.id).await? else {
                    return Ok(());
                };
                basis = now;
            }
            ended => return ended,
        }
    }
    Ok(())
}

fn is_too_old(ctx: &Context, people: &[(Due, Look)]) -> bool {
    let (now, longest) = (ctx.store.now(), ctx.store.timing().work_timeout);
    people.iter().any(|(_, look)| now.since(look.read_at) > longest)
}

fn is_conflict(failure: &WorkerError) -> bool {
    matches!(failure, WorkerError::Store(StoreError::Conflict { .. }))
}

/// For the history; a batch of several kinds counts as what most of them are.
fn occasion(people: &[(Due, Look)], first_sync: bool) -> Occasion {
    let trigger = match people.first().map(|(due, _)| due.reason) {
        Some(DueReason::Hint) => Trigger::Hint,
        Some(DueReason::OnDemand | DueReason::Replay) => Trigger::OnDemand,
        Some(DueReason::Rules) => Trigger::Rule,
        Some(DueReason::FirstSync | DueReason::NotListed | DueReason::Relist) => Trigger::Sync,
        _ => Trigger::Settle,
    };
    Occasion { first_sync, ..Occasion::of(trigger) }
}

/// Groups whose people are all looked at: a group that came into, or left, a mapped group brings everyone below it.
pub(crate) fn brings_everyone(due: &Due) -> bool {
    matches!(due.claim, Some(DueClaim::Added | DueClaim::Removed))
}

/// Distinct ids in their order.
pub(crate) fn distinct(ids: impl IntoIterator<Item = ObjectId>) -> Vec<ObjectId> {
    ids.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
