//! The worker against the simulated tenant, over HTTP, on one shared clock. Hints are published as the receiver would.
#![allow(clippy::unwrap_used, missing_docs)]

mod brake;
mod evidence;
mod full_sync;
mod matching;
mod people;
mod preview;
mod scope;
mod subscription;
mod trouble;
mod world;
