//! A record that is linked: access taken on evidence, given back on fresh reads of both facets, kept in line meanwhile.

use std::collections::BTreeSet;

use crate::desired::Unknown;
use crate::mirror::{MirroredUser, ProfileFacet};
use crate::plan::evidence::{self, Evidence};
use crate::plan::{Observed, Plan, PlanContext, Step, WaitReason, attributes, kind_change};
use crate::record::{Reason, Record, Status};
use crate::rule::RuleSet;
use crate::timestamp::Timestamp;

/// Steps for a live record linked to this directory user.
pub(super) fn bring_in_line(
    plan: &mut Plan,
    observed: &Observed<'_>,
    record: &Record,
    rules: &RuleSet,
    cx: &PlanContext<'_>,
) {
    let user = observed.user;
    note_sessions(plan, user, record);
    match plan.desired.unknown {
        Some(Unknown::Profile) => return plan.needs_both_facets(user, cx),
        Some(Unknown::AccountEnabled) => return plan.await_complete_profile(user, cx),
        // What is proven about the user alone takes access even so (G-16); the rest waits for the membership.
        Some(Unknown::Membership) => plan.needs_both_facets(user, cx),
        None => {}
    }
    let evidence = evidence::weigh(plan, observed, rules, cx);
    if record.status == Status::Active {
        plan.agreements.regain_at = None;
        take(plan, record, &evidence);
    }
    let kind_fits = set_access(plan, record);
    if let Some(profile) = user.profile.present() {
        attributes::update(plan, profile, record, observed, cx);
    }
    let gives_way = kind_change::follow(plan, observed, rules, cx);
    if record.status == Status::Inactive && !gives_way {
        out_or_back(plan, user, record, &evidence, kind_fits, cx);
    }
}

/// Sessions revoked in Microsoft counts only when the instant moves forward (D5); nothing else of the evidence matters.
fn note_sessions(plan: &mut Plan, user: &MirroredUser, record: &Record) {
    let Some(valid_from) = user.profile.present().and_then(|profile| profile.sessions_valid_from) else { return };
    if record.sessions_valid_from.is_none_or(|seen| seen < valid_from) {
        let end = record.sessions_valid_from.is_some() && record.status == Status::Active;
        plan.steps.push(Step::NoteSessions { valid_from, end });
    }
}

/// One proven reason is enough; the others follow when they are proven.
fn take(plan: &mut Plan, record: &Record, evidence: &Evidence) {
    let reasons: BTreeSet<Reason> = evidence.confirmed.difference(&record.reasons).copied().collect();
    if !reasons.is_empty() {
        plan.steps.push(Step::Deactivate { reasons });
    }
}

/// Role and permissions follow the winning rule (M6). A record of another kind keeps its own until it is replaced (M7).
fn set_access(plan: &mut Plan, record: &Record) -> bool {
    let Some(grant) = &plan.desired.grant else {
        return true;
    };
    if grant.kind != record.kind {
        return false;
    }
    if grant.role != record.role || grant.permissions != record.permissions {
        let (role, permissions) = (grant.role.clone(), grant.permissions.clone());
        plan.steps.push(Step::SetAccess { role, permissions });
    }
    true
}

/// An inactive record: its reasons are amended, or access comes back when none is left.
fn out_or_back(
    plan: &mut Plan,
    user: &MirroredUser,
    record: &Record,
    evidence: &Evidence,
    kind_fits: bool,
    cx: &PlanContext<'_>,
) {
    let wanted_out = !plan.desired.reasons.is_empty();
    if wanted_out {
        plan.agreements.regain_at = None;
    }
    let mut gone = outlived(plan, user, record);
    let add: BTreeSet<Reason> = evidence.confirmed.difference(&record.reasons).copied().collect();
    let comes_back = !wanted_out && !gone.is_empty() && record.reasons.is_subset(&gone);
    let fresh = user.fresh.profile && user.fresh.membership;
    if !gone.is_empty() && !fresh {
        ask_for_both(plan, user, comes_back, cx);
        gone.clear();
    } else if comes_back {
        if kind_fits {
            give_back(plan, user, record, gone, cx);
        }
        return;
    } else if record.reasons.is_subset(&gone) && add.is_empty() {
        // The last proven reason stays until the next one is proven: never active in between.
        gone.clear();
    }
    if !add.is_empty() || !gone.is_empty() {
        plan.steps.push(Step::AmendReasons { add, remove: gone });
    }
}

/// The sync's own reasons that hold no longer, and `by_hand` once an admin took it back. Of a deleted user nothing else can
/// be said.
fn outlived(plan: &Plan, user: &MirroredUser, record: &Record) -> BTreeSet<Reason> {
    if plan.desired.unknown.is_some() || !matches!(user.profile, ProfileFacet::Present { .. }) {
        return BTreeSet::new();
    }
    let lifted = record.by_hand_lifted.then_some(Reason::ByHand);
    let own = Reason::SYNCED.into_iter().chain(lifted).filter(|reason| record.reasons.contains(reason));
    own.filter(|reason| !plan.desired.reasons.contains(reason)).collect()
}

/// Reading at once is of no use before the second read of an agreement is due.
fn ask_for_both(plan: &mut Plan, user: &MirroredUser, comes_back: bool, cx: &PlanContext<'_>) {
    let agree_at = plan.agreements.regain_at.map(|first| first + cx.timing.reenable_agree);
    match agree_at.filter(|at| comes_back && *at > cx.now) {
        Some(at) => plan.look_again(at, WaitReason::ReenableAgree),
        None => plan.needs_both_facets(user, cx),
    }
}

/// Whoever lost access a short while ago needs two reads that agree (`reenable_agree`): the first may be a stale replica's.
fn give_back(plan: &mut Plan, user: &MirroredUser, record: &Record, reasons: BTreeSet<Reason>, cx: &PlanContext<'_>) {
    let recent = record.inactive_since.is_some_and(|since| cx.now.since(since) < cx.timing.reenable_recent);
    let Some(read_at) = both_read_at(user) else {
        return plan.needs_both_facets(user, cx);
    };
    let first = plan.agreements.regain_at.unwrap_or(read_at);
    let agreed_at = first + cx.timing.reenable_agree;
    if recent && read_at < agreed_at {
        plan.agreements.regain_at = Some(first);
        return plan.look_again(agreed_at, WaitReason::ReenableAgree);
    }
    plan.agreements.regain_at = None;
    plan.steps.push(Step::Reactivate { reasons });
}

/// When the pair of by-id reads began.
fn both_read_at(user: &MirroredUser) -> Option<Timestamp> {
    let complete = user.membership.complete?;
    user.profile.read_at().map(|profile| profile.min(complete.read_at))
}
