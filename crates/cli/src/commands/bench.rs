//! `lockstep bench`: the figures of performance.md on this machine, each against its reference in the same run.

use std::time::Duration;

use clap::{Args, ValueEnum};
use lockstep_benches::{Goal, Metric, Size, Target};

use crate::failure::{Failure, Outcome};
use crate::logging;
use crate::output::{self, Format, Listing, or_dash};
use crate::settings::SettingFlags;
use crate::stop::asked_to_stop;

/// Store and queue are made for the run and removed after it. With --store-url postgres://… a database of its own is made
/// on that server; with --queue-url amqp://… the virtual host must hold no queue of hints yet. Figures mean something on
/// an idle machine and a release build only.
#[derive(Args)]
pub struct Bench {
    /// What to measure
    #[arg(value_enum)]
    what: What,
    /// People in the largest installation [default: apply 10000, sync, scale, replay and rules 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..))]
    people: Option<u32>,
    /// Length of one run of load, for ingest
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Notification → durable: rate, answer times, garbage (T1 or T3, T2, T15)
    Ingest,
    /// Durable → record: one change, a burst, as fast as it goes (T4, T5, T6)
    Apply,
    /// Full syncs (T8)
    Sync,
    /// More workers; more people; start and memory at rest (T7, T10, T11, T13)
    Scale,
    /// Failed events replayed beside live ones (T14)
    Replay,
    /// Everybody decided anew after the rules changed, and the plan of it (T9)
    Rules,
}

impl Bench {
    pub async fn run(self, settings: &SettingFlags, format: Format) -> Outcome {
        logging::start_quiet();
        let bench = match self.what {
            What::Ingest => lockstep_benches::Bench::Ingest,
            What::Apply => lockstep_benches::Bench::Apply,
            What::Sync => lockstep_benches::Bench::Sync,
            What::Scale => lockstep_benches::Bench::Scale,
            What::Replay => lockstep_benches::Bench::Replay,
            What::Rules => lockstep_benches::Bench::Rules,
        };
        let target = Target { store_url: settings.store_url.clone(), queue_url: settings.queue_url.clone() };
        let people = self.people.map(|people| usize::try_from(people).unwrap_or(usize::MAX));
        let size = Size { people, length: Duration::from_secs(self.seconds) };
        if cfg!(debug_assertions) {
            output::note("This is not a release build: the figures mean nothing.");
        }
        let mut metrics = Vec::new();
        let mut report = |metric: Metric| {
            output::note(&format!("{}  {}: {} {}", metric.id, metric.what, rounded(metric.figure), metric.unit));
            metrics.push(metric);
        };
        // Dropping what was started ends its processes and removes its store and queue.
        let measured = tokio::select! {
            measured = lockstep_benches::run(bench, &target, size, &mut report) => measured.map_err(Failure::from),
            _ = asked_to_stop() => Err(Failure::Failed("the measurement was stopped before its end".to_owned())),
        };
        if !metrics.is_empty() {
            LISTING.print(format, &metrics)?;
        }
        measured
    }
}

const LISTING: Listing<'_, Metric> = Listing {
    columns: &["id", "what", "figure", "unit", "reference", "its figure", "ratio", "goal", "reached"],
    row: |metric| {
        let reference = metric.reference.as_ref();
        vec![
            metric.id.to_owned(),
            metric.what.clone(),
            rounded(metric.figure),
            metric.unit.to_owned(),
            or_dash(reference.map(|reference| reference.name).as_ref()),
            or_dash(reference.map(|reference| rounded(reference.figure)).as_ref()),
            or_dash(metric.ratio.map(rounded).as_ref()),
            or_dash(metric.goal.map(in_words).as_ref()),
            or_dash(metric.reached.map(|reached| if reached { "yes" } else { "no" }).as_ref()),
        ]
    },
    when_empty: "Nothing was measured.",
};

/// Three digits that count, and all of a large number.
fn rounded(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middling if middling >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn in_words(goal: Goal) -> String {
    match goal {
        Goal::FigureAtMost(most) => format!("at most {most}"),
        Goal::RatioAtLeast(least) => format!("ratio at least {least}"),
        Goal::RatioAtMost(most) => format!("ratio at most {most}"),
    }
}
