//! `lockstep serve`: the processes that do the lasting work, in one or in several.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use lockstep_queue::Queue;
use lockstep_receiver::{Limits, Receiver, ReceiverConfig, RunningReceiver};
use lockstep_store::Store;
use lockstep_worker::{Roles, RunningWorker, WorkerConfig};
use tracing::{info, warn};

use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::health::{HealthAddress, HealthListener, Parts};
use crate::logging;
use crate::output;
use crate::stop::asked_to_stop;
use crate::tracing_export::TracingExport;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Takes notifications
    Receiver,
    /// Reads Microsoft and changes records
    Worker,
    /// Keeps subscriptions alive and starts what is owed
    Renewer,
}

#[derive(Args)]
pub struct Serve {
    /// Only this role; repeat for several [default: all in one process]
    #[arg(long = "role", value_enum)]
    roles: Vec<Role>,
}

/// Everything that runs, and what it runs on.
struct Running {
    receiver: Option<RunningReceiver>,
    worker: Option<RunningWorker>,
    health: HealthListener,
    store: Store,
    queue: Queue,
}

impl Serve {
    pub async fn run(self, app: &App) -> Outcome {
        let traces = TracingExport::from_environment(&self.role_names())?;
        logging::start(traces.layer());
        traces.announce();
        let running = self.start(app).await?;
        let stop = asked_to_stop().await;
        info!("{stop} received: stopping, within 20 s");
        running.stop().await;
        traces.end().await;
        info!("Stopped");
        Ok(())
    }

    fn plays(&self, role: Role) -> bool {
        self.roles.is_empty() || self.roles.contains(&role)
    }

    /// As they are typed, with commas between them.
    fn role_names(&self) -> String {
        let played = Role::value_variants().iter().filter(|role| self.plays(**role));
        let names = played.filter_map(|role| Some(role.to_possible_value()?.get_name().to_owned()));
        names.collect::<Vec<_>>().join(",")
    }

    async fn start(&self, app: &App) -> Result<Running, Failure> {
        let store = app.store().await?;
        let queue = app.queue().await?;
        let health = HealthAddress::bind(app.settings.admin_bind).await?;
        let receiver = if self.plays(Role::Receiver) { Some(start_receiver(app, &store, &queue).await?) } else { None };
        let worker = (self.plays(Role::Worker) || self.plays(Role::Renewer))
            .then(|| lockstep_worker::start(self.worker_config(app), store.clone(), queue.clone()));
        self.announce(app, &store, receiver.as_ref(), &health).await?;
        let health = health.serve(store.clone(), queue.clone(), self.parts(receiver.as_ref(), worker.as_ref()));
        Ok(Running { receiver, worker, health, store, queue })
    }

    fn worker_config(&self, app: &App) -> WorkerConfig {
        WorkerConfig {
            graph: app.graph(),
            public_url: app.settings.public_url.clone(),
            roles: Roles { worker: self.plays(Role::Worker), renewer: self.plays(Role::Renewer) },
            ..WorkerConfig::default()
        }
    }

    fn parts(&self, receiver: Option<&RunningReceiver>, worker: Option<&RunningWorker>) -> Parts {
        let pulse = |role| worker.filter(|_| self.plays(role)).map(RunningWorker::pulse);
        Parts {
            receiver: receiver.map(|receiver| receiver.addr),
            worker: pulse(Role::Worker),
            renewer: pulse(Role::Renewer),
        }
    }

    /// Says where it listens and, on a fresh installation, what comes next.
    async fn announce(
        &self,
        app: &App,
        store: &Store,
        receiver: Option<&RunningReceiver>,
        health: &HealthAddress,
    ) -> Outcome {
        if let Some(receiver) = receiver {
            info!(address = %receiver.addr, "Taking notifications on http://{}", receiver.addr);
        }
        info!(address = %health.addr, "Health and metrics on http://{}", health.addr);
        if app.settings.public_url.is_none() {
            warn!("LOCKSTEP_PUBLIC_URL is not set: Microsoft is not asked to notify, changes arrive by syncs only");
        }
        let connections = store.list_connections().await?;
        if connections.is_empty() {
            say_first_step();
        }
        for connection in connections.iter().filter(|connection| connection.rules_version == 0) {
            info!(connection.id = %connection.id, "Connection {} has no rules yet: apply some with `lockstep rule apply`", connection.id);
        }
        Ok(())
    }
}

fn say_first_step() {
    const FIRST: &str = "No connection yet. In another terminal, with the same settings: \
        `lockstep connection add NAME --tenant … --client-id … --client-secret-file …` \
        (to try it without a tenant: `lockstep simulate`)";
    if std::io::stderr().is_terminal() {
        output::note(FIRST);
    } else {
        info!("{FIRST}");
    }
}

async fn start_receiver(app: &App, store: &Store, queue: &Queue) -> Result<RunningReceiver, Failure> {
    let bind = app.settings.public_bind;
    let config = ReceiverConfig { bind, limits: Limits::default() };
    Receiver::start(config, store.clone(), queue.clone(), store.clock().clone())
        .await
        .map_err(|error| Failure::of(format!("starting the receiver on {bind} (LOCKSTEP_PUBLIC_BIND)"), &error))
}

impl Running {
    /// Receiver and worker side by side, so that both together keep to the 20 s; the store last, since all others write
    /// into it (FA-33).
    async fn stop(self) {
        let receiver = async {
            if let Some(receiver) = self.receiver {
                receiver.stop().await;
            }
        };
        let worker = async {
            if let Some(worker) = self.worker {
                worker.stop().await;
            }
        };
        tokio::join!(receiver, worker);
        self.health.stop().await;
        self.queue.close().await;
        self.store.close().await;
    }
}
