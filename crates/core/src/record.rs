//! The person's entry in Lockstep.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{ConnectionId, ObjectId, RecordId};
use crate::local_edit::LocalEdit;
use crate::timestamp::Timestamp;

/// What a record is in the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Works here.
    Employee,
    /// A client-portal user.
    Contact,
}

/// Whether the record gives access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In.
    Active,
    /// Out, for the record's reasons; comes back with its id.
    Inactive,
    /// Replaced by a record of another kind (M7).
    Archived,
}

/// Why a record is inactive. It is active exactly when it has none (semantics, leaving and coming back).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// `accountEnabled` is false.
    UpstreamDisabled,
    /// Deleted in Entra, soft or hard.
    UpstreamDeleted,
    /// No rule gives access.
    OutOfScope,
    /// A guest or a pending invitation where guests are out.
    Guest,
    /// Switched off by an admin here; the sync neither sets nor clears it.
    ByHand,
    /// Archived by a kind change.
    KindChanged,
}

impl Reason {
    /// The reasons that the sync may add and remove.
    pub const SYNCED: [Self; 4] = [Self::UpstreamDisabled, Self::UpstreamDeleted, Self::OutOfScope, Self::Guest];

    /// For people.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::UpstreamDisabled => "disabled in Microsoft",
            Self::UpstreamDeleted => "deleted in Microsoft",
            Self::OutOfScope => "no rule gives access",
            Self::Guest => "a guest, or an invitation not accepted",
            Self::ByHand => "switched off by hand here",
            Self::KindChanged => "replaced by a record of another kind",
        }
    }
}

/// A record as the decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Ours, stable for life.
    pub id: RecordId,
    /// The connection it is linked through; `None` for an imported record that nobody is linked to.
    pub connection: Option<ConnectionId>,
    /// The set of records a connection may link to and create in.
    pub realm: String,
    /// Employee or contact.
    pub kind: Kind,
    /// Follows from `reasons`, but for archived ones.
    pub status: Status,
    /// Why it is inactive.
    pub reasons: BTreeSet<Reason>,
    /// Given by the winning rule.
    pub role: Option<String>,
    /// Given by the winning rule.
    pub permissions: Vec<String>,
    /// As Entra spells it.
    pub email: Option<String>,
    /// Sign-in name in the application.
    pub username: Option<String>,
    /// For people.
    pub display_name: Option<String>,
    /// Mapped fields.
    pub fields: Map<String, Value>,
    /// Linked directory user.
    pub entra_id: Option<ObjectId>,
    /// Exempt from everything the directory says (G-24).
    pub root: bool,
    /// Linking it by e-mail needs an admin's yes (TH-09).
    pub privileged: bool,
    /// Other data refers to it (M8).
    pub in_use: bool,
    /// When access was last taken; `None` while active or never.
    pub inactive_since: Option<Timestamp>,
    /// Fields set here by hand that Entra has not overwritten, by name; `email`, `username` and `display_name` included (Y4).
    pub edits: BTreeMap<String, LocalEdit>,
    /// An admin took `by_hand` back: it goes with the next fresh read of both facets, which may give access back.
    pub by_hand_lifted: bool,
    /// The latest `signInSessionsValidFromDateTime` that was acted on; `None` before the first one seen (D5).
    pub sessions_valid_from: Option<Timestamp>,
}
