//! What every loop and job of one process shares.

use std::sync::Arc;

use lockstep_core::ConnectionId;
use lockstep_graph::GraphClient;
use lockstep_queue::Queue;
use lockstep_store::{Connection, Store};
use tokio::sync::{Notify, Semaphore, watch};
use uuid::Uuid;

use crate::ahead::Ahead;
use crate::clients::Clients;
use crate::config::WorkerConfig;
use crate::error::WorkerError;
use crate::jobs::subscriptions::Upkeep;
use crate::leading::Leading;
use crate::pulse::Pulse;
use crate::rule_sets::RuleSets;

/// Shared by every loop of one process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Context(Arc<Shared>);

pub(crate) struct Shared {
    /// Who we are in leases.
    pub id: Uuid,
    /// Settings.
    pub config: WorkerConfig,
    /// The store.
    pub store: Store,
    /// The queue of hints.
    pub queue: Queue,
    /// Shows that the loops live.
    pub pulse: Pulse,
    /// Whether this is the renewer that works.
    pub leading: Leading,
    /// Something was marked due.
    pub due: Notify,
    /// A longer piece of work was made due.
    pub tasks: Notify,
    /// Something for the scheduler happened.
    pub schedule: Notify,
    /// Creating and renewing subscriptions, one at a time in this process.
    pub subscribing: tokio::sync::Mutex<Upkeep>,
    /// The rules in force.
    pub rules: RuleSets,
    /// One for each request to Graph at a time about what is due.
    pub places: Arc<Semaphore>,
    /// A read that began before its look was due.
    pub ahead: Ahead,
    clients: Clients,
    stop: watch::Sender<bool>,
}

impl std::ops::Deref for Context {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Context {
    pub(crate) fn assemble(config: WorkerConfig, store: Store, queue: Queue) -> Self {
        Self(Arc::new(Shared {
            id: Uuid::now_v7(),
            places: Arc::new(Semaphore::new(config.places.max(1))),
            ahead: Ahead::default(),
            config,
            store,
            queue,
            pulse: Pulse::default(),
            leading: Leading::default(),
            due: Notify::new(),
            tasks: Notify::new(),
            schedule: Notify::new(),
            subscribing: tokio::sync::Mutex::default(),
            rules: RuleSets::default(),
            clients: Clients::default(),
            stop: watch::Sender::new(false),
        }))
    }

    /// The connection's Graph client, checked against its tenant when first made.
    pub(crate) async fn client(&self, connection: &Connection) -> Result<GraphClient, WorkerError> {
        self.clients.get(&self.store, connection, &self.config.graph).await
    }

    /// The same, if it was made already.
    pub(crate) fn ready_client(&self, connection: &Connection) -> Option<GraphClient> {
        self.clients.ready(connection)
    }

    /// Nothing is read of what is due, and there are places for more than one read.
    pub(crate) fn is_idle(&self) -> bool {
        let free = self.places.available_permits();
        free > 1 && free == self.config.places
    }

    pub(crate) fn forget_client(&self, connection: ConnectionId) {
        self.clients.forget(connection);
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    /// Resolves when the process is asked to stop.
    pub(crate) async fn stopped(&self) {
        let mut stop = self.stop.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = stop.wait_for(|asked| *asked).await;
    }
}
