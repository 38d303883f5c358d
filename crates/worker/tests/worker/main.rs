//! The worker against the simulated tenant, over HTTP, on one shared clock. Hints are published as the receiver would.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../testkit/src/store_place.rs"] // the test kit stands above the worker
#[allow(dead_code)] // each uses a part of it
mod store_place;

mod addresses;
mod answers;
mod brake;
mod burst;
mod delta;
mod evidence;
mod full_sync;
mod managers;
mod matching;
mod people;
mod preview;
mod reevaluate;
mod relist;
mod scope;
mod subscription;
mod subscription_check;
mod trouble;
mod world;
