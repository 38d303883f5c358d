//! Debug builds only: dies at a named point, the way kill -9 does, so that tests can try every one of them.
//!
//! A point is a trace event of the target `lockstep::point` at an await between read, commit, ack, publish and answer.

use std::sync::atomic::{AtomicU32, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

const VARIABLE: &str = "LOCKSTEP_KILL_AT";
const TARGET: &str = "lockstep::point";

/// What `LOCKSTEP_KILL_AT=name[:nth]` asks for.
struct KillPoint {
    name: String,
    /// Times the point is still passed before it kills.
    passes: AtomicU32,
}

/// The layer that kills, if the environment asks for one.
pub(crate) fn layer<S: Subscriber + for<'span> LookupSpan<'span>>() -> Option<impl Layer<S>> {
    let wanted = std::env::var(VARIABLE).ok()?;
    let (name, nth) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    let passes = AtomicU32::new(nth.parse::<u32>().unwrap_or(1).saturating_sub(1));
    let point = KillPoint { name: name.to_owned(), passes };
    Some(point.with_filter(Targets::new().with_target(TARGET, LevelFilter::TRACE)))
}

impl<S: Subscriber> Layer<S> for KillPoint {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message::default();
        event.record(&mut message);
        if message.0 != self.name {
            return;
        }
        let more = self.passes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if more.is_err() {
            // Nothing may be flushed, answered or rolled back any more.
            std::process::abort();
        }
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
