//! Starting and stopping the loops of one process.

use std::time::Duration;

use futures::future::join_all;
use lockstep_queue::Queue;
use lockstep_store::Store;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::config::WorkerConfig;
use crate::context::Context;
use crate::jobs::seal;
use crate::pulse::Pulse;
use crate::supervise::supervise;
use crate::{due, heartbeat, leading, scheduler, taking, tasks};

/// FA-33: what has not ended by then is left to whoever takes it over.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The loops at work. Dropping it does not stop them; [`RunningWorker::stop`] does.
pub struct RunningWorker {
    ctx: Context,
    loops: Vec<JoinHandle<()>>,
}

/// Starts the loops of the configured roles.
pub fn start(config: WorkerConfig, store: Store, queue: Queue) -> RunningWorker {
    let roles = config.roles;
    let ctx = Context::assemble(config, store, queue);
    let mut loops = vec![supervise("heartbeat", ctx.clone(), heartbeat::run)];
    if roles.worker {
        loops.push(supervise("taking", ctx.clone(), taking::run));
        loops.push(supervise("due", ctx.clone(), due::run));
        loops.push(supervise("tasks", ctx.clone(), tasks::run));
    }
    if roles.renewer {
        loops.push(supervise("leading", ctx.clone(), leading::run));
        loops.push(supervise("scheduler", ctx.clone(), scheduler::run));
        loops.push(supervise("sealing", ctx.clone(), seal::run));
    }
    RunningWorker { ctx, loops }
}

impl RunningWorker {
    /// Takes no more work, finishes or returns what is in hand, within 20 s.
    pub async fn stop(self) {
        self.ctx.ask_to_stop();
        let aborts: Vec<_> = self.loops.iter().map(JoinHandle::abort_handle).collect();
        if tokio::time::timeout(STOP_WITHIN, join_all(self.loops)).await.is_err() {
            for abort in aborts {
                abort.abort();
            }
        }
    }

    /// Somebody moved the store's clock by hand: what is due by it is looked for at once.
    pub fn wake(&self) {
        self.ctx.due.notify_one();
        self.ctx.tasks.notify_one();
        self.ctx.schedule.notify_one();
    }

    /// Whether the loops live, for whoever tells the outside.
    pub fn pulse(&self) -> Pulse {
        self.ctx.pulse.clone()
    }

    /// Who this process is in leases.
    pub fn id(&self) -> Uuid {
        self.ctx.id
    }
}
