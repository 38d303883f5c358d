//! The measurements, one file each.

mod answers;
mod burst;
mod change;
mod footprint;
pub(crate) mod full_sync;
mod growth;
pub(crate) mod ingest;
pub(crate) mod reevaluate;
pub(crate) mod replay;
mod storm;
mod throughput;
mod workers;

use crate::error::BenchError;
use crate::metric::Metric;
use crate::place::Target;

/// Where figures go.
type Report<'a> = &'a mut (dyn FnMut(Metric) + Send);

/// Durable → record: one change at a time, many at once, as many as go.
pub(crate) async fn apply(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    change::run(target, people.min(100), report).await?;
    burst::run(target, people, report).await?;
    throughput::run(target, people, report).await
}

/// What grows with the workers and what must not grow with the people.
pub(crate) async fn scale(target: &Target, people: usize, report: Report<'_>) -> Result<(), BenchError> {
    workers::run(target, people, report).await?;
    footprint::run(target, report).await?;
    growth::run(target, people, report).await
}
