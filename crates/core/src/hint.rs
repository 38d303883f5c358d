//! What Microsoft said, reduced: ids and facts, never attributes (G-07). The body of every queue message.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::ErrorClass;
use crate::id::{ConnectionId, ObjectId, SubscriptionId};
use crate::timestamp::Timestamp;

/// The only message version there is. A worker parks versions it does not know (FA-27).
pub const VERSION: u8 = 1;

/// A group hint names at most this many members; with more, the group's listing is compared instead.
pub const MAX_MEMBERS: usize = 100;

/// Items of one message: the public endpoint takes no more in one POST (guarantees §1).
pub const MAX_ITEMS: usize = 1000;

/// Bytes of one message. Whatever came in a POST of at most 1 MiB fits: each hint is shorter than the item it is made of.
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// Everything authentic in one POST: one queue message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HintMessage {
    /// [`VERSION`].
    #[serde(rename = "v")]
    pub version: u8,
    /// Ours; with the item's place it makes taking the same message twice one event.
    pub id: Uuid,
    /// The connection that path token, subscription and tenant id all named (G-22).
    #[serde(rename = "c")]
    pub connection: ConnectionId,
    /// When the receiver took it.
    #[serde(rename = "at")]
    pub received_at: Timestamp,
    /// In the order of the POST.
    #[serde(rename = "i")]
    pub items: Vec<Hint>,
}

/// One authentic notification item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hint {
    /// Our id of the subscription it came by.
    #[serde(rename = "s")]
    pub subscription: SubscriptionId,
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
}

/// What a hint asks us to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "k", rename_all = "snake_case")]
pub enum Subject {
    /// Look at this user.
    User {
        /// Entra's id.
        #[serde(rename = "o")]
        id: ObjectId,
        /// What the notification claims happened.
        #[serde(rename = "d")]
        claim: Claim,
    },
    /// Look at this group, or at the members it names.
    Group {
        /// Entra's id.
        #[serde(rename = "o")]
        id: ObjectId,
        /// What the notification claims happened.
        #[serde(rename = "d")]
        claim: Claim,
        /// Members named by `members@delta`, at most [`MAX_MEMBERS`].
        #[serde(rename = "m", default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<MemberHint>,
        /// More were named than are kept, or some could not be read: compare the listing.
        #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
    },
    /// A lifecycle notification.
    Lifecycle {
        /// Which.
        #[serde(rename = "e")]
        event: LifecycleEvent,
    },
    /// Authentic, but not understood: the connection needs a delta run (G-04).
    Unclear,
}

/// What a hint claims; never acted on without a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// Created, changed, soft-deleted or restored: Graph says `updated` for all of them `[SUB26]`.
    Changed,
    /// Permanently deleted.
    Deleted,
}

/// A member named by a group hint. It may be a user, a group or a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberHint {
    /// Entra's id.
    #[serde(rename = "o")]
    pub id: ObjectId,
    /// `@removed` was there, as text or as object.
    #[serde(rename = "r", default, skip_serializing_if = "std::ops::Not::not")]
    pub removed: bool,
}

/// `lifecycleEvent` `[LIFE]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LifecycleEvent {
    /// Renew now.
    ReauthorizationRequired,
    /// Recreate, then catch up.
    SubscriptionRemoved,
    /// Catch up.
    Missed,
    /// One we do not know: check subscriptions and catch up (BI-21).
    Unknown,
}

/// The message as bytes for the queue.
pub fn encode(message: &HintMessage) -> Vec<u8> {
    serde_json::to_vec(message).expect("ids, numbers and closed enums always have a JSON form")
}

/// Reads a message from the queue.
///
/// # Errors
/// [`UndecodableHint`]: the message is parked as it is (BI-45).
pub fn decode(bytes: &[u8]) -> Result<HintMessage, UndecodableHint> {
    if bytes.len() > MAX_MESSAGE {
        return Err(UndecodableHint::TooBig { bytes: bytes.len() });
    }
    let Envelope { version } = serde_json::from_slice(bytes).map_err(|_| UndecodableHint::Garbage)?;
    if version != u64::from(VERSION) {
        return Err(UndecodableHint::UnknownVersion { version });
    }
    let message: HintMessage = serde_json::from_slice(bytes).map_err(|_| UndecodableHint::Garbage)?;
    if message.items.len() > MAX_ITEMS || message.items.iter().any(|hint| hint.subject.members() > MAX_MEMBERS) {
        return Err(UndecodableHint::Garbage);
    }
    Ok(message)
}

/// Read first, so that a newer version is told from garbage whatever else changed.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "v")]
    version: u64,
}

impl Subject {
    fn members(&self) -> usize {
        match self {
            Self::Group { members, .. } => members.len(),
            Self::User { .. } | Self::Lifecycle { .. } | Self::Unclear => 0,
        }
    }
}

/// A queue message that this program cannot read. It says nothing of the content (G-27).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndecodableHint {
    /// Written by another version: taken up again after the upgrade (FA-27).
    #[error(
        "reading a queue message: version {version} is not known here; it is parked, upgrade Lockstep and replay it"
    )]
    UnknownVersion {
        /// The version it names.
        version: u64,
    },
    /// Not a message of ours, or one beyond our own bounds.
    #[error("reading a queue message: it is not one of Lockstep's; it is parked, and its connection caught up")]
    Garbage,
    /// Longer than any message of ours.
    #[error("reading a queue message: {bytes} bytes are more than Lockstep ever writes; it is parked")]
    TooBig {
        /// Its length.
        bytes: usize,
    },
}

impl UndecodableHint {
    /// Reading it again changes nothing: the message is parked.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::UnknownVersion { .. } | Self::Garbage | Self::TooBig { .. } => ErrorClass::Permanent,
        }
    }
}
