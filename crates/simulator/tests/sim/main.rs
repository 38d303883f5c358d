//! The simulator as its clients see it: over HTTP, against `graph-contract.md`.

#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "plays foreign clients, so it shares none with Lockstep")]

mod batch;
mod certificate;
mod control;
mod creation;
mod delivery;
mod delta;
mod directory;
mod faults;
mod hostile;
mod identity;
mod limits;
mod stage;
mod subscriptions;
