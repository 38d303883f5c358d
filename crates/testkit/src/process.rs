//! What dies together: receiver, queue and worker of one installation, on a runtime of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_queue::Queue;
use lockstep_receiver::{Limits, RunningReceiver};
use lockstep_simulator::SimClock;
use lockstep_store::Store;
use lockstep_worker::{RunningWorker, WorkerConfig};
use tokio::runtime::{Builder, Runtime};

use crate::parts::{Parts, open_parts_at};

/// The port of a process that was just killed is free again after this at the latest.
const REBIND_WITHIN: Duration = Duration::from_secs(5);

/// One life of the process; dropping it without [`Process::stop`] is a kill -9.
pub(crate) struct Process {
    pub store: Store,
    pub queue: Queue,
    receiver: Option<RunningReceiver>,
    workers: Vec<RunningWorker>,
    /// Taken at the end only: a runtime must not be dropped where others run.
    runtime: Option<Runtime>,
}

impl Process {
    /// Opens the installation in this folder; its receiver listens there.
    pub async fn start(folder: &Path, clock: &SimClock, bind: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts");
        let (folder, clock) = (PathBuf::from(folder), clock.clone());
        let opening = runtime.spawn(async move {
            let deadline = tokio::time::Instant::now() + REBIND_WITHIN;
            while bind.port() != 0 && std::net::TcpListener::bind(bind).is_err() {
                assert!(tokio::time::Instant::now() < deadline, "{bind} stays taken");
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            open_parts_at(&folder, &clock, Limits::default(), bind).await
        });
        let Parts { store, queue, receiver } = opening.await.expect("the installation opens");
        Self { store, queue, receiver: Some(receiver), workers: Vec::new(), runtime: Some(runtime) }
    }

    /// Where the receiver listens.
    pub fn addr(&self) -> SocketAddr {
        self.receiver.as_ref().expect("the receiver runs").addr
    }

    pub fn start_worker(&mut self, config: WorkerConfig) {
        self.workers.clear();
        self.add_worker(config);
    }

    /// One more beside those that run.
    pub fn add_worker(&mut self, config: WorkerConfig) {
        let _runtime = self.runtime.as_ref().expect("the process lives").enter();
        self.workers.push(lockstep_worker::start(config, self.store.clone(), self.queue.clone()));
    }

    pub async fn stop_worker(&mut self) {
        for worker in std::mem::take(&mut self.workers) {
            worker.stop().await;
        }
    }

    /// Somebody moved the clock: what is due by it is looked for at once.
    pub fn wake(&self) {
        for worker in &self.workers {
            worker.wake();
        }
    }

    /// In good order.
    pub async fn stop(mut self) {
        self.stop_worker().await;
        if let Some(receiver) = self.receiver.take() {
            receiver.stop().await;
        }
        self.queue.close().await;
        self.store.close().await;
    }
}

impl Drop for Process {
    /// Every task ends where it waits; nothing is finished, answered or given back.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
