//! The public ingress: takes Microsoft's notifications, judges each item, and answers once the authentic ones are
//! durable in the queue.
//!
//! Start at [`Receiver::start`]; the order of checks is in `ingest`, what makes an item authentic in `judge`.
//!
//! Invariant: knows no mapping and no Graph client, acts on nothing that a notification says, and keeps none of its
//! attributes: what leaves here are ids and claims (G-07). It never answers 2xx "hopefully" (G-02).

mod answer;
mod body;
mod config;
mod connection;
mod endpoints;
mod handshake;
mod ingest;
pub mod judge;
pub mod parse;
mod post_span;
mod pulse;
mod quiet_log;
mod rate;
mod receiver;
mod rejection;
mod tapped_stream;
mod wire;

pub use config::{Limits, ReceiverConfig};
pub use receiver::{Receiver, ReceiverError, RunningReceiver};
