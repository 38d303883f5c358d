//! What is owed after a look at a due object: its row set anew or gone, its events settled, all in the transaction of
//! the decision.

use std::time::Instant;

use lockstep_core::mirror::{MirroredUser, ProfileFacet};
use lockstep_core::plan::{Step, WaitReason};
use lockstep_core::settle::{self, HintClaim};
use lockstep_core::timing::Timing;
use lockstep_core::{ErrorClass, ObjectId, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::{Due, DueClaim, DueReason, EventOutcome, EventStatus, NextLook, PersonOutcome, SettledDue};
use tracing::{info, warn};

use crate::basis::Basis;
use crate::context::Context;
use crate::error::WorkerError;
use crate::jobs::failing::spend_attempt;
use crate::settle_people::{Look, Occasion, Outcome, Settled, settle_people};

/// Decides, applies and settles these due people in one transaction.
pub(crate) async fn commit_people(
    ctx: &Context,
    basis: &Basis,
    client: &GraphClient,
    people: &[(Due, Look)],
    occasion: Occasion,
) -> Result<(), WorkerError> {
    let began = Instant::now();
    let looks: Vec<Look> = people.iter().map(|(_, look)| look.clone()).collect();
    let Settled { mut tx, outcomes, .. } = settle_people(&ctx.store, client, basis, &looks, occasion).await?;
    let now = ctx.store.now();
    let events: Vec<_> = people
        .iter()
        .zip(&outcomes)
        .map(|((due, look), outcome)| (due.object, look.ticket, event_outcome(outcome)))
        .collect();
    let settled: Vec<SettledDue<'_>> = people
        .iter()
        .zip(&outcomes)
        // The attempts of what is incomplete go on counting: creation is staged, but not for ever (BI-34).
        .filter(|(_, outcome)| !is_incomplete(outcome))
        .map(|((due, look), outcome)| SettledDue {
            due,
            next: next_look(due, outcome, now, &basis.timing),
            read_at: look.read_at,
        })
        .collect();
    tx.settle_many_due(&settled).await?;
    tx.settle_events(basis.connection.id, &events).await?;
    tracing::trace!(target: "lockstep::point", "due.before_commit");
    tx.commit().await?;
    tracing::trace!(target: "lockstep::point", "due.committed");
    metrics::histogram!("lockstep_apply_seconds").record(began.elapsed());
    metrics::counter!("lockstep_apply_people_total").increment(people.len() as u64);
    for ((due, _), outcome) in people.iter().zip(&outcomes) {
        report(due, outcome, ctx.store.now());
        if is_incomplete(outcome) {
            let class = ErrorClass::Transient { retry_after: None };
            spend_attempt(ctx, due, class, "incomplete: Graph does not say whether the account is enabled").await?;
        }
    }
    Ok(())
}

/// A device or the like was named: nothing of ours.
pub(crate) async fn forget_object(ctx: &Context, due: &Due, look: &Look) -> Result<(), WorkerError> {
    let nothing = EventOutcome { status: EventStatus::Applied, reason: Some("neither a user nor a group".to_owned()) };
    let mut tx = ctx.store.begin("forget_object").await?;
    tx.settle_due(due, None, look.read_at).await?;
    tx.settle_events(due.connection, &[(due.object, look.ticket, nothing)]).await?;
    Ok(tx.commit().await?)
}

/// Somebody in no mapped group was named: nothing is kept of them, but the replica that was asked may lag (FA-15).
pub(crate) async fn pass_by(ctx: &Context, due: &Due, look: &Look) -> Result<(), WorkerError> {
    let now = ctx.store.now();
    let contradicted = due.claim == Some(DueClaim::Added);
    let again = due.hinted_at.and_then(|at| settle::after_hint(at, contradicted, now, ctx.store.timing()));
    let next = again.map(|at| NextLook {
        at,
        reason: DueReason::Settle,
        read_profile: true,
        read_membership: true,
        settle_at: None,
    });
    let mut tx = ctx.store.begin("pass_by").await?;
    tx.settle_due(due, next, look.read_at).await?;
    tx.settle_events(due.connection, &[(due.object, look.ticket, EventOutcome::applied())]).await?;
    Ok(tx.commit().await?)
}

fn is_incomplete(outcome: &Outcome) -> bool {
    outcome.plan.wait.is_some_and(|wait| wait.reason == WaitReason::Incomplete)
}

fn event_outcome(outcome: &Outcome) -> EventOutcome {
    match outcome.result {
        PersonOutcome::Held => EventOutcome::held("kept back by the brake"),
        PersonOutcome::Waiting => EventOutcome::waiting(waiting_for(outcome)),
        PersonOutcome::Kept => EventOutcome {
            status: EventStatus::Applied,
            reason: Some("they stay: a hold that named them was rejected".to_owned()),
        },
        PersonOutcome::Applied | PersonOutcome::Unchanged => EventOutcome::applied(),
    }
}

fn waiting_for(outcome: &Outcome) -> &'static str {
    match outcome.plan.wait.map(|wait| wait.reason) {
        Some(WaitReason::ScopeAgree) => "a second membership read must agree before access is taken",
        Some(WaitReason::MissingAgree) => "a second read must confirm the deletion",
        Some(WaitReason::ReenableAgree) => "a second read must agree before access is given back",
        Some(WaitReason::KindAgree) => "a second read must agree before the record's kind changes",
        Some(WaitReason::Incomplete) => "Graph does not say everything about this account yet",
        Some(WaitReason::FirstSync) => "the first sync has not seen every mapped group yet",
        Some(WaitReason::NeedsBothFacets) | None => "it is read again",
    }
}

/// When this person is due again, and what to read then; `None`: nothing is owed.
fn next_look(due: &Due, outcome: &Outcome, now: Timestamp, timing: &Timing) -> Option<NextLook> {
    let both = |at, reason| NextLook { at, reason, read_profile: true, read_membership: true, settle_at: None };
    if outcome.person.merged.lost_and_differs {
        let of_first_sync = due.reason == DueReason::FirstSync;
        return Some(both(now, if of_first_sync { due.reason } else { DueReason::LostRead }));
    }
    let mut owed: Vec<NextLook> = Vec::new();
    if let Some(wait) = outcome.plan.wait {
        // Replicas that contradict each other about somebody are asked again when they had time to agree.
        let in_vain = wait.at <= now && is_another_look(due.reason);
        let soonest = if in_vain { now + timing.coalesce } else { now };
        let of_first_sync = in_vain && due.reason == DueReason::FirstSync;
        let reason = if of_first_sync { due.reason } else { wait.reason.into() };
        owed.push(both(wait.at.max(soonest), reason));
    }
    if let Some(at) = after_hint(due, &outcome.person.user, now, timing) {
        let (read_profile, read_membership) = (due.read_profile, due.read_membership);
        owed.push(NextLook { at, reason: DueReason::Settle, read_profile, read_membership, settle_at: None });
    }
    let gives = |step: &Step| matches!(step, Step::Reactivate { .. } | Step::ChangeKind(_));
    if outcome.result != PersonOutcome::Held && outcome.plan.steps.iter().any(gives) {
        owed.push(both(settle::after_reactivate(now, timing), DueReason::Recheck));
    }
    if let Some(at) = due.settle_at.filter(|at| *at > now) {
        owed.push(both(at, DueReason::Settle));
    }
    first_of(owed)
}

/// The last look asked for this one: it came to nothing if another one is wanted at once.
fn is_another_look(reason: DueReason) -> bool {
    match reason {
        DueReason::ScopeAgree
        | DueReason::MissingAgree
        | DueReason::ReenableAgree
        | DueReason::BothFacets
        | DueReason::Incomplete
        | DueReason::FirstSync
        | DueReason::LostRead => true,
        DueReason::Hint
        | DueReason::Settle
        | DueReason::Recheck
        | DueReason::NotListed
        | DueReason::Relist
        | DueReason::EnteredScope
        | DueReason::OnDemand
        | DueReason::Replay
        | DueReason::Rules => false,
    }
}

/// The earliest look, which also remembers the latest one; looks in between are found again from the hint's time.
fn first_of(mut owed: Vec<NextLook>) -> Option<NextLook> {
    owed.sort_by_key(|look| look.at);
    let last = owed.last().map(|look| look.at);
    let mut first = owed.into_iter().next()?;
    first.settle_at = last.filter(|at| *at > first.at);
    Some(first)
}

/// The settle reads of a hint (FA-15); an alarm when the last of them still says the opposite.
fn after_hint(due: &Due, user: &MirroredUser, now: Timestamp, timing: &Timing) -> Option<Timestamp> {
    let hinted_at = due.hinted_at?;
    let contradicted = due.claim.is_some_and(|claim| contradicts(claim, due.claim_group, user));
    let next = settle::after_hint(hinted_at, contradicted, now, timing);
    if contradicted && next.is_none() {
        warn!(user.id = %user.id, connection.id = %due.connection, "Graph still contradicts what it notified about {}", user.id);
        metrics::counter!("lockstep_hints_contradicted_total").increment(1);
    }
    next
}

/// A due row joins hints about several groups, so that "added" is judged by whether the person is in any; "removed" by
/// the group it was about, since whoever is in another one has not left that.
fn contradicts(claim: DueClaim, group: Option<ObjectId>, user: &MirroredUser) -> bool {
    match claim {
        DueClaim::Deleted => settle::contradicts(HintClaim::Deleted, user),
        DueClaim::Added => {
            let gone = matches!(user.profile, ProfileFacet::Missing { .. });
            !gone && !user.membership.edges.values().any(|edge| edge.present)
        }
        DueClaim::Removed => group.is_some_and(|group| settle::contradicts(HintClaim::MemberRemoved(group), user)),
        DueClaim::Changed => false,
    }
}

fn report(due: &Due, outcome: &Outcome, now: Timestamp) {
    metrics::counter!("lockstep_due_applied_total").increment(1);
    if let (DueReason::Hint, Some(hinted_at)) = (due.reason, due.hinted_at) {
        metrics::histogram!("lockstep_lag_seconds", "connection" => due.connection.to_string())
            .record(now.since(hinted_at).as_secs_f64());
    }
    if due.reason == DueReason::Settle {
        let result = if outcome.result == PersonOutcome::Applied { "changed" } else { "same" };
        metrics::counter!("lockstep_settle_reads_total", "result" => result).increment(1);
    }
    let user = due.object;
    match outcome.result {
        PersonOutcome::Applied => {
            info!(connection.id = %due.connection, user.id = %user, steps = outcome.plan.steps.len(), "Synced user {user}");
        }
        PersonOutcome::Held => {
            warn!(connection.id = %due.connection, user.id = %user, "Held user {user}: the brake's limit is reached");
        }
        PersonOutcome::Waiting | PersonOutcome::Unchanged | PersonOutcome::Kept => {}
    }
}
