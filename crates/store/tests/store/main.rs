//! The store's promises, each against a real SQLite file in a folder of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../../../testkit/src/store_place.rs"] // the test kit stands above the store
#[allow(dead_code)] // each uses a part of it
mod store_place;

mod apply;
mod audit;
mod brake;
mod by_hand;
mod company;
mod connection;
mod delta;
mod due;
mod event;
mod hold;
mod kind_change;
mod merge;
mod mirror;
mod opening;
mod postgres;
mod replay;
mod subscription;
mod sweep;
mod taking;
mod task;
mod upgrade;
mod upkeep;
mod world;
