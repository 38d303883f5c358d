//! The client against the simulator over HTTP, and against hand-written servers that answer what Graph should not.

#![allow(clippy::unwrap_used)]

mod boundary;
mod burst;
mod certificate;
mod delta;
mod hostile;
mod hostile_delta;
mod identity;
mod listing;
mod reading;
mod server;
mod stand;
mod subscribing;
mod trust;
