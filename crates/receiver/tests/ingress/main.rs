//! The receiver over real HTTP, with a real store and a real queue: every row of guarantees.md §5 "Notification
//! endpoint", and what G-01 to G-07 ask of it.

#![allow(clippy::unwrap_used, missing_docs)]
// Graph is played here: the client that the ban points to would refuse half of what is tried.
#![allow(clippy::disallowed_methods)]

mod authentic;
mod counters;
mod forged;
mod handshake;
mod http2;
mod outage;
mod raw;
mod refused;
mod slow;
mod understood;
mod world;
