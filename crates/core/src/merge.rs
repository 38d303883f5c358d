//! How a fresh read changes the mirror (G-08).
//!
//! Reads may arrive in any order. A read by id with the newest ticket always ends on top; what an older one said
//! differently is reported, so that the object is read again.

use std::sync::Arc;

use serde_json::Value;

use crate::id::{ObjectId, Ticket};
use crate::mirror::{
    CompleteRead, Edge, MembershipFacet, MembershipRead, Merged, MirroredUser, PersonRead, ProfileFacet, ProfileFound,
    ProfileRead, Source,
};
use crate::profile::Profile;
use crate::timestamp::Timestamp;

impl MirroredUser {
    /// Takes what one task read. Merging the same read twice changes nothing the second time.
    pub fn merge(&mut self, read: &PersonRead) -> Merged {
        let mut merged = Merged::default();
        if let Some(profile) = &read.profile {
            merge_profile(self, profile, &mut merged);
        }
        if let Some(membership) = &read.membership {
            merge_membership(self, membership, &mut merged);
        }
        merged
    }
}

fn merge_profile(user: &mut MirroredUser, read: &ProfileRead, merged: &mut Merged) {
    let newer = user.profile.ticket().is_none_or(|ticket| read.ticket > ticket);
    match (&read.found, read.source) {
        (ProfileFound::Present(profile), Source::ById) if newer => {
            merged.returned = matches!(user.profile, ProfileFacet::Missing { .. });
            user.profile = present(read, profile.clone());
        }
        (ProfileFound::Present(profile), Source::Listing) if newer => {
            return refresh(user, read, profile, merged);
        }
        (ProfileFound::Missing { in_deleted_items }, Source::ById) if newer => {
            user.profile = missing(&user.profile, read, *in_deleted_items);
        }
        _ => return lose(&mut user.profile, read, merged),
    }
    merged.profile_applied = true;
    user.fresh.profile = true;
}

fn present(read: &ProfileRead, profile: Arc<Profile>) -> ProfileFacet {
    ProfileFacet::Present { ticket: read.ticket, read_at: read.read_at, source: read.source, profile }
}

/// The row of 404s goes on from its first one; the last profile is kept with it.
fn missing(before: &ProfileFacet, read: &ProfileRead, in_deleted_items: bool) -> ProfileFacet {
    let (first_at, last) = match before {
        ProfileFacet::Missing { first_at, last, .. } => (*first_at, last.clone()),
        ProfileFacet::Present { profile, .. } => (read.read_at, Some(profile.clone())),
        ProfileFacet::Unknown => (read.read_at, None),
    };
    ProfileFacet::Missing { ticket: read.ticket, read_at: read.read_at, first_at, in_deleted_items, last }
}

/// A listing refreshes fields. Over a read by id it neither gives back nor takes access: where it says something else
/// about that, nothing of it is taken and the object is read by id.
fn refresh(user: &mut MirroredUser, read: &ProfileRead, listed: &Arc<Profile>, merged: &mut Merged) {
    match &mut user.profile {
        ProfileFacet::Unknown => user.profile = present(read, Arc::clone(listed)),
        ProfileFacet::Missing { .. } => {
            merged.lost_and_differs = true;
            return;
        }
        ProfileFacet::Present { source: Source::ById, profile, .. } if says_otherwise(listed, profile) => {
            merged.lost_and_differs = true;
            return;
        }
        ProfileFacet::Present { ticket, read_at, profile, .. } => {
            (*ticket, *read_at) = (read.ticket, read.read_at);
            // Most people are as they were: their profile stays the one that is shared with the mirror.
            if !says_nothing_new(listed, profile) {
                overlay(Arc::make_mut(profile), listed);
            }
        }
    }
    merged.profile_applied = true;
}

/// What a listing does not mention it says nothing about: the last value stays.
fn overlay(profile: &mut Profile, listed: &Profile) {
    let names = |property: &str| listed.properties.contains_key(property);
    if listed.account_enabled.is_some() || names("accountEnabled") {
        profile.account_enabled = listed.account_enabled;
    }
    if listed.user_type.is_some() || names("userType") {
        profile.user_type = listed.user_type;
    }
    if listed.invitation.is_some() || names("externalUserState") {
        profile.invitation = listed.invitation;
    }
    if listed.sessions_valid_from.is_some() {
        profile.sessions_valid_from = listed.sessions_valid_from;
    }
    profile.dropped.retain(|property| !names(property));
    profile.dropped.extend(listed.dropped.iter().cloned());
    profile.properties.retain(|property, _| !listed.dropped.contains(property));
    for (name, value) in &listed.properties {
        if profile.properties.get(name) != Some(value) {
            profile.properties.insert(name.clone(), value.clone());
        }
    }
}

/// [`overlay`] would leave everything as it is.
fn says_nothing_new(listed: &Profile, known: &Profile) -> bool {
    if std::ptr::eq(listed, known) {
        return true;
    }
    let sessions = listed.sessions_valid_from.is_none() || listed.sessions_valid_from == known.sessions_valid_from;
    let kept = listed.properties.iter().all(|(name, value)| known.properties.get(name) == Some(value));
    let dropped = listed.dropped.is_subset(&known.dropped)
        && !known.dropped.iter().any(|name| listed.properties.contains_key(name))
        && !listed.dropped.iter().any(|name| known.properties.contains_key(name));
    sessions && kept && dropped && !says_otherwise(listed, known)
}

/// Whether a read states something else about access than is known.
fn says_otherwise(read: &Profile, known: &Profile) -> bool {
    let names = |property: &str| read.properties.contains_key(property);
    let enabled =
        (read.account_enabled.is_some() || names("accountEnabled")) && read.account_enabled != known.account_enabled;
    let user_type = (read.user_type.is_some() || names("userType")) && read.user_type != known.user_type;
    let invitation = (read.invitation.is_some() || names("externalUserState")) && read.invitation != known.invitation;
    enabled || user_type || invitation
}

fn differs(read: &Profile, known: &Profile) -> bool {
    let other = |(name, value): (&String, &Value)| known.properties.get(name).is_some_and(|known| known != value);
    says_otherwise(read, known) || read.properties.iter().any(other)
}

/// A read that came too late changes nothing. But if it showed the user after the first 404 of an unbroken row, then
/// the row was broken, and the second 404 of G-10 (b) is counted from the latest.
fn lose(facet: &mut ProfileFacet, read: &ProfileRead, merged: &mut Merged) {
    let same_read = facet.ticket() == Some(read.ticket);
    merged.lost_and_differs |= !same_read
        && match (&*facet, &read.found) {
            (ProfileFacet::Present { profile, .. }, ProfileFound::Present(late)) => differs(late, profile),
            (ProfileFacet::Missing { .. }, ProfileFound::Missing { .. }) | (ProfileFacet::Unknown, _) => false,
            _ => true,
        };
    if let (ProfileFacet::Missing { read_at, first_at, .. }, ProfileFound::Present(_)) = (facet, &read.found)
        && !same_read
        && read.source == Source::ById
        && read.read_at >= *first_at
    {
        *first_at = *read_at;
    }
}

fn merge_membership(user: &mut MirroredUser, read: &MembershipRead, merged: &mut Merged) {
    let floor = user.membership.complete.map(|floor| floor.ticket);
    match read.source {
        Source::ById if floor == Some(read.ticket) => {}
        Source::ById if floor > Some(read.ticket) => {
            merged.lost_and_differs |= arrive_late(&mut user.membership, read);
        }
        Source::ById => {
            merged.lost_and_differs |= complete(&mut user.membership, read);
            user.fresh.membership = true;
            merged.membership_applied = true;
        }
        Source::Listing => {
            for (group, direct) in &read.groups {
                match list(&mut user.membership, *group, *direct, read.ticket) {
                    Listed::Taken => merged.membership_applied = true,
                    Listed::Known => {}
                    Listed::Contradicted => merged.lost_and_differs = true,
                }
            }
        }
    }
}

/// A complete read below the floor. Groups that only it shows are kept as edges that were taken, as if it had come in
/// time: either order of arrival leaves the same. Says whether it differs.
fn arrive_late(membership: &mut MembershipFacet, read: &MembershipRead) -> bool {
    let present = |(group, edge): (&ObjectId, &Edge)| edge.present.then_some(*group);
    let differs = !read.groups.keys().copied().eq(membership.edges.iter().filter_map(present));
    for group in read.groups.keys() {
        if let Some(floor) = membership.complete {
            membership.edges.entry(*group).or_insert(taken_by(floor));
        }
    }
    differs
}

fn taken_by(floor: CompleteRead) -> Edge {
    Edge { ticket: floor.ticket, direct: None, present: false }
}

/// Sets the floor: what this read shows is so, what it does not show is not, but for edges that a listing which began
/// later has shown. Says whether one of those differs.
fn complete(membership: &mut MembershipFacet, read: &MembershipRead) -> bool {
    let mut contradicted = false;
    for (group, edge) in &mut membership.edges {
        let shown = read.groups.get(group);
        if edge.ticket < read.ticket {
            *edge = Edge { ticket: read.ticket, direct: shown.copied().flatten(), present: shown.is_some() };
        } else {
            contradicted |= shown.is_none();
            edge.direct = shown.copied().flatten();
        }
    }
    for (group, direct) in &read.groups {
        let edge = Edge { ticket: read.ticket, direct: *direct, present: true };
        membership.edges.entry(*group).or_insert(edge);
    }
    membership.complete = Some(CompleteRead { ticket: read.ticket, read_at: read.read_at });
    contradicted
}

enum Listed {
    Taken,
    Known,
    Contradicted,
}

/// A listing gives an edge and never takes one. Direct or nested is told by the newest complete read; a listing only
/// fills in what no complete read told.
fn list(membership: &mut MembershipFacet, group: ObjectId, direct: Option<bool>, ticket: Ticket) -> Listed {
    if let Some(edge) = membership.edges.get_mut(&group) {
        return match edge {
            Edge { present: false, .. } if ticket <= edge.ticket => Listed::Contradicted,
            Edge { present: false, .. } => {
                *edge = Edge { ticket, direct, present: true };
                Listed::Taken
            }
            Edge { .. } => {
                edge.direct = edge.direct.or(direct);
                let newer = ticket > edge.ticket;
                edge.ticket = edge.ticket.max(ticket);
                if newer { Listed::Taken } else { Listed::Known }
            }
        };
    }
    match membership.complete.filter(|floor| floor.ticket >= ticket) {
        // As if the complete read had found the edge and taken it: either order of arrival leaves the same.
        Some(floor) => {
            membership.edges.insert(group, taken_by(floor));
            Listed::Contradicted
        }
        None => {
            membership.edges.insert(group, Edge { ticket, direct, present: true });
            Listed::Taken
        }
    }
}

impl ProfileFacet {
    /// Order of the read last applied.
    pub fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Unknown => None,
            Self::Present { ticket, .. } | Self::Missing { ticket, .. } => Some(*ticket),
        }
    }

    /// When the read last applied began.
    pub fn read_at(&self) -> Option<Timestamp> {
        match self {
            Self::Unknown => None,
            Self::Present { read_at, .. } | Self::Missing { read_at, .. } => Some(*read_at),
        }
    }

    /// The profile, if Graph shows the user.
    pub fn present(&self) -> Option<&Profile> {
        match self {
            Self::Present { profile, .. } => Some(profile),
            Self::Unknown | Self::Missing { .. } => None,
        }
    }
}
