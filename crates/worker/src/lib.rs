//! The side that works: takes hints from the queue, reads Graph, asks `core`, and commits what follows.
//!
//! [`start`] runs the loops; the other functions are what the commands need of the same parts. Every way of a change
//! (hint, settle, retry, full sync, on demand) ends in `settle_people`, so that the rare path is the tested one.
//! Jobs are one file each under `jobs/`.
//!
//! Invariant: nothing is decided here and no SQL is written here. Access never changes on the content of a hint, on an
//! error or on an absence: only `core` decides, only on what was read by id. No transaction is open while Graph is
//! asked.

mod ahead;
mod answers;
mod basis;
mod check;
mod clients;
mod config;
mod context;
mod credential_watch;
mod due;
mod error;
mod heartbeat;
mod jobs;
mod leading;
mod listing;
mod preview;
mod pulse;
mod read;
mod rule_sets;
mod running;
mod scheduler;
mod settle_people;
mod supervise;
mod taking;
mod tasks;
mod trouble;

pub use check::{Checked, check_connection};
pub use clients::{connect, graph_client};
pub use config::{GraphSettings, Roles, WorkerConfig};
pub use error::WorkerError;
pub use jobs::subscriptions::Renewed;
pub use jobs::subscriptions::by_command::{Removed, dismiss_subscriptions, remove_connection, renew_subscriptions_now};
pub use preview::{Bucket, PlannedPerson, RulePlan, SamplePerson, preview_rules};
pub use pulse::Pulse;
pub use running::{RunningWorker, start};
