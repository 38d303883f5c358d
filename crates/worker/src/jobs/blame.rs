//! Whose fault it is when Graph fails over an object: the object's own, which is given up after its attempts (FA-24), or
//! the connection's, which costs no object anything (guarantees.md, `attempts`). A read of the same kind about somebody
//! else tells the two apart.

use std::collections::BTreeSet;

use lockstep_core::ObjectId;
use lockstep_core::mirror::ProfileFacet;
use lockstep_graph::{GraphError, Unreached};
use lockstep_store::{Due, DueKind, MirroredPerson, People};
use tracing::info;

use crate::error::WorkerError;
use crate::jobs::failing::{Ended, object_failed};
use crate::jobs::find_people::Batch;
use crate::read::Facets;

/// People looked through for one who is not a suspect and was there when last read.
const CONTROLS: usize = 20;

/// An object over which Graph failed, by a request about nobody else.
pub(crate) type Suspect = (Due, WorkerError);

/// What a single sick object may cause as well as a sick Graph: an error of the server, no whole answer, none in time.
pub(crate) fn may_concern_one(failure: &WorkerError) -> bool {
    let WorkerError::Graph(failure) = failure else { return false };
    match failure {
        GraphError::ServerError { .. } | GraphError::BadAnswer { .. } => true,
        GraphError::Unreachable { reason, .. } => matches!(reason, Unreached::TimedOut | Unreached::Broken),
        _ => false,
    }
}

/// Spends an attempt of each suspect while others are answered; else they wait with the connection.
pub(crate) async fn judge(batch: Batch<'_>, ended: &mut Ended) -> Result<(), WorkerError> {
    let suspects = std::mem::take(&mut ended.suspects);
    let (groups, people): (Vec<Suspect>, Vec<Suspect>) =
        suspects.into_iter().partition(|(due, _)| due.kind == DueKind::Group);
    for suspects in [people, groups] {
        if suspects.is_empty() {
            continue;
        }
        if others_are_answered(batch, suspects.iter().map(|(due, _)| due)).await? {
            ended.answered = true;
            info!(connection.id = %batch.basis.connection.id, objects = suspects.len(), "Graph fails over {} objects and answers about others", suspects.len());
            for (due, failure) in suspects {
                object_failed(batch.ctx, &due, &failure).await?;
            }
        } else {
            ended.kept_off.extend(suspects.into_iter().map(|(due, failure)| (vec![due], failure)));
        }
    }
    Ok(())
}

/// Whether Graph answers about another object of the same kind, of which all are. With no other there is no evidence.
async fn others_are_answered(batch: Batch<'_>, suspects: impl Iterator<Item = &Due>) -> Result<bool, WorkerError> {
    let (mut ids, mut groups) = (BTreeSet::new(), false);
    for due in suspects {
        ids.insert(due.object);
        groups |= due.kind == DueKind::Group;
    }
    if groups {
        return another_group(batch, &ids).await;
    }
    match people_there(batch, CONTROLS + ids.len()).await?.find(|user| !ids.contains(user)) {
        Some(other) => is_answered(batch, other).await,
        None => Ok(false),
    }
}

/// Whether Graph answers about somebody when asked about them alone: then it was a request about many that failed over
/// one of them, and smaller ones tell over whom.
pub(crate) async fn smaller_requests_help(batch: Batch<'_>, together: &[Suspect]) -> Result<bool, WorkerError> {
    let ids: BTreeSet<ObjectId> = together.iter().map(|(due, _)| due.object).collect();
    let (among, others): (Vec<ObjectId>, Vec<ObjectId>) =
        people_there(batch, CONTROLS + ids.len()).await?.partition(|user| ids.contains(user));
    // Where everybody was in it, two of them: one may be the sick one.
    for user in others.into_iter().take(1).chain(among.into_iter().take(2)) {
        if is_answered(batch, user).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn people_there(batch: Batch<'_>, most: usize) -> Result<impl Iterator<Item = ObjectId>, WorkerError> {
    let people = batch.ctx.store.load_people(&batch.basis.connection, People::After(None, most)).await?;
    let is_there = |person: &MirroredPerson| matches!(person.user.profile, ProfileFacet::Present { .. });
    Ok(people.into_iter().filter(is_there).map(|person| person.user.id))
}

/// Both facets: that profiles are answered says nothing about memberships.
async fn is_answered(batch: Batch<'_>, user: ObjectId) -> Result<bool, WorkerError> {
    let facets = Facets { profile: true, membership: true, direct_too: batch.basis.direct_too() };
    unless_store(batch.reader.person(user, facets).await.map(drop))
}

async fn another_group(batch: Batch<'_>, suspects: &BTreeSet<ObjectId>) -> Result<bool, WorkerError> {
    let Some(other) = batch.basis.rules.groups().find(|group| !suspects.contains(group)) else {
        return Ok(false);
    };
    let _place = batch.reader.take_place().await?;
    unless_store(batch.reader.client.list_transitive_members(other, None).await.map(drop).map_err(WorkerError::from))
}

fn unless_store(asked: Result<(), WorkerError>) -> Result<bool, WorkerError> {
    match asked {
        Err(failure @ WorkerError::Store(_)) => Err(failure),
        asked => Ok(asked.is_ok()),
    }
}
