//! Measurements of Lockstep as ratios against small references in the same run (performance.md): what `lockstep bench`
//! runs. Start at [`run`]; each measurement is a file of `measure/`, each reference one of `reference/`.
//!
//! What is measured is `lockstep serve`, in processes of its own; the simulator, the load and the references live in the
//! measuring process, so that memory and processor time of the one hold nothing of the others.
//!
//! Invariant: nothing here touches an installation that is in use. Store and queue are made for the run and removed after
//! it. No verdict of a test depends on how fast a machine is.

#[path = "../reference/bare.rs"]
mod bare;
mod cost;
mod error;
#[path = "../reference/fetch.rs"]
mod fetch;
mod fleet;
pub mod installation;
mod ledger;
mod load;
mod measure;
mod metric;
mod place;
#[path = "../reference/publish.rs"]
mod publish;
mod relay;
#[path = "../reference/scan.rs"]
mod scan;
mod serve;
#[path = "../reference/sqlite.rs"]
mod sqlite;
pub mod statistics;
#[path = "../reference/upsert.rs"]
mod upsert;

use std::time::Duration;

pub use error::BenchError;
pub use metric::{Goal, Metric, Reference};
pub use place::Target;

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bench {
    /// Notification → durable: T1 or T3, T2, T15.
    Ingest,
    /// Durable → record: T4, T5, T6.
    Apply,
    /// Full syncs: T8.
    Sync,
    /// More workers, more people, nothing to do: T7, T13, T10, T11.
    Scale,
    /// Failed events, replayed beside live ones: T14.
    Replay,
    /// Other rules for everybody who is known: T9.
    Rules,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// People in the largest installation; each measurement has its own number when not given.
    pub people: Option<usize>,
    /// One run of load.
    pub length: Duration,
}

/// Measures; every figure is reported as soon as it is there.
///
/// # Errors
/// See [`BenchError`]. What was reported before it counts, unless the error says that it does not.
pub async fn run(
    bench: Bench,
    target: &Target,
    size: Size,
    report: &mut (dyn FnMut(Metric) + Send),
) -> Result<(), BenchError> {
    match bench {
        Bench::Ingest => measure::ingest::run(target, size.length, report).await,
        Bench::Apply => measure::apply(target, size.people.unwrap_or(10_000), report).await,
        Bench::Sync => measure::full_sync::run(target, size.people.unwrap_or(100_000), report).await,
        Bench::Scale => measure::scale(target, size.people.unwrap_or(100_000), report).await,
        Bench::Replay => measure::replay::run(target, size.people.unwrap_or(100_000), report).await,
        Bench::Rules => measure::reevaluate::run(target, size.people.unwrap_or(100_000), report).await,
    }
}
