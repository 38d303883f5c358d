//! The `lockstep` binary as people and scripts meet it: exit codes, what goes to stdout, which setting wins, and the way
//! from a fresh folder to records, against a simulator.
#![allow(clippy::unwrap_used)]

mod auditing;
mod benching;
mod by_hand;
mod canary;
mod certificate;
mod connecting;
mod demo;
mod holding;
mod metric_names;
#[cfg(feature = "otlp")]
mod otlp;
mod planning;
mod replaying;
mod reviewing;
mod roles;
mod serving;
mod simulating;
mod trying;
mod typing;
mod upkeep;
mod workbench;
