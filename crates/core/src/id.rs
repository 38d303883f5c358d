//! Identifiers, one type each, so that none can stand in for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! own_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_guid(text).map(Self)
            }
        }
    };
}

own_id!(
    /// One Entra tenant that Lockstep is connected to (UUIDv7, ours).
    ConnectionId
);
own_id!(
    /// A person's entry in Lockstep (UUIDv7, ours); never an id from the directory.
    RecordId
);
own_id!(
    /// One notification item or on-demand request as Lockstep keeps it (UUIDv7, ours).
    EventId
);
own_id!(
    /// Changes kept back by the brake until a person decides (UUIDv7, ours).
    HoldId
);
own_id!(
    /// A question only a person can answer (UUIDv7, ours).
    ReviewId
);
own_id!(
    /// A subscription as we keep it (UUIDv7, ours); Graph's own id stands beside it.
    SubscriptionId
);
own_id!(
    /// A piece of longer work with a checkpoint (UUIDv7, ours).
    TaskId
);
own_id!(
    /// An object id or tenant id given out by Entra.
    ObjectId
);

/// The order in which reads of Graph began (G-08): drawn from the store directly before each HTTP attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub i64);

/// The text is not a GUID in the 8-4-4-4-12 form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
pub struct BadId;

/// Only the hyphenated form counts, in either case (BI-23): braces, spaces and the compact form are refused, so that
/// one object has one spelling.
fn parse_guid(text: &str) -> Result<Uuid, BadId> {
    if text.len() != uuid::fmt::Hyphenated::LENGTH {
        return Err(BadId);
    }
    Uuid::try_parse(text).map_err(|_| BadId)
}
