//! What there is to look at: one row per object, however many hints named it.
//!
//! The reason a row is due is for the log and for timing, never for what is decided.

pub(crate) mod claim;
pub(crate) mod mark;
pub(crate) mod settle;

use lockstep_core::plan::WaitReason;
use lockstep_core::{ConnectionId, ObjectId, Timestamp};
use uuid::Uuid;

use crate::error::StoreError;
use crate::sql::Row;

pub(crate) const COLUMNS: &str = "connection_id, object_id, object_kind, due_at, settle_at, hinted_at, claim,
    claim_group, urgent, read_profile, read_membership, reason, version, attempts, last_read_at, lease_owner, lease_until";

/// An object to look at, leased to this worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The connection whose token reads it.
    pub connection: ConnectionId,
    /// Entra's id.
    pub object: ObjectId,
    /// What it is.
    pub kind: DueKind,
    /// The profile is wanted.
    pub read_profile: bool,
    /// The membership is wanted; of a group: its listing.
    pub read_membership: bool,
    /// Why, for the log and for timing.
    pub reason: DueReason,
    /// The strongest claim among the hints.
    pub claim: Option<DueClaim>,
    /// The mapped or nested group that *added* or *removed* is about; of several the last.
    pub claim_group: Option<ObjectId>,
    /// When the latest hint came: settles count from it.
    pub hinted_at: Option<Timestamp>,
    /// A later look that is owed as well.
    pub settle_at: Option<Timestamp>,
    /// Raised by every hint.
    pub version: i64,
    /// Tries, this one included.
    pub attempts: u32,
    /// Since when it is due.
    pub due_at: Timestamp,
    /// Somebody waits for it: a notification told of it, or a person asked. What is not urgent is background.
    pub urgent: bool,
}

/// What a due object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueKind {
    /// A user.
    User,
    /// A group: its listing is compared.
    Group,
    /// Named as a member; Graph must tell what it is.
    Unknown,
}

/// What a hint claimed, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DueClaim {
    /// Something changed.
    Changed,
    /// Became a member.
    Added,
    /// Is no member any more.
    Removed,
    /// Permanently deleted.
    Deleted,
}

/// Why an object is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DueReason {
    /// A hint named it.
    Hint,
    /// Graph's replicas lag: the re-read after a hint.
    Settle,
    /// The second read of `scope_agree`.
    ScopeAgree,
    /// The second 404 of G-10 (b).
    MissingAgree,
    /// The second read of `reenable_agree`.
    ReenableAgree,
    /// The re-read after access was given back.
    Recheck,
    /// Both facets must be read by id in one task.
    BothFacets,
    /// `accountEnabled` was missing (BI-34).
    Incomplete,
    /// Waits for the first sync (TH-09), or was asked for by it: a listing is no evidence.
    FirstSync,
    /// A read lost by its ticket and differed (G-08).
    LostRead,
    /// A listing did not show it: read by id (G-09).
    NotListed,
    /// A listing is compared again later.
    Relist,
    /// Came into scope.
    EnteredScope,
    /// Somebody asked.
    OnDemand,
    /// An event is replayed, or runs again after it failed.
    Replay,
    /// The rules changed.
    Rules,
}

impl DueKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Unknown => "unknown",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::User, Self::Group, Self::Unknown].into_iter().find(|kind| kind.as_str() == word)
    }
}

impl DueClaim {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Deleted => "deleted",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Changed, Self::Added, Self::Removed, Self::Deleted].into_iter().find(|claim| claim.as_str() == word)
    }
}

impl DueReason {
    const ALL: [Self; 16] = [
        Self::Hint,
        Self::Settle,
        Self::ScopeAgree,
        Self::MissingAgree,
        Self::ReenableAgree,
        Self::Recheck,
        Self::BothFacets,
        Self::Incomplete,
        Self::FirstSync,
        Self::LostRead,
        Self::NotListed,
        Self::Relist,
        Self::EnteredScope,
        Self::OnDemand,
        Self::Replay,
        Self::Rules,
    ];

    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Settle => "settle",
            Self::ScopeAgree => "scope_agree",
            Self::MissingAgree => "missing_agree",
            Self::ReenableAgree => "reenable_agree",
            Self::Recheck => "recheck",
            Self::BothFacets => "both_facets",
            Self::Incomplete => "incomplete",
            Self::FirstSync => "first_sync",
            Self::LostRead => "lost_read",
            Self::NotListed => "not_listed",
            Self::Relist => "relist",
            Self::EnteredScope => "entered_scope",
            Self::OnDemand => "on_demand",
            Self::Replay => "replay",
            Self::Rules => "rules",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

impl From<WaitReason> for DueReason {
    fn from(wait: WaitReason) -> Self {
        match wait {
            WaitReason::NeedsBothFacets => Self::BothFacets,
            WaitReason::ScopeAgree => Self::ScopeAgree,
            WaitReason::MissingAgree => Self::MissingAgree,
            // One waiting time; a due row tells an older version nothing new (G-29).
            WaitReason::ReenableAgree | WaitReason::KindAgree => Self::ReenableAgree,
            WaitReason::Incomplete => Self::Incomplete,
            WaitReason::FirstSync => Self::FirstSync,
        }
    }
}

pub(crate) fn due_from(row: &Row) -> Result<Due, StoreError> {
    const T: &str = "due";
    let claim = match row.get::<Option<String>>("claim")? {
        Some(word) => Some(DueClaim::parse(&word).ok_or_else(|| row.impossible(T, "claim"))?),
        None => None,
    };
    Ok(Due {
        connection: ConnectionId(row.get("connection_id")?),
        object: ObjectId(row.get("object_id")?),
        kind: row.word(T, "object_kind", DueKind::parse)?,
        read_profile: row.get("read_profile")?,
        read_membership: row.get("read_membership")?,
        reason: row.word(T, "reason", DueReason::parse)?,
        claim,
        claim_group: row.get::<Option<Uuid>>("claim_group")?.map(ObjectId),
        hinted_at: row.maybe_at("hinted_at")?,
        settle_at: row.maybe_at("settle_at")?,
        version: row.get("version")?,
        attempts: row.small("attempts")?,
        due_at: row.at("due_at")?,
        urgent: row.get("urgent")?,
    })
}
