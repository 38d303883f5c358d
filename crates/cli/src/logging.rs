//! Logs go to stderr: text on a terminal, JSON lines for a collector.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// For `serve`: level from `RUST_LOG`, `info` by default.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // lapin logs messages with their bodies (G-27), and its troubles are told by the queue.
    let filter = match "lapin=off".parse() {
        Ok(silence) => filter.add_directive(silence),
        Err(_) => filter,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
    #[cfg(debug_assertions)]
    let subscriber = subscriber.with(crate::kill_point::layer());
    // A second start in one process (tests) changes nothing.
    drop(subscriber.try_init());
}

/// For every other command: only what `RUST_LOG` asks for, since results and errors are printed anyway.
pub fn start_quiet() {
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        start();
    }
}
