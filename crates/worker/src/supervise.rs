//! Loops that never die silently.

use std::future::Future;
use std::time::{Duration, Instant};

use lockstep_core::ErrorClass;
use tokio::task::JoinHandle;
use tracing::{error, warn};

use crate::context::Context;
use crate::error::WorkerError;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A loop that ran this long starts again without a penalty.
const HEALTHY: Duration = Duration::from_secs(60);

/// Runs `work` until the process stops; an error or a panic starts it again after a pause.
pub(crate) fn supervise<F, Fut>(name: &'static str, ctx: Context, work: F) -> JoinHandle<()>
where
    F: Fn(Context) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), WorkerError>> + Send + 'static,
{
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        while !ctx.stopping() {
            let began = Instant::now();
            let ended = tokio::spawn(work(ctx.clone())).await;
            if ctx.stopping() {
                return;
            }
            report(name, ended);
            metrics::counter!("lockstep_loop_restarts_total", "loop" => name).increment(1);
            pause = if began.elapsed() > HEALTHY { FIRST_PAUSE } else { pause };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = ctx.stopped() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    })
}

fn report(name: &'static str, ended: Result<Result<(), WorkerError>, tokio::task::JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(failure)) if matches!(failure.class(), ErrorClass::Transient { .. }) => {
            warn!(work = name, error = %chain(&failure), "Loop {name} failed and starts again");
        }
        Ok(Err(failure)) => {
            error!(work = name, error = %chain(&failure), "Loop {name} failed and starts again")
        }
        Err(panic) => error!(work = name, panicked = panic.is_panic(), "Loop {name} broke down and starts again"),
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
