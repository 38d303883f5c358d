//! T10 and T11: memory at rest, and how soon an empty installation accepts its first notification.

use std::time::{Duration, Instant};

use super::Report;
use crate::error::BenchError;
use crate::fleet::Fleet;
use crate::load;
use crate::metric::{Goal, Metric};
use crate::place::{Place, Target};
use crate::serve::Serve;
use crate::statistics::median;

const REPETITIONS: usize = 3;
/// Memory at rest wants rest.
const REST: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(1);

pub(super) async fn run(target: &Target, report: Report<'_>) -> Result<(), BenchError> {
    let place = Place::make(target, "").await?;
    let fleet = Fleet::recruit(&place.store, 1).await?;
    let roles: [(&str, &[&str], f64); 2] = [("receiver alone", &["receiver"], 20.0), ("all in one", &[], 40.0)];
    for (name, roles, goal) in roles {
        let mut resident = Vec::new();
        for _ in 0..REPETITIONS {
            let serve = Serve::start(&place, roles, None).await?;
            tokio::time::sleep(REST).await;
            resident.push(serve.resident_mib());
        }
        let metric = Metric::of("T10", format!("memory at rest, {name}"), median(&mut resident), "MiB");
        report(metric.goal(Goal::FigureAtMost(goal)).limit(14.0));
    }
    let first = first_accepted(&place, &fleet).await?;
    report(Metric::of("T11", "start → first 202, empty", first, "ms").goal(Goal::FigureAtMost(50.0)));
    Ok(())
}

/// From the start of a process to its first 202, ms; a median.
pub(super) async fn first_accepted(place: &Place, fleet: &Fleet) -> Result<f64, BenchError> {
    let mut milliseconds = Vec::new();
    for _ in 0..REPETITIONS {
        let mut posts = fleet.posts(1);
        let began = Instant::now();
        let serve = Serve::spawn(place, &place.queue_url, &[], None)?;
        for post in &mut posts {
            while load::post(serve.receiver, post).await != Some(202) {
                if began.elapsed() > PATIENCE {
                    return Err(BenchError::TooLate { what: "a first 202".to_owned(), patience: PATIENCE });
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        milliseconds.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(&mut milliseconds))
}
