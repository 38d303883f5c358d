//! The requirements once more, as plainly as they can be said and without a line of the code under test: what the
//! properties compare with.

use std::collections::BTreeSet;

use lockstep_core::mirror::{MembershipRead, ProfileFound, ProfileRead, Source};
use lockstep_core::profile::{Invitation, Profile, UserType};
use lockstep_core::record::Reason;
use lockstep_core::rule::Rule;
use lockstep_core::{ObjectId, Timestamp};

/// The include rule that no other one beats, unless an exclude rule applies (M1, M2).
pub fn winner(rules: &[Rule], member_of: &BTreeSet<ObjectId>) -> Option<ObjectId> {
    let applies = |rule: &&Rule| member_of.contains(&rule.group);
    if rules.iter().filter(applies).any(|rule| rule.exclude) {
        return None;
    }
    let rank = |rule: &Rule| (rule.order, rule.group_created_at.map_or(i64::MAX, Timestamp::micros), rule.group);
    rules.iter().filter(applies).min_by_key(|rule| rank(rule)).map(|rule| rule.group)
}

/// Is this profile somebody who may be in (D2, Y7)?
pub fn may_be_in(profile: &Profile, guests: bool) -> bool {
    let pending = profile.invitation == Some(Invitation::Pending);
    let guest = profile.user_type == Some(UserType::Guest) || profile.invitation == Some(Invitation::Accepted);
    profile.account_enabled == Some(true) && !pending && (guests || !guest)
}

/// Every read by id that was applied, in the order of application.
#[derive(Default)]
pub struct Evidence {
    pub profiles: Vec<ProfileRead>,
    pub memberships: Vec<MembershipRead>,
}

impl Evidence {
    /// G-10, sentence by sentence: is there proof for this reason?
    pub fn proves(&self, reason: Reason, rules: &[Rule], guests: bool) -> bool {
        let latest = self.profiles.last().map(|read| &read.found);
        match (reason, latest) {
            (Reason::UpstreamDisabled, Some(ProfileFound::Present(profile))) => profile.account_enabled == Some(false),
            (Reason::Guest, Some(ProfileFound::Present(profile))) => {
                let enabled = Profile { account_enabled: Some(true), ..(**profile).clone() };
                !may_be_in(&enabled, guests)
            }
            (Reason::UpstreamDeleted, Some(ProfileFound::Missing { in_deleted_items })) => {
                *in_deleted_items || apart(&self.row_of_404s(), 120)
            }
            (Reason::OutOfScope, _) => apart(&self.row_without_grant(rules), 10),
            _ => false,
        }
    }

    fn row_of_404s(&self) -> Vec<Timestamp> {
        let missing = |read: &&ProfileRead| matches!(read.found, ProfileFound::Missing { .. });
        self.profiles.iter().rev().take_while(missing).map(|read| read.read_at).collect()
    }

    fn row_without_grant(&self, rules: &[Rule]) -> Vec<Timestamp> {
        let without = |read: &&MembershipRead| winner(rules, &read.groups.keys().copied().collect()).is_none();
        self.memberships.iter().rev().take_while(without).map(|read| read.read_at).collect()
    }

    pub fn note(&mut self, profile: Option<&ProfileRead>, membership: Option<&MembershipRead>) {
        self.profiles.extend(profile.filter(|read| read.source == Source::ById).cloned());
        self.memberships.extend(membership.filter(|read| read.source == Source::ById).cloned());
    }
}

/// Newest first: do two of them lie this far apart?
fn apart(times: &[Timestamp], seconds: i64) -> bool {
    match (times.first(), times.last()) {
        (Some(newest), Some(oldest)) => newest.micros() - oldest.micros() >= seconds * 1_000_000,
        _ => false,
    }
}
