//! Whether a reason to be out is proven: only what was read by id takes access (G-09, G-10).

use std::collections::BTreeSet;

use crate::desired::{Desired, Outcome, Ruling};
use crate::mirror::{Agreements, CompleteRead, LossSeen, MirroredUser, ProfileFacet, Source};
use crate::plan::{Observed, Plan, PlanContext, WaitReason};
use crate::record::Reason;
use crate::rule::RuleSet;
use crate::timestamp::Timestamp;

/// The desired reasons, parted by their evidence.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Proven.
    pub confirmed: BTreeSet<Reason>,
    /// Not yet: the plan waits.
    pub pending: BTreeSet<Reason>,
}

/// What keeps a reason from being proven.
enum Lack {
    /// It was not read by id.
    ByIdRead,
    /// A second read must agree.
    Until(Timestamp, WaitReason),
}

/// Weighs every desired reason; waits and agreements go into the plan.
pub(super) fn weigh(plan: &mut Plan, observed: &Observed<'_>, rules: &RuleSet, cx: &PlanContext<'_>) -> Evidence {
    let user = observed.user;
    let mut evidence = Evidence::default();
    if !plan.desired.reasons.contains(&Reason::OutOfScope) {
        plan.agreements.loss = None;
    }
    for reason in plan.desired.reasons.clone() {
        let lack = match reason {
            Reason::UpstreamDisabled | Reason::Guest => read_by_id(&user.profile),
            Reason::UpstreamDeleted => deletion(&user.profile, cx),
            Reason::OutOfScope if observed.confirmed => confirmed_loss(&mut plan.agreements),
            Reason::OutOfScope => scope_loss(&mut plan.agreements, &plan.desired, user, rules, cx),
            // Never desired: an admin's, or of a kind change.
            Reason::ByHand | Reason::KindChanged => continue,
        };
        match lack {
            Ok(()) => {
                evidence.confirmed.insert(reason);
                continue;
            }
            Err(Lack::ByIdRead) => plan.needs_both_facets(user, cx),
            Err(Lack::Until(at, why)) => plan.look_again(at, why),
        }
        evidence.pending.insert(reason);
    }
    evidence
}

/// G-10 (a) and (d).
fn read_by_id(profile: &ProfileFacet) -> Result<(), Lack> {
    match profile {
        ProfileFacet::Present { source: Source::ById, .. } => Ok(()),
        ProfileFacet::Present { .. } | ProfileFacet::Missing { .. } | ProfileFacet::Unknown => Err(Lack::ByIdRead),
    }
}

/// G-10 (b): a 404 counts with the object in deleted items, or with a second one at least two minutes later.
fn deletion(profile: &ProfileFacet, cx: &PlanContext<'_>) -> Result<(), Lack> {
    let ProfileFacet::Missing { read_at, first_at, in_deleted_items, .. } = profile else {
        return Err(Lack::ByIdRead);
    };
    let agreed_at = *first_at + cx.timing.missing_agree;
    if *in_deleted_items || agreed_at <= *read_at {
        return Ok(());
    }
    Err(Lack::Until(agreed_at, WaitReason::MissingAgree))
}

/// G-10 (e): a confirmed plan, for exactly the people on it. It does not wait for reads to agree.
fn confirmed_loss(agreements: &mut Agreements) -> Result<(), Lack> {
    agreements.loss = None;
    Ok(())
}

/// G-10 (c): two complete by-id reads, `scope_agree` apart, under which no rule of these rules grants access.
fn scope_loss(
    agreements: &mut Agreements,
    desired: &Desired,
    user: &MirroredUser,
    rules: &RuleSet,
    cx: &PlanContext<'_>,
) -> Result<(), Lack> {
    let Some(complete) = complete_read_of_loss(desired, user, rules) else {
        // The latest complete read says otherwise: an earlier loss does not count towards the next one.
        agreements.loss = None;
        return Err(Lack::ByIdRead);
    };
    let seen = agreements.loss.filter(|loss| loss.rules_version == rules.version);
    let first = seen.unwrap_or(LossSeen { read_at: complete.read_at, rules_version: rules.version });
    agreements.loss = Some(first);
    let agreed_at = first.read_at + cx.timing.scope_agree;
    if agreed_at <= complete.read_at { Ok(()) } else { Err(Lack::Until(agreed_at, WaitReason::ScopeAgree)) }
}

/// The complete read, if it is what shows the loss: either no include rule applies, or it showed the person in an excluded
/// group itself. An exclusion that only a later listing shows proves nothing: a listing takes nothing.
fn complete_read_of_loss(desired: &Desired, user: &MirroredUser, rules: &RuleSet) -> Option<CompleteRead> {
    let complete = user.membership.complete?;
    let excludes = |ruling: &&Ruling| rules.lookup(ruling.group).is_some_and(|rule| rule.exclude);
    let excluded = desired.rulings.iter().filter(|ruling| ruling.outcome == Outcome::Excluded);
    let (excluding, beaten): (Vec<_>, Vec<_>) = excluded.partition(excludes);
    let edge = |ruling: &Ruling| user.membership.edges.get(&ruling.group);
    let by_read = |ruling: &Ruling| edge(ruling).is_some_and(|edge| edge.ticket <= complete.ticket);
    (beaten.is_empty() || excluding.into_iter().any(by_read)).then_some(complete)
}
