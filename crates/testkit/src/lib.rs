//! A whole Lockstep against the simulator, in one process, on a clock that tests move.
//!
//! Start at [`World::start`]. Everything on the way of a change is the real part: HTTP, tokens, the handshake, the queue,
//! the store; with the variables of scripts/services.sh these are RabbitMQ and PostgreSQL.
//!
//! Invariant: nothing here sleeps to let something happen; waiting is for a condition, with a deadline.

mod parts;
mod process;
mod proxy;
mod queue_place;
mod services;
mod store_place;
mod world;

pub use parts::{Parts, graph_settings, open_parts};
pub use proxy::Proxy;
pub use services::{OwnPostgres, OwnRabbit};
pub use store_place::{StorePlace, on_postgres};
pub use world::{RuleFor, World, connection_to};
