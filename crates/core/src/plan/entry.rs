//! A person without a record: created, linked by address, or put to somebody as a question (M3, TH-09).

use std::collections::BTreeSet;

use crate::desired::{Grant, Unknown};
use crate::matching::{Match, MatchContext, find_match};
use crate::mirror::{Agreements, MirroredUser, ProfileFacet, Source};
use crate::plan::{NewRecord, Observed, Plan, PlanContext, Step, WaitReason, attributes};
use crate::profile::Profile;
use crate::record::Reason;
use crate::review::{NewReview, ReviewKind};
use crate::rule::RuleSet;
use crate::timestamp::Timestamp;

/// Steps for a directory user that no live record is linked to.
pub(super) fn enter(plan: &mut Plan, observed: &Observed<'_>, rules: &RuleSet, cx: &PlanContext<'_>) {
    let user = observed.user;
    // Agreements are about a record's access; without one there is nothing to agree on.
    plan.agreements = Agreements::default();
    match plan.desired.unknown {
        Some(Unknown::Profile | Unknown::Membership) => return plan.needs_both_facets(user, cx),
        Some(Unknown::AccountEnabled) => return plan.await_complete_profile(user, cx),
        None => {}
    }
    // A handler of a removal creates nothing: without a grant, or deleted, there is nobody to enter.
    let (Some(grant), ProfileFacet::Present { profile, source, .. }) = (plan.desired.grant.clone(), &user.profile)
    else {
        return;
    };
    if is_outdated(user, cx) || may_be_excluded(user, rules) {
        return plan.needs_both_facets(user, cx);
    }
    let matched = find_match(profile, observed.candidates, &match_context(observed, cx));
    if plan.desired.reasons.is_empty() {
        return settle_match(plan, observed, profile, &grant, matched, cx);
    }
    // Nobody keeps access that Microsoft took away: a disabled person's own record is linked, and then deactivated.
    if plan.desired.reasons != BTreeSet::from([Reason::UpstreamDisabled]) || matched == Match::Create {
        return;
    }
    match source {
        Source::ById => settle_match(plan, observed, profile, &grant, matched, cx),
        Source::Listing => plan.needs_both_facets(user, cx),
    }
}

/// What a listing showed a while ago gives nobody access now: an outage may lie in between (G-08). Only a listing of
/// every group that has gone on without a break since then may be older: it must have seen all before anybody is matched.
fn is_outdated(user: &MirroredUser, cx: &PlanContext<'_>) -> bool {
    let fresh = user.fresh.profile && user.fresh.membership;
    let recent =
        |at: Timestamp| cx.now.since(at) <= cx.timing.work_timeout || cx.listing_since.is_some_and(|since| at >= since);
    !fresh && !user.profile.read_at().is_some_and(recent)
}

/// A listing of one group does not say who is excluded by another one, and two listings show two instants: where a rule
/// excludes people, only a read of all memberships at once gives somebody access.
fn may_be_excluded(user: &MirroredUser, rules: &RuleSet) -> bool {
    !user.fresh.membership && rules.rules().iter().any(|rule| rule.exclude)
}

fn match_context<'a>(observed: &Observed<'a>, cx: &PlanContext<'a>) -> MatchContext<'a> {
    MatchContext {
        realm: cx.realm,
        verified_domains: cx.verified_domains,
        first_sync_done: cx.first_sync_done,
        address_owners: observed.address_owners,
    }
}

fn settle_match(
    plan: &mut Plan,
    observed: &Observed<'_>,
    profile: &Profile,
    grant: &Grant,
    matched: Match,
    cx: &PlanContext<'_>,
) {
    match matched {
        Match::Create => {
            let attributes = attributes::initial(plan, profile, grant.kind, observed.candidates, cx);
            plan.steps.push(Step::Create(NewRecord {
                kind: grant.kind,
                role: grant.role.clone(),
                permissions: grant.permissions.clone(),
                attributes,
            }));
        }
        Match::Link(record) => {
            plan.steps.push(Step::Link { record });
            // Superseded by the second plan of the same transaction; without one, the rest must not be forgotten.
            plan.look_again(cx.now, WaitReason::NeedsBothFacets);
        }
        Match::Review { candidates, why } => plan.reviews.push(NewReview {
            kind: ReviewKind::Link,
            candidates,
            why: why.to_owned(),
            choices: vec!["link".to_owned(), "keep_apart".to_owned()],
        }),
        Match::AskAddress(address) => plan.ask_address = Some(address),
        Match::FirstSync => plan.look_again(cx.now + cx.timing.settle, WaitReason::FirstSync),
    }
}
