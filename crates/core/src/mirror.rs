//! What we know of a directory user: a profile facet and a membership facet. How a fresh read changes them is in
//! `merge.rs`.
//!
//! Tickets order the reads (G-08): a snapshot counts only if its read *began* after the read last applied to that facet
//! began. A membership has a ticket per edge and a floor per user, set by each complete by-id read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::{ObjectId, Ticket};
use crate::profile::Profile;
use crate::record::Kind;
use crate::timestamp::Timestamp;

/// How we came to know something. Only [`Source::ById`] may take access (G-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `GET /users/{id}` and complete membership reads by user id.
    ById,
    /// A page of a group's members: gives, never takes (G-09).
    Listing,
}

/// A directory user as mirrored.
#[derive(Clone, Debug, PartialEq)]
pub struct MirroredUser {
    /// Entra's id.
    pub id: ObjectId,
    /// Properties and existence.
    pub profile: ProfileFacet,
    /// Edges to mapped groups.
    pub membership: MembershipFacet,
    /// Agreements between reads that are under way.
    pub agreements: Agreements,
    /// Which facets the task at hand read by id; never stored.
    pub fresh: Fresh,
}

/// The profile facet.
#[derive(Clone, Debug, PartialEq)]
pub enum ProfileFacet {
    /// Never read.
    Unknown,
    /// Graph showed the user.
    Present {
        /// Order of the read.
        ticket: Ticket,
        /// When the read began.
        read_at: Timestamp,
        /// By id or from a listing.
        source: Source,
        /// What it said.
        profile: Arc<Profile>,
    },
    /// A by-id read answered 404.
    Missing {
        /// Order of the latest read.
        ticket: Ticket,
        /// When the latest read began.
        read_at: Timestamp,
        /// When the first of the unbroken row of 404s began.
        first_at: Timestamp,
        /// The object stands in deleted items: restorable, and a confirmed deletion.
        in_deleted_items: bool,
        /// The last profile seen, kept for 31 days.
        last: Option<Arc<Profile>>,
    },
}

/// The membership facet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MembershipFacet {
    /// By group: present and absent edges that we know of.
    pub edges: BTreeMap<ObjectId, Edge>,
    /// The latest complete by-id read; edges with an older ticket that it did not show are absent.
    pub complete: Option<CompleteRead>,
}

/// One edge from a user to a mapped group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Order of the read that set it.
    pub ticket: Ticket,
    /// In the group itself. `None`: that read did not tell direct from nested.
    pub direct: Option<bool>,
    /// In the group or in a group inside it. `false`: shown absent by a complete by-id read.
    pub present: bool,
}

/// A complete by-id membership read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompleteRead {
    /// The floor.
    pub ticket: Ticket,
    /// When it began.
    pub read_at: Timestamp,
}

/// Agreements between several reads (G-10): the state sits on the directory user and is given to the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreements {
    /// When the first complete membership read began under which no rule grants access, and the rules version then.
    pub loss: Option<LossSeen>,
    /// When the first pair of by-id reads began that would give access back.
    pub regain_at: Option<Timestamp>,
    /// The first pair of by-id reads under which the winning rule gives another kind of record (M7).
    pub kind: Option<KindSeen>,
}

/// The first of the reads that must agree on another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindSeen {
    /// The kind that the winning rule gave.
    pub kind: Kind,
    /// When the pair of by-id reads began.
    pub read_at: Timestamp,
    /// Rules it was judged by; other rules start anew.
    pub rules_version: i64,
}

/// The first of the two reads of `scope_agree`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossSeen {
    /// When that read began.
    pub read_at: Timestamp,
    /// Rules it was judged by; other rules start anew.
    pub rules_version: i64,
}

/// Which facets this task read by id just now: access is given back only when both (G-10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fresh {
    /// `GET /users/{id}`.
    pub profile: bool,
    /// A complete membership read by user id.
    pub membership: bool,
}

/// Everything one task read of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct PersonRead {
    /// Entra's id.
    pub user: ObjectId,
    /// The profile, if it was read.
    pub profile: Option<ProfileRead>,
    /// The membership, if it was read.
    pub membership: Option<MembershipRead>,
}

/// One read of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileRead {
    /// Drawn directly before the request.
    pub ticket: Ticket,
    /// When the request went out (store time).
    pub read_at: Timestamp,
    /// By id or from a listing.
    pub source: Source,
    /// What came back.
    pub found: ProfileFound,
}

/// What a profile read found.
#[derive(Clone, Debug, PartialEq)]
pub enum ProfileFound {
    /// 200.
    Present(Arc<Profile>),
    /// 404 by id.
    Missing {
        /// `GET /directory/deletedItems/{id}` answered 200.
        in_deleted_items: bool,
    },
}

/// One complete by-id read of a user's groups, or edges shown by a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct MembershipRead {
    /// Drawn directly before the (first) request.
    pub ticket: Ticket,
    /// When the first request went out (store time).
    pub read_at: Timestamp,
    /// `ById`: complete, what is not in `groups` is absent. `Listing`: these edges are present, nothing is absent.
    pub source: Source,
    /// Groups the user is in; the value tells direct membership, `None` when not known.
    pub groups: BTreeMap<ObjectId, Option<bool>>,
}

/// What became of a read when it met the mirror.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The profile facet changed or was confirmed by this read.
    pub profile_applied: bool,
    /// The membership facet changed or was confirmed by this read.
    pub membership_applied: bool,
    /// A read lost by its ticket, or a listing by its kind, and *differs* from the mirror: the object is due again (G-08).
    pub lost_and_differs: bool,
    /// The user was known as deleted and is there again: unless this task read the membership too, it must be read now
    /// (a soft-deleted user keeps memberships; deletion and restore raise no group event).
    pub returned: bool,
}

impl MirroredUser {
    /// A user of whom nothing is known yet.
    pub fn unknown(id: ObjectId) -> Self {
        Self {
            id,
            profile: ProfileFacet::Unknown,
            membership: MembershipFacet::default(),
            agreements: Agreements::default(),
            fresh: Fresh::default(),
        }
    }

    /// Whether a read of the profile must come with one of the membership: nothing is known of it, or the user was known
    /// as deleted. Ask before reading; [`Merged::returned`] tells of a deletion that came in between.
    pub fn needs_membership(&self) -> bool {
        matches!(self.profile, ProfileFacet::Missing { .. }) || !self.membership.is_known()
    }
}

impl MembershipFacet {
    /// Read at least once, by id or by a listing.
    pub fn is_known(&self) -> bool {
        self.complete.is_some() || !self.edges.is_empty()
    }

    /// In the group or in a group inside it.
    pub fn is_present(&self, group: ObjectId) -> bool {
        self.edges.get(&group).is_some_and(|edge| edge.present)
    }
}
