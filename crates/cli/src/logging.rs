//! Logs go to stderr: text on a terminal, JSON lines for a collector.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// For `serve`: level from `RUST_LOG`, `info` by default.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    };
    // A second start in one process (tests) changes nothing.
    drop(started);
}

/// For every other command: only what `RUST_LOG` asks for, since results and errors are printed anyway.
pub fn start_quiet() {
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        start();
    }
}
