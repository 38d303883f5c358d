//! Decides people from what the mirror holds after a listing. It may give access for the first time, it takes none:
//! whoever needs better evidence is made due for reads by id.

use lockstep_core::{ObjectId, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::{DueReason, MarkDue};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::compare_group::mark;
use crate::read::stamp;
use crate::settle_people::{Look, Occasion, Outcome, Settled, settle_people};

/// People decided in one transaction.
pub(crate) const PAGE: usize = 500;

/// Everything but the commit.
pub(crate) async fn decide_listed(
    ctx: &Context,
    client: &GraphClient,
    basis: &Basis,
    people: &[ObjectId],
    occasion: Occasion,
) -> Result<Settled, WorkerError> {
    let place = stamp(&ctx.store).await?;
    let looks: Vec<Look> = people.iter().map(|user| Look::remembered(*user, place)).collect();
    let mut settled = settle_people(&ctx.store, client, basis, &looks, occasion).await?;
    let now = ctx.store.now();
    let marks: Vec<MarkDue> =
        settled.outcomes.iter().filter_map(|outcome| waiting(outcome, now)).map(|mark| of(occasion, mark)).collect();
    settled.tx.mark_due(basis.connection.id, &marks).await?;
    Ok(settled)
}

/// The look by id that somebody waits for.
pub(crate) fn waiting(outcome: &Outcome, now: Timestamp) -> Option<MarkDue> {
    let wait = outcome.plan.wait?;
    let urgent = !outcome.plan.desired.reasons.is_empty();
    Some(mark(outcome.person.user.id, wait.reason.into(), urgent, wait.at.max(now)))
}

/// A look that the first sync asks for, since a listing is no evidence, is part of the first sync.
fn of(occasion: Occasion, mark: MarkDue) -> MarkDue {
    let asked = occasion.first_sync && mark.reason == DueReason::BothFacets;
    MarkDue { reason: if asked { DueReason::FirstSync } else { mark.reason }, ..mark }
}
