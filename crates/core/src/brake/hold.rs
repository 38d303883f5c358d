//! What a hold, and a person's answer to it, say of a removal that is proven again.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{CauseClass, Judgement};
use crate::id::ObjectId;
use crate::mirror::{MirroredUser, ProfileFacet};
use crate::record::Reason;
use crate::rule::RuleSet;
use crate::timestamp::Timestamp;

/// The hold that names a person, and how it was answered for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAs {
    /// A removal of another class is a new cause.
    pub class: CauseClass,
    /// The reasons that the hold showed.
    pub cause: BTreeSet<Reason>,
    /// What somebody said.
    pub answer: HoldAnswer,
}

/// What somebody said to a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldAnswer {
    /// Nothing yet.
    Awaited,
    /// Yes, at this time: what was read since decides.
    Approved(Timestamp),
    /// No, when they looked like this.
    Rejected(Standing),
}

/// What is asked about again when it changes: all that may make a person's yes or no another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// `accountEnabled`, where it is known.
    pub enabled: Option<bool>,
    /// Graph shows the user; `None`: never read.
    pub exists: Option<bool>,
    /// The groups in scope they are known to be in. Only those that rules name are compared: of the groups nested in them a
    /// listing tells nothing, so that a later read by id shows some that are not new.
    pub groups: BTreeSet<ObjectId>,
    /// The version of the rules in force.
    pub rules_version: i64,
    /// What they were, as [`RuleSet::fingerprint`] tells; `None`: answered before that was kept.
    #[serde(default)]
    pub rules: Option<String>,
}

impl Standing {
    /// As the mirror shows this person, under these rules.
    pub fn of(user: &MirroredUser, rules: &RuleSet) -> Self {
        let (enabled, exists) = match &user.profile {
            ProfileFacet::Unknown => (None, None),
            ProfileFacet::Present { profile, .. } => (profile.account_enabled, Some(true)),
            ProfileFacet::Missing { .. } => (None, Some(false)),
        };
        let present = user.membership.edges.iter().filter(|(_, edge)| edge.present);
        let groups = present.map(|(group, _)| *group).collect();
        Self { enabled, exists, groups, rules_version: rules.version, rules: Some(rules.fingerprint()) }
    }

    /// Nothing changed since `before` that may make an answer another one.
    fn is_same_under(&self, rules: &RuleSet, before: &Self) -> bool {
        let facts = |standing: &Self| (standing.enabled, standing.exists);
        let mut mapped = rules.groups();
        facts(self) == facts(before)
            && self.has_rules_of(before)
            && mapped.all(|group| self.groups.contains(&group) == before.groups.contains(&group))
    }

    /// Rules that are put in force once more as they were have not changed, nor do they by another setting beside them.
    fn has_rules_of(&self, before: &Self) -> bool {
        self.rules_version == before.rules_version || (before.rules.is_some() && self.rules == before.rules)
    }

    /// Disabled or deleted since `before`.
    fn is_revoked_since(&self, before: &Self) -> bool {
        let disabled = self.enabled == Some(false) && before.enabled != Some(false);
        let deleted = self.exists == Some(false) && before.exists != Some(false);
        disabled || deleted
    }
}

/// The limit that a hold names when it asks once more about somebody who was to stay.
pub const ASKED_AGAIN: &str = "was to stay, and has changed since: asked again";

impl HeldAs {
    /// The answer to a removal for these reasons, which is proven now; `None`: the brake judges it like anybody's. `exempt`:
    /// a confirmed rule plan names the person.
    pub fn judgement(
        &self,
        user: &MirroredUser,
        reasons: &BTreeSet<Reason>,
        rules: &RuleSet,
        exempt: bool,
    ) -> Option<Judgement> {
        let class = CauseClass::of(reasons);
        match &self.answer {
            _ if exempt => Some(Judgement::Approved),
            HoldAnswer::Awaited if class == self.class => Some(Judgement::Stay),
            HoldAnswer::Approved(at) if class == self.class || !self.cause.is_disjoint(reasons) => {
                Some(if is_read_since(user, *at) { Judgement::Approved } else { Judgement::Stay })
            }
            // A new cause.
            HoldAnswer::Awaited | HoldAnswer::Approved(_) => None,
            HoldAnswer::Rejected(before) => after_no(before, &Standing::of(user, rules), rules, class),
        }
    }
}

fn after_no(before: &Standing, now: &Standing, rules: &RuleSet, class: CauseClass) -> Option<Judgement> {
    if class == CauseClass::Revoked && now.is_revoked_since(before) {
        return None;
    }
    let same = now.is_same_under(rules, before);
    Some(if same { Judgement::Keep } else { Judgement::Hold { limit: ASKED_AGAIN.to_owned() } })
}

/// Held people are read again when they are approved, never decided from memory (G-19). Of a deleted user there is no
/// membership to read.
fn is_read_since(user: &MirroredUser, at: Timestamp) -> bool {
    let profile = user.profile.read_at().is_some_and(|read_at| read_at >= at);
    let deleted = matches!(user.profile, ProfileFacet::Missing { .. });
    profile && (deleted || user.membership.complete.is_some_and(|complete| complete.read_at >= at))
}
