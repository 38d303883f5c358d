//! Measurements of Lockstep as ratios against small references in the same run (performance.md). Each binary is one
//! measurement: `cargo run --release -p lockstep-benches --bin ingest`.
//!
//! Invariant: nothing here is a test; no verdict depends on how fast a machine is.

#[path = "../reference/bare.rs"]
pub mod bare;
pub mod cost;
pub mod installation;
pub mod load;
pub mod statistics;
