//! Lockstep's decisions: who should have access, what must change, when to look again.
//!
//! Invariant: nothing here waits, reads a clock, draws a random number or talks to anybody; same input, same answer.
//! Start at [`desired::desired`] (the access a person should have, and why), then [`plan::plan`] (the steps to
//! get there) and [`brake::judge`] (which of them may be taken now). [`mirror`] holds what we know of a directory
//! user and how a fresh read changes it.

pub mod attribute;
pub mod brake;
pub mod by_hand;
pub mod desired;
pub mod error;
pub mod explain;
pub mod expression;
pub mod field;
pub mod hint;
pub mod id;
pub mod local_edit;
pub mod matching;
mod merge;
pub mod mirror;
pub mod origin;
pub mod plan;
pub mod preview;
pub mod profile;
pub mod record;
pub mod renewal;
pub mod retry;
pub mod review;
pub mod rule;
pub mod rules_file;
pub mod settings;
pub mod settle;
pub mod spans;
pub mod timestamp;
pub mod timing;
pub mod trial;
pub mod username;

pub use error::ErrorClass;
pub use id::{ConnectionId, EventId, HoldId, ObjectId, RecordId, ReviewId, SubscriptionId, TaskId, Ticket};
pub use timestamp::Timestamp;
