//! What comes out of a queue.

use lockstep_core::Timestamp;
use lockstep_core::hint::{HintMessage, UndecodableHint};

/// A message leased to the caller.
pub struct Taken {
    /// Names the message in [`crate::Queue::ack`]; never used for another message of the same queue.
    pub tag: i64,
    /// The message, or why it cannot be read. An unreadable one arrives alone, not instead of its neighbours (BI-45).
    pub body: Result<HintMessage, Undecodable>,
}

/// A message that this version cannot read; to be parked (BI-45, FA-27). No `Debug`: the bytes are not ours.
pub struct Undecodable {
    /// As they were in the queue.
    pub bytes: Vec<u8>,
    /// What is wrong with them.
    pub why: UndecodableHint,
}

/// How much waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Messages published and not yet acknowledged.
    pub messages: u64,
    /// When the receiver took the oldest of them; `None` if there is none or it cannot be read.
    pub oldest: Option<Timestamp>,
}
