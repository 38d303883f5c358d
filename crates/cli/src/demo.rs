//! The demo: a simulated tenant and all of Lockstep in one process, and a story that shows each change arriving.
//!
//! Invariant: nothing here is played. Notifications travel over HTTP, tokens are fetched, the queue is durable, and
//! connection and rules are made by the code that the commands use.

pub mod accident;
pub mod company;
pub mod live;
pub mod screen;
pub mod script;
pub mod world;
