//! A person without a record: created, linked by address, or put to somebody as a question (M3, TH-09).

use std::collections::BTreeSet;

use crate::desired::{Grant, Unknown};
use crate::id::{ObjectId, RecordId};
use crate::matching::{Likeness, Match, MatchContext, find_match};
use crate::mirror::{Agreements, MirroredUser, ProfileFacet, Source};
use crate::plan::{NewRecord, Observed, Plan, PlanContext, Step, WaitReason, attributes};
use crate::profile::Profile;
use crate::record::Reason;
use crate::review::{Answer, Choice, Doubt, NewReview, ReviewKind, latest};
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
    let way = way_in(find_match(profile, observed.candidates, &match_context(observed, cx)), observed.answers);
    if plan.desired.reasons.is_empty() {
        return take_way(plan, observed, profile, &grant, way, cx);
    }
    // Nobody keeps access that Microsoft took away: a disabled person's own record is linked, and then deactivated.
    if plan.desired.reasons != BTreeSet::from([Reason::UpstreamDisabled]) || matches!(way, Way::Create(_)) {
        return;
    }
    match source {
        Source::ById => take_way(plan, observed, profile, &grant, way, cx),
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

pub(super) fn match_context<'a>(observed: &Observed<'a>, cx: &PlanContext<'a>) -> MatchContext<'a> {
    MatchContext {
        realm: cx.realm,
        verified_domains: cx.verified_domains,
        first_sync_done: cx.first_sync_done,
        address_owners: observed.address_owners,
        answers: observed.answers,
    }
}

/// How a person comes in, with the answer that says so.
enum Way<'a> {
    Create(Option<&'a Answer>),
    Link(RecordId, Option<&'a Answer>),
    Rehire(RecordId, ObjectId, &'a Answer),
    /// Not at all: an admin said so.
    Apart(&'a Answer),
    Ask(Likeness),
    AskAddress(String),
    FirstSync,
}

/// An answer counts as long as its question stands, and overrules what was shown with it; without one only what leaves no
/// doubt is linked.
fn way_in(matched: Match, answers: &[Answer]) -> Way<'_> {
    let like = match matched {
        Match::Create => return Way::Create(None),
        Match::AskAddress(address) => return Way::AskAddress(address),
        Match::FirstSync => return Way::FirstSync,
        Match::Like(like) => like,
    };
    let answer = latest(answers, ReviewKind::Link).filter(|answer| answer.is_to(&like.about, &like.candidates));
    match answer.map(|answer| (answer.choice, answer)) {
        Some((Choice::KeepApart, answer)) => return Way::Apart(answer),
        Some((Choice::Create, answer)) => return Way::Create(Some(answer)),
        Some((Choice::Link | Choice::Rehire, answer)) if !answer.applied && answer.overrules(&like.doubts) => {
            if let Some(way) = chosen(answer, &like) {
                return way;
            }
        }
        _ => {}
    }
    match (like.doubts.is_empty(), like.free.first()) {
        (true, Some(record)) => Way::Link(*record, None),
        _ => Way::Ask(like),
    }
}

/// The record that was chosen, if it is still to be had.
fn chosen<'a>(answer: &'a Answer, like: &Likeness) -> Option<Way<'a>> {
    let record = answer.record?;
    match answer.choice {
        Choice::Link => like.free.contains(&record).then_some(Way::Link(record, Some(answer))),
        _ => {
            let (_, from) = like.former.iter().find(|(former, _)| *former == record)?;
            Some(Way::Rehire(record, *from, answer))
        }
    }
}

fn take_way(
    plan: &mut Plan,
    observed: &Observed<'_>,
    profile: &Profile,
    grant: &Grant,
    way: Way<'_>,
    cx: &PlanContext<'_>,
) {
    match way {
        Way::Create(answer) => {
            answer.into_iter().for_each(|answer| plan.follow(answer));
            let attributes = attributes::initial(plan, profile, grant.kind, observed, cx);
            plan.steps.push(Step::Create(NewRecord {
                kind: grant.kind,
                role: grant.role.clone(),
                permissions: grant.permissions.clone(),
                attributes,
                sessions_valid_from: profile.sessions_valid_from,
            }));
        }
        Way::Link(record, answer) => {
            answer.into_iter().for_each(|answer| plan.follow(answer));
            plan.steps.push(Step::Link { record });
            // Superseded by the second plan of the same transaction; without one, the rest must not be forgotten.
            plan.look_again(cx.now, WaitReason::NeedsBothFacets);
        }
        Way::Rehire(record, from, answer) => {
            plan.follow(answer);
            plan.steps.push(Step::Rehire { record, from });
            plan.look_again(cx.now, WaitReason::NeedsBothFacets);
        }
        Way::Apart(answer) => plan.follow(answer),
        Way::Ask(like) => plan.reviews.push(question(like)),
        Way::AskAddress(address) => plan.ask_address = Some(address),
        Way::FirstSync => plan.look_again(cx.now + cx.timing.settle, WaitReason::FirstSync),
    }
}

/// What an admin really can choose depends on the records.
fn question(like: Likeness) -> NewReview {
    let offered = [
        (!like.free.is_empty(), Choice::Link),
        (!like.former.is_empty(), Choice::Rehire),
        (true, Choice::Create),
        (true, Choice::KeepApart),
    ];
    let mut why: Vec<&str> = like.doubts.iter().copied().map(Doubt::words).collect();
    if like.same_employee_id {
        why.push("for it speaks that the employee id is the same");
    }
    NewReview {
        kind: ReviewKind::Link,
        about: Some(like.about),
        candidates: like.candidates,
        why: why.join("; "),
        doubts: like.doubts,
        choices: offered.into_iter().filter_map(|(holds, choice)| holds.then_some(choice)).collect(),
    }
}
