//! The simulator as its clients see it: over HTTP, against `graph-contract.md`.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "plays foreign clients, so it shares none with Lockstep")]

mod batch;
mod control;
mod delivery;
mod delta;
mod directory;
mod faults;
mod identity;
mod stage;
mod subscriptions;
