//! Everything Lockstep knows and owes, in one database: all SQL lives here.
//!
//! Start at [`Store::open`] and [`Store::begin`]. The way of a change through it: [`Store::take_hints`] →
//! [`Store::claim_due`] → [`Tx::mirror`] → (the core decides) → [`Tx::apply`] → [`Tx::settle_due`], [`Tx::settle_events`].
//!
//! Invariant: nothing here decides what a person should have, talks to Graph, or shows a secret; a secret leaves only as a
//! `secrecy` type, and no error names a person.

mod apply;
mod audit;
mod brake;
mod by_hand;
mod clock;
mod connection;
mod db;
mod delta;
mod due;
mod endpoint;
mod error;
mod event;
mod figures;
mod hold;
pub mod import;
mod installation;
mod key_file;
mod lease;
mod live_worker;
mod measure;
mod mirror;
mod record;
mod replay;
mod review;
mod rule;
mod rule_plan;
mod secret;
mod session;
mod sql;
mod subscription;
mod sweep;
mod taking;
mod task;
pub mod view;

pub use apply::{Applied, Decided, PersonOutcome, Trigger};
pub use audit::chain::{AuditHash, NotAHash};
pub use audit::seal::{AuditHead, SealLook, Sealed};
pub use audit::verify::{AuditBreak, AuditCheck, AuditFault};
pub use brake::BrakeState;
pub use by_hand::mark::RootMade;
pub use by_hand::{Admin, RecordAtHand};
pub use clock::Clock;
pub use connection::credential::{CredentialKind, NewCredential, RunningOut};
pub use connection::health::Trouble;
pub use connection::{Connection, ConnectionState, NewConnection};
pub use db::{Schema, Store, StoreConfig, Tx, migrate};
pub use delta::rows::{DeltaGroup, DeltaMember, DeltaUser, TakenRows};
pub use delta::{DeltaProgress, DeltaRound, DeltaState, TakenLink};
pub use due::claim::Room;
pub use due::mark::MarkDue;
pub use due::settle::{NextLook, SettledDue};
pub use due::{Due, DueClaim, DueKind, DueReason};
pub use endpoint::{Endpoint, EndpointState, EndpointSubscription};
pub use error::StoreError;
pub use event::{EventOutcome, EventStatus};
pub use figures::{ConnectionFigures, Figures, TaskFigures};
pub use hold::alarm::HoldAlarm;
pub use hold::answer::{Answered, HoldDecision};
pub use installation::QueueSeen;
pub use lease::Lease;
pub use mirror::group::MirroredGroup;
pub use mirror::known::{KnownAccess, KnownPerson, KnownProfile};
pub use mirror::listing::ListedPage;
pub use mirror::{MirroredPerson, NotListed, People};
pub use replay::{FailedFilter, NoReplay, Replay};
pub use review::settle::{Chosen, NotSettled};
pub use rule::NewRules;
pub use rule_plan::ShownPlan;
pub use secret::{Keys, MacPurpose, Place};
pub use subscription::{Resource, Subscription, SubscriptionStatus};
pub use taking::TakenHints;
pub use task::{SyncProgress, Task, TaskKind, TaskState, TaskView};
