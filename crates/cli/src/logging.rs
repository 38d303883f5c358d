//! Logs go to stderr: text on a terminal, JSON lines for a collector.

use std::io::IsTerminal as _;

use lockstep_core::spans;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::layer::{Identity, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry};

/// For `serve`: level from `RUST_LOG`, `info` by default. Whoever exports spans gets them beside the log.
pub fn start(exporter: Option<impl Layer<Registry> + Send + Sync>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // lapin logs messages with their bodies (G-27), and its troubles are told by the queue. Our spans would be repeated in
    // every line that is written within them.
    let filter = ["lapin", spans::TARGET].into_iter().filter_map(silence).fold(filter, EnvFilter::add_directive);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    let subscriber = tracing_subscriber::registry().with(exporter).with(lines.with_filter(filter));
    #[cfg(debug_assertions)]
    let subscriber = subscriber.with(crate::kill_point::layer());
    // A second start in one process (tests) changes nothing.
    drop(subscriber.try_init());
}

/// For every other command: only what `RUST_LOG` asks for, since results and errors are printed anyway.
pub fn start_quiet() {
    if std::env::var_os(EnvFilter::DEFAULT_ENV).is_some() {
        start(None::<Identity>);
    }
}

fn silence(target: &str) -> Option<Directive> {
    format!("{target}={}", LevelFilter::OFF).parse().ok()
}
