//! A Microsoft tenant that we control, over real HTTP: identity endpoints, Graph v1.0 for what
//! Lockstep calls, subscriptions with the handshake, a notification sender with Microsoft's retry
//! rules on a scalable clock, and faults on demand.
//!
//! It ships in the binary because it is also how a newcomer tries Lockstep without a tenant. The
//! tests and the demo hold a [`Simulator`] and change its [`Tenant`]; people use the control API
//! under `/sim`.
//!
//! Invariant: it knows no other Lockstep crate and keeps no file; what Lockstep and the simulator
//! agree on is Microsoft's contract, so that a mistake cannot be made on both sides at once.

mod chance;
mod clock;
mod control;
mod counter;
mod delivery;
mod directory;
mod error;
mod fault;
mod graph;
mod http;
mod identity;
mod limit;
mod new_object;
mod odata;
mod retention;
mod seed;
mod settings;
mod simulator;
mod subscription;
mod sync;
mod tenant;
mod tls;
mod world;

pub use clock::SimClock;
pub use counter::{Counters, NotificationCounters};
pub use error::SimulatorError;
pub use fault::{Fault, Twist};
pub use new_object::{NewGroup, NewUser, TenantSpec};
pub use settings::{DeliveryProfile, Expiry, Settings, StagedCreation};
pub use simulator::{RemovedForm, Simulator, SimulatorConfig};
pub use subscription::LifecycleEvent;
pub use tenant::{AppState, Tenant, TruthUser};
