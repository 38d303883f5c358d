//! Waiting for a full sync, and what it did.

use std::time::Duration;

use lockstep_core::TaskId;
use lockstep_store::{Store, SyncProgress, TaskState, TaskView};
use serde::Serialize;
use tokio::time::Instant;

use crate::failure::Failure;

/// Between two looks at a running sync.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Nobody at work for this long: the sync would wait for ever.
const NOBODY_AT_WORK: Duration = Duration::from_secs(10);

/// What a full sync did, as `connection sync --output json` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct SyncSummary {
    pub users: u64,
    pub created: u64,
    pub linked: u64,
    pub updated: u64,
    pub deactivated: u64,
    pub held: u64,
    pub reviews: u64,
    pub failed: u64,
    pub seconds: f64,
    pub graph_requests: u64,
}

impl SyncSummary {
    fn of(task: &TaskView) -> Self {
        let done = &task.progress;
        let took = task.finished_at.map(|end| end.since(task.created_at)).unwrap_or_default();
        Self {
            users: done.users,
            created: done.created,
            linked: done.linked,
            updated: done.updated,
            deactivated: done.deactivated,
            held: done.held,
            reviews: done.reviews,
            failed: done.failed,
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            graph_requests: done.graph_requests,
        }
    }
}

/// Waits until the sync ends; `watch` sees its progress at every look.
pub async fn wait_for_sync(
    store: &Store,
    task: TaskId,
    mut watch: impl FnMut(&SyncProgress),
) -> Result<SyncSummary, Failure> {
    let mut somebody_at = Instant::now();
    loop {
        let view = store.lookup_task(task).await?.ok_or_else(|| gone(task))?;
        watch(&view.progress);
        match view.state {
            TaskState::Done => return Ok(SyncSummary::of(&view)),
            TaskState::Failed => return Err(failed(&view)),
            TaskState::Due => {}
        }
        if store.workers_alive(NOBODY_AT_WORK).await? > 0 {
            somebody_at = Instant::now();
        } else if somebody_at.elapsed() >= NOBODY_AT_WORK {
            return Err(Failure::Failed(
                "waiting for the sync: no worker is running; start `lockstep serve`".to_owned(),
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn failed(view: &TaskView) -> Failure {
    Failure::Failed(format!("the sync failed: {}", view.reason.as_deref().unwrap_or("no reason was kept")))
}

fn gone(task: TaskId) -> Failure {
    Failure::Failed(format!("waiting for the sync: task {task} is gone; was the connection removed meanwhile?"))
}
