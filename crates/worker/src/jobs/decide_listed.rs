//! Decides people by a listing. It may give access for the first time, it takes none: whoever needs better evidence is
//! made due for reads by id.

use lockstep_core::plan::WaitReason;
use lockstep_core::{ObjectId, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::{DueReason, MarkDue};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::compare_group::mark;
use crate::read::stamp;
use crate::settle_people::{Look, Occasion, Outcome, Settled, settle_people};

/// People decided in one transaction: a third of what a page of Graph holds at most. Nobody waits long behind it, and what is
/// held of them at a time is little.
pub(crate) const PAGE: usize = 333;

/// From what the mirror holds after a listing: everything but the commit.
pub(crate) async fn decide_listed(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    people: &[ObjectId],
    occasion: Occasion,
) -> Result<Settled, WorkerError> {
    decide(ctx, client, basis, &remembered(ctx, people).await?, occasion).await
}

/// What the mirror holds of these people, as of now.
pub(crate) async fn remembered(ctx: &Context, people: &[ObjectId]) -> Result<Vec<Look>, WorkerError> {
    let place = stamp(&ctx.store).await?;
    Ok(people.iter().map(|user| Look::remembered(*user, place)).collect())
}

/// From what a page shows, or the mirror holds: everything but the commit.
pub(crate) async fn decide(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    looks: &[Look],
    occasion: Occasion,
) -> Result<Settled, WorkerError> {
    let mut settled = settle_people(&ctx.store, client, basis, looks, occasion).await?;
    let now = ctx.store.now();
    let marks: Vec<MarkDue> = settled.outcomes.iter().filter_map(|outcome| next_look(outcome, occasion, now)).collect();
    settled.tx.mark_due(basis.connection.id, &marks).await?;
    Ok(settled)
}

/// The look by id that somebody waits for.
pub(crate) fn waiting(outcome: &Outcome, now: Timestamp) -> Option<MarkDue> {
    let wait = outcome.plan.wait?;
    let urgent = !outcome.plan.desired.reasons.is_empty();
    Some(mark(outcome.person.user.id, wait.reason.into(), urgent, wait.at.max(now)))
}

/// Where a listing says something else than a read by id, nothing of it was taken: a new read by id tells (G-08).
fn next_look(outcome: &Outcome, occasion: Occasion, now: Timestamp) -> Option<MarkDue> {
    if outcome.person.merged.lost_and_differs {
        return Some(mark(outcome.person.user.id, DueReason::LostRead, true, now));
    }
    // The first sync itself comes back to whoever waits for it to have seen every group.
    let by_itself = |outcome: &Outcome| outcome.plan.wait.is_some_and(|wait| wait.reason == WaitReason::FirstSync);
    waiting(outcome, now).filter(|_| !(occasion.first_sync && by_itself(outcome))).map(|mark| of(occasion, mark))
}

/// A look that the first sync asks for, since a listing is no evidence, is part of the first sync.
fn of(occasion: Occasion, mark: MarkDue) -> MarkDue {
    let asked = occasion.first_sync && mark.reason == DueReason::BothFacets;
    MarkDue { reason: if asked { DueReason::FirstSync } else { mark.reason }, ..mark }
}
