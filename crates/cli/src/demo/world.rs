//! All of Lockstep and a tenant in this process, on free ports and in a temporary folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::record::Record;
use lockstep_core::timing::Timing;
use lockstep_core::{ObjectId, TaskId};
use lockstep_queue::{Queue, QueueUrl};
use lockstep_receiver::{Limits, Receiver, ReceiverConfig, RunningReceiver};
use lockstep_simulator::{SimClock, Simulator, SimulatorConfig, Tenant};
use lockstep_store::{Clock, Connection, Store, StoreConfig, SubscriptionStatus};
use lockstep_worker::{GraphSettings, RunningWorker, WorkerConfig, graph_client};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::time::Instant;
use url::Url;
use uuid::Uuid;

use super::company::Company;
use super::screen::Screen;
use crate::app::record_of;
use crate::connecting::{WantedConnection, WantedCredential, add_connection};
use crate::failure::Failure;
use crate::rules::{apply_rules, plan_rules, read_rules};
use crate::syncing::{SyncSummary, wait_for_sync};

/// Both subscriptions must stand by then, or the demo says that something is wrong.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// What a rule says to wait passes this many times faster.
pub const FASTER: f64 = 20.0;

/// Everything that runs.
pub struct World {
    pub simulator: Simulator,
    pub tenant: Tenant,
    pub company: Company,
    pub store: Store,
    pub connection: Connection,
    pub initial_sync: SyncSummary,
    clock: SimClock,
    queue: Queue,
    receiver: RunningReceiver,
    worker: RunningWorker,
    // Last, so that the folder goes when nothing writes into it any more.
    _folder: TempDir,
}

impl World {
    /// Starts it all, connects, syncs and subscribes; the screen shows each step.
    pub async fn start(users: usize, screen: &mut Screen) -> Result<Self, Failure> {
        let clock = SimClock::real();
        let Microsoft { simulator, tenant, company } = Microsoft::start(users, &clock).await?;
        screen.step("Microsoft", &format!("{} (simulated): {}, {users} people", simulator.url(), tenant.domain()))?;
        let Installation { store, queue, receiver, folder } = Installation::start(&clock).await?;
        let url = format!("http://{}", receiver.addr);
        screen.step("Lockstep", &format!("{url}: SQLite and the embedded queue in a temporary folder"))?;

        let graph = graph_settings(&simulator)?;
        let connection = add_connection(&store, &graph, wanted(&tenant)).await?;
        screen.step("Connection", "token, tenant and permissions checked")?;
        let config = WorkerConfig { graph: graph.clone(), public_url: Some(parsed(&url)?), ..WorkerConfig::default() };
        let worker = lockstep_worker::start(config, store.clone(), queue.clone());
        let task = apply_company_rules(&store, &graph, &connection, &company).await?;
        screen.step("Rules", "Managers > Staff (with Field Team inside) > Portal Users")?;
        let initial_sync = wait_for_sync(&store, task, |_| {}).await?;
        screen.step("First sync", &in_short(&initial_sync))?;

        let _folder = folder;
        let world = Self {
            simulator,
            tenant,
            company,
            store,
            connection,
            initial_sync,
            clock,
            queue,
            receiver,
            worker,
            _folder,
        };
        world.wait_until_subscribed().await?;
        screen.step("Subscriptions", "users and groups; the validation handshake was answered")?;
        Ok(world)
    }

    /// Subscribed, and the catching up that a new subscription asks for is done.
    async fn wait_until_subscribed(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            let subscriptions = self.store.list_subscriptions(Some(self.connection.id)).await?;
            let live = subscriptions.iter().filter(|one| one.status == SubscriptionStatus::Active).count();
            let connection = self.store.lookup_connection(self.connection.id).await?;
            if live >= 2 && connection.is_some_and(|connection| connection.gap_since.is_none()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(Failure::Failed(format!(
            "waiting for subscriptions: none stood within {} s; try again with RUST_LOG=info to see why",
            READY_WITHIN.as_secs()
        )))
    }

    /// The live record of a directory user.
    pub async fn record_of(&self, user: Uuid) -> Result<Option<Record>, Failure> {
        record_of(&self.store, &self.connection, ObjectId(user)).await
    }

    /// Lets simulated time pass, so that the next change is not taken for an echo of the last one (`coalesce`).
    pub async fn let_time_pass(&self, span: Duration) {
        // A lost notification must not stop the demo: it would show as a change that did not arrive.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.simulator.deliveries_idle()).await;
        self.clock.advance(span);
    }

    /// Runs the clock faster, or as usual again.
    pub fn hurry(&self, hurry: bool) {
        self.clock.set_scale(if hurry { FASTER } else { 1.0 });
    }

    /// Stops everything; the temporary folder goes with it.
    pub async fn stop(self) {
        self.receiver.stop().await;
        self.worker.stop().await;
        self.queue.close().await;
        self.store.close().await;
        self.simulator.stop().await;
    }
}

/// The simulated side.
struct Microsoft {
    simulator: Simulator,
    tenant: Tenant,
    company: Company,
}

impl Microsoft {
    async fn start(users: usize, clock: &SimClock) -> Result<Self, Failure> {
        let config = SimulatorConfig { clock: clock.clone(), ..SimulatorConfig::default() };
        let simulator =
            Simulator::start(config).await.map_err(|error| Failure::of("starting the simulator", &error))?;
        let tenant = simulator.tenant();
        let company = Company::found(&tenant)?;
        company.grow(&tenant, users)?;
        Ok(Self { simulator, tenant, company })
    }
}

/// Our side, before it is connected.
struct Installation {
    store: Store,
    queue: Queue,
    receiver: RunningReceiver,
    folder: TempDir,
}

impl Installation {
    async fn start(clock: &SimClock) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(|error| Failure::of("making a temporary folder", &error))?;
        let store = open_store(&folder, clock).await?;
        let queue = Queue::open(&QueueUrl::Embedded(folder.path().join("queue.db"))).await?;
        let receiver = start_receiver(&store, &queue).await?;
        Ok(Self { store, queue, receiver, folder })
    }
}

fn in_short(sync: &SyncSummary) -> String {
    format!("{} people in {:.2} s with {} Graph requests", sync.users, sync.seconds, sync.graph_requests)
}

async fn open_store(folder: &TempDir, clock: &SimClock) -> Result<Store, Failure> {
    let clock = clock.clone();
    let config = StoreConfig {
        url: format!("sqlite://{}", folder.path().join("lockstep.db").display()),
        key_file: folder.path().join("key"),
        clock: Clock::following(Arc::new(move || clock.now_micros())),
        timing: Timing::default(),
    };
    Ok(Store::open(config).await?)
}

async fn start_receiver(store: &Store, queue: &Queue) -> Result<RunningReceiver, Failure> {
    let config = ReceiverConfig { bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), limits: Limits::default() };
    Receiver::start(config, store.clone(), queue.clone(), store.clock().clone())
        .await
        .map_err(|error| Failure::of("starting the receiver", &error))
}

fn graph_settings(simulator: &Simulator) -> Result<GraphSettings, Failure> {
    let url = parsed(&simulator.url())?;
    Ok(GraphSettings { graph_url: Some(url.clone()), login_url: Some(url) })
}

fn parsed(url: &str) -> Result<Url, Failure> {
    Url::parse(url).map_err(|error| Failure::of(format!("parsing {url}"), &error))
}

fn wanted(tenant: &Tenant) -> WantedConnection {
    WantedConnection {
        name: "contoso".to_owned(),
        tenant: tenant.id().to_string(),
        client_id: tenant.client_id().to_string(),
        credential: WantedCredential::ClientSecret(SecretString::from(tenant.client_secret())),
        cloud: "global".to_owned(),
        realm: None,
        guests: false,
        domains: Vec::new(),
        test_users: Vec::new(),
    }
}

/// The same steps as `rule apply --yes`.
async fn apply_company_rules(
    store: &Store,
    graph: &GraphSettings,
    connection: &Connection,
    company: &Company,
) -> Result<TaskId, Failure> {
    let client = graph_client(store, connection, graph).await?;
    let read = read_rules(&client, &company.rules_file()).await?;
    let plan = plan_rules(store, &client, connection, &read).await?;
    Ok(apply_rules(store, connection, read, &plan).await?.task)
}
