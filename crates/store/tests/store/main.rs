//! The store's promises, each against a real SQLite file in a folder of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod apply;
mod audit;
mod brake;
mod connection;
mod delta;
mod due;
mod event;
mod mirror;
mod opening;
mod replay;
mod subscription;
mod sweep;
mod taking;
mod task;
mod upkeep;
mod world;
