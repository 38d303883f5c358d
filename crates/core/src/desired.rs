//! The access a person should have, and why (M1, M2, M6, M10, Y7, D1, D2).

use std::collections::BTreeSet;

use crate::id::ObjectId;
use crate::mirror::{MembershipFacet, MirroredUser, ProfileFacet};
use crate::profile::Profile;
use crate::record::{Kind, Reason};
use crate::rule::{Rule, RuleSet};

/// The answer for one person under one set of rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// What the winning rule gives; `None` when no include rule wins. Stands beside `reasons`: a disabled person may
    /// still have a winning rule.
    pub grant: Option<Grant>,
    /// Why the person should be out; empty means in. Evidence is judged by the plan, not here.
    pub reasons: BTreeSet<Reason>,
    /// Facts that must be read before anything can be said.
    pub unknown: Option<Unknown>,
    /// Every rule with its outcome, in order: what `record explain` shows.
    pub rulings: Vec<Ruling>,
}

/// What the winning rule gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// The winning rule's group.
    pub group: ObjectId,
    /// Kind of record.
    pub kind: Kind,
    /// Role.
    pub role: Option<String>,
    /// Module permissions.
    pub permissions: Vec<String>,
}

/// What is missing for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The profile was never read: no decision (G-08, "a missing facet means no decision").
    Profile,
    /// The membership was never read, neither by id nor by a listing.
    Membership,
    /// `accountEnabled` is absent, null or not a boolean (BI-34).
    AccountEnabled,
}

/// One rule's outcome for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The rule's group.
    pub group: ObjectId,
    /// The rule's order.
    pub order: i64,
    /// What came of it.
    pub outcome: Outcome,
    /// In plain words: what broke the tie, which rule excluded.
    pub why: String,
}

/// What came of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// This rule decides.
    Won,
    /// The person is in the group, but another rule won.
    Lost,
    /// The person is not in the group.
    NotMember,
    /// An exclude rule that applies, or an include rule beaten by one.
    Excluded,
}

/// What a connection says about access besides its rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecisionSettings {
    /// Guests may be in (Y7).
    pub guests: bool,
}

/// The access this person should have under these rules, and why. Looks at no mapped attribute (G-11).
pub fn desired(user: &MirroredUser, rules: &RuleSet, settings: &DecisionSettings) -> Desired {
    let verdict = rule_on(&user.membership, rules);
    let mut reasons = profile_reasons(&user.profile, *settings);
    let unknown = unknown_profile(&user.profile).or(match user.profile {
        // Graph shows no membership of a deleted user, and none is needed to say that they are out.
        ProfileFacet::Missing { .. } => None,
        _ if !user.membership.is_known() || verdict.undecided => Some(Unknown::Membership),
        _ => None,
    });
    let judged = matches!(user.profile, ProfileFacet::Present { .. }) && unknown != Some(Unknown::Membership);
    if judged && verdict.grant.is_none() {
        reasons.insert(Reason::OutOfScope);
    }
    let grant = verdict.grant.filter(|_| !verdict.undecided).map(grant_of);
    Desired { grant, reasons, unknown, rulings: verdict.rulings }
}

fn grant_of(rule: &Rule) -> Grant {
    Grant { group: rule.group, kind: rule.kind, role: rule.role.clone(), permissions: rule.permissions.clone() }
}

fn unknown_profile(profile: &ProfileFacet) -> Option<Unknown> {
    match profile {
        ProfileFacet::Unknown => Some(Unknown::Profile),
        ProfileFacet::Present { profile, .. } if profile.account_enabled.is_none() => Some(Unknown::AccountEnabled),
        ProfileFacet::Present { .. } | ProfileFacet::Missing { .. } => None,
    }
}

/// Reasons that lie in the user alone.
fn profile_reasons(profile: &ProfileFacet, settings: DecisionSettings) -> BTreeSet<Reason> {
    let profile = match profile {
        ProfileFacet::Unknown => return BTreeSet::new(),
        ProfileFacet::Missing { .. } => return BTreeSet::from([Reason::UpstreamDeleted]),
        ProfileFacet::Present { profile, .. } => profile,
    };
    let disabled = profile.account_enabled == Some(false);
    let reasons = [(disabled, Reason::UpstreamDisabled), (is_guest_out(profile, settings), Reason::Guest)];
    reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
}

/// A pending invitation is never in, even where guests are.
fn is_guest_out(profile: &Profile, settings: DecisionSettings) -> bool {
    profile.is_pending() || (profile.is_guest() && !settings.guests)
}

struct RuleVerdict<'a> {
    grant: Option<&'a Rule>,
    /// A rule whose outcome hangs on something not read would decide.
    undecided: bool,
    rulings: Vec<Ruling>,
}

/// Exclude beats every include; else the first include rule in the total order wins (M2, M6).
fn rule_on<'a>(membership: &MembershipFacet, rules: &'a RuleSet) -> RuleVerdict<'a> {
    let standings: Vec<_> = rules.rules().iter().map(|rule| (rule, standing(membership, rule))).collect();
    let excluding =
        standings.iter().find(|(rule, stands)| rule.exclude && *stands == Standing::In).map(|(rule, _)| *rule);
    let winner =
        standings.iter().find(|(rule, stands)| !rule.exclude && *stands == Standing::In).map(|(rule, _)| *rule);
    let undecided = excluding.is_none()
        && standings
            .iter()
            .take_while(|(rule, _)| rule.exclude || Some(rule.group) != winner.map(|winner| winner.group))
            .chain(standings.iter().filter(|(rule, _)| rule.exclude))
            .any(|(_, stands)| *stands == Standing::Unclear);
    let grant = winner.filter(|_| excluding.is_none());
    let rulings = standings.iter().map(|(rule, stands)| ruling(rule, *stands, grant, excluding)).collect();
    RuleVerdict { grant, undecided, rulings }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    In,
    InsideOnly,
    Out,
    /// In, but the read did not tell direct from nested, and the rule wants direct members.
    Unclear,
}

fn standing(membership: &MembershipFacet, rule: &Rule) -> Standing {
    match membership.edges.get(&rule.group).filter(|edge| edge.present) {
        None => Standing::Out,
        Some(edge) if rule.nested || edge.direct == Some(true) => Standing::In,
        Some(edge) if edge.direct == Some(false) => Standing::InsideOnly,
        Some(_) => Standing::Unclear,
    }
}

fn ruling(rule: &Rule, standing: Standing, grant: Option<&Rule>, excluding: Option<&Rule>) -> Ruling {
    let (outcome, why) = match (standing, excluding) {
        (Standing::Out, _) => (Outcome::NotMember, "not a member".to_owned()),
        (Standing::InsideOnly, _) => {
            (Outcome::NotMember, "a member of a group inside only, and the rule counts direct members".to_owned())
        }
        (Standing::Unclear, _) => (Outcome::NotMember, "not yet read whether the membership is direct".to_owned()),
        (Standing::In, _) if rule.exclude => (Outcome::Excluded, "excludes its members".to_owned()),
        (Standing::In, Some(by)) => (Outcome::Excluded, format!("excluded by the rule for group {}", by.group)),
        (Standing::In, None) => against(rule, grant),
    };
    Ruling { group: rule.group, order: rule.order, outcome, why }
}

/// What decided between a rule that applies and the winner.
fn against(rule: &Rule, grant: Option<&Rule>) -> (Outcome, String) {
    let Some(winner) = grant.filter(|winner| winner.group != rule.group) else {
        return (Outcome::Won, "first rule in order that applies".to_owned());
    };
    let why = if winner.order < rule.order {
        format!("order {} comes before {}", winner.order, rule.order)
    } else if winner.group_created_at != rule.group_created_at {
        format!("same order; group {} is older", winner.group)
    } else {
        format!("same order and age; group {} has the smaller id", winner.group)
    };
    (Outcome::Lost, why)
}
