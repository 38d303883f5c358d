//! One simulated company, connected.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lockstep_core::field::FieldMap;
use lockstep_core::record::{Kind, Record};
use lockstep_core::rule::Rule;
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::{ErrorClass, ObjectId, TaskId, Timestamp};
use lockstep_queue::Queue;
use lockstep_simulator::{NewGroup, NewUser, SimClock, Simulator, SimulatorConfig, Tenant};
use lockstep_store::view::record::{RecordFilter, RecordView};
use lockstep_store::{
    Connection, NewConnection, NewCredential, People, Store, StoreError, SubscriptionStatus, TaskState, TaskView,
};
use lockstep_worker::WorkerConfig;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};
use url::Url;
use uuid::Uuid;

use crate::parts::graph_settings;
use crate::process::Process;
use crate::queue_place::QueuePlace;
use crate::store_place::StorePlace;

/// What does not happen in this time is a failure.
const DEADLINE: Duration = Duration::from_secs(30);
/// Whoever plays thousands of histories beside other work must not take a busy machine for a fault.
const QUIET_WITHIN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Looks in a row without any news that count as quiet: loops that were woken have looked by then, and items that came
/// together have been sent.
const CALM_WHEN_IDLE: u32 = 4;
const CALM_WHEN_SENDING: u32 = 10;

/// A rule in short: who is in this group is that.
pub struct RuleFor {
    /// The mapped group.
    pub group: Uuid,
    /// Lowest wins.
    pub order: i64,
    /// Kind of record.
    pub kind: Kind,
    /// Role given.
    pub role: &'static str,
}

/// A simulated tenant and a Lockstep connected to it.
pub struct World {
    /// Microsoft.
    pub simulator: Simulator,
    /// The tenant that is connected.
    pub tenant: Tenant,
    /// The simulated clock both sides follow.
    pub clock: SimClock,
    /// SQLite in a temporary folder, or a PostgreSQL database of its own (see [`StorePlace`]).
    pub store: Store,
    /// A file beside it, or a queue at the broker of `LOCKSTEP_TEST_AMQP_URL`.
    pub queue: Queue,
    /// The connection, as it was when it was added.
    pub connection: Connection,
    public_url: Url,
    process: Option<Process>,
    folder: TempDir,
    /// Goes last.
    _place: StorePlace,
}

impl World {
    /// A tenant without people, connected; the worker is running, there are no rules yet.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(folder, SimulatorConfig::default(), connection_to).await
    }

    /// The same with a connection made otherwise.
    pub async fn start_as(connection: impl FnOnce(&Tenant) -> NewConnection) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(folder, SimulatorConfig::default(), connection).await
    }

    /// The same for many in a row: the files lie in memory where there is such a folder, chance starts at the seed, and
    /// the clock stands still until somebody moves it. Wait with [`World::quiet`].
    pub async fn start_standing(seed: u64) -> Self {
        let clock = SimClock::real();
        clock.set_scale(0.0);
        let in_memory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::start_in(
            in_memory.expect("a temporary folder"),
            SimulatorConfig { clock, seed, ..SimulatorConfig::default() },
            connection_to,
        )
        .await
    }

    async fn start_in(
        folder: TempDir,
        config: SimulatorConfig,
        connection: impl FnOnce(&Tenant) -> NewConnection,
    ) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let clock = config.clock.clone();
        let simulator = Simulator::start(config).await.expect("the simulator starts");
        let tenant = simulator.tenant();
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let place = StorePlace::kept_in(folder.path()).await;
        QueuePlace::kept_in(folder.path());
        let process = Process::start(folder.path(), &clock, anywhere).await;
        let (store, queue) = (process.store.clone(), process.queue.clone());
        let connection = store.add_connection(connection(&tenant)).await.expect("the connection is added");
        let public_url = Url::parse(&format!("http://{}", process.addr())).expect("an address is a URL");
        let process = Some(process);
        let mut world =
            Self { simulator, tenant, clock, store, queue, connection, public_url, process, folder, _place: place };
        world.start_worker();
        world
    }

    /// Starts a worker; the one before must have been stopped.
    pub fn start_worker(&mut self) {
        let config = self.worker_config();
        self.process.as_mut().expect("the process lives").start_worker(config);
    }

    /// So many more workers beside the one that runs.
    pub fn reinforce(&mut self, workers: usize) {
        for _ in 0..workers {
            let config = self.worker_config();
            self.process.as_mut().expect("the process lives").add_worker(config);
        }
    }

    fn worker_config(&self) -> WorkerConfig {
        WorkerConfig {
            graph: graph_settings(&self.simulator),
            public_url: Some(self.public_url.clone()),
            ..WorkerConfig::default()
        }
    }

    /// Stops the worker: hints wait in the queue.
    pub async fn stop_worker(&mut self) {
        self.process.as_mut().expect("the process lives").stop_worker().await;
    }

    /// Ends worker, receiver and queue wherever they are, as kill -9 does, and starts them anew on the same files and at
    /// the same address.
    pub async fn crash_worker(&mut self) {
        let addr = self.process.as_ref().expect("the process lives").addr();
        drop(self.process.take());
        let process = Process::start(self.folder.path(), &self.clock, addr).await;
        (self.store, self.queue) = (process.store.clone(), process.queue.clone());
        self.process = Some(process);
        self.start_worker();
    }

    /// Where the receiver listens.
    pub fn receiver_url(&self) -> &Url {
        &self.public_url
    }

    /// Where the installation's files are.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A group in the tenant.
    pub fn group(&self, name: &str) -> Uuid {
        self.tenant.create_group(NewGroup::named(name))
    }

    /// A person in these groups.
    pub fn hire(&self, name: &str, groups: &[Uuid]) -> Uuid {
        let user = self.tenant.create_user(NewUser::named(name));
        for group in groups {
            self.tenant.add_member(*group, user).expect("the group exists");
        }
        user
    }

    /// Puts rules in force and syncs everyone; waits until the subscriptions stand and nothing is left to do.
    pub async fn map(&self, rules: &[RuleFor]) {
        self.put_in_force(rules).await;
        self.sync().await;
        self.subscribed().await;
        self.settle().await;
    }

    /// Puts rules in force and does nothing else.
    pub async fn put_in_force(&self, rules: &[RuleFor]) {
        self.apply_rules(rules.iter().map(rule).collect(), &Settings::default()).await;
    }

    /// Puts rules in force; nobody is exempt from the brake.
    pub async fn apply_rules(&self, rules: Vec<Rule>, settings: &Settings) {
        let (fields, defaults) = (FieldMap::default(), Defaults::default());
        let applied = self.store.apply_rules(self.connection.id, rules, &fields, &defaults, settings, &[]).await;
        applied.expect("the rules are applied");
    }

    /// A full sync, to its end.
    pub async fn sync(&self) -> TaskView {
        let task = self.store.start_full_sync(self.connection.id).await.expect("the sync starts");
        self.finished(task).await
    }

    /// Waits for a task to end.
    pub async fn finished(&self, task: TaskId) -> TaskView {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let view = self.store.lookup_task(task).await.expect("the store answers").expect("the task is kept");
            if view.state != TaskState::Due {
                return view;
            }
            assert!(Instant::now() < deadline, "the task did not end: {:?}", view.reason);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until both subscriptions stand and the catch-up they ask for is done.
    pub async fn subscribed(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let subscriptions =
                self.store.list_subscriptions(Some(self.connection.id)).await.expect("the store answers");
            let active = subscriptions.iter().filter(|one| one.status == SubscriptionStatus::Active).count();
            let connection = self.connection_now().await;
            if active >= 2 && connection.gap_since.is_none() {
                return;
            }
            assert!(Instant::now() < deadline, "{active} subscriptions stand, gap {:?}", connection.gap_since);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until everything that is due by now is done: notifications delivered, queue empty, no work in hand.
    pub async fn settle(&self) {
        let deadline = Instant::now() + DEADLINE;
        // A delivery on its way from a broker to its consumer is counted by neither.
        let enough = if QueuePlace::is_a_broker() { CALM_WHEN_IDLE } else { 1 };
        let mut calm = 0;
        while calm < enough {
            calm = if self.at_rest().await { calm + 1 } else { 0 };
            if calm < enough {
                assert!(Instant::now() < deadline, "work is left over after {DEADLINE:?}");
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    async fn at_rest(&self) -> bool {
        self.simulator.deliveries_idle().await;
        let queue_is_empty = self.queue_is_empty().await;
        // The order follows the work: what leaves one place is in the next one already.
        let next = answered(|| self.store.next_due_at()).await;
        let in_hand = answered(|| self.store.work_in_hand()).await;
        let next_again = answered(|| self.store.next_due_at()).await;
        let later = |at: Option<Timestamp>| at.is_none_or(|at| at > self.store.now());
        queue_is_empty && in_hand == 0 && later(next) && later(next_again)
    }

    /// Waits until nothing more happens unless the clock moves. Notifications that wait for a retry, or were delayed,
    /// may be left.
    pub async fn quiet(&self) {
        let deadline = Instant::now() + QUIET_WITHIN;
        self.wake();
        let (mut before, mut calm) = (self.traffic(), 0);
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let traffic = self.traffic();
            calm = if traffic == before { calm + 1 } else { 0 };
            before = traffic;
            let idle = timeout(Duration::ZERO, self.simulator.deliveries_idle()).await.is_ok();
            let enough = if idle { CALM_WHEN_IDLE } else { CALM_WHEN_SENDING };
            // The store is asked only when nobody talks any more: most of the time somebody does.
            if calm + 1 >= enough && !self.nothing_due().await {
                calm = 0;
            }
            if calm >= enough && self.traffic() == before {
                return;
            }
            assert!(Instant::now() < deadline, "work is left over after {QUIET_WITHIN:?}: {}", self.left_over().await);
        }
    }

    async fn left_over(&self) -> String {
        let (depth, next) = (self.queue.depth().await.map(|depth| depth.messages), self.store.next_due_at().await);
        let (in_hand, now) = (self.store.work_in_hand().await, self.store.now());
        let connection = self.connection_now().await;
        let (state, reason) = (connection.state, connection.reason);
        format!(
            "queue {depth:?}, in hand {in_hand:?}, next {next:?}, now {now:?}, {state:?} {reason:?}, traffic {:?}",
            self.traffic()
        )
    }

    /// What passed between Microsoft and us so far.
    fn traffic(&self) -> (u64, u64, u64) {
        let counters = self.simulator.counters();
        (counters.total_requests, counters.notifications.posts, counters.notifications.delivered)
    }

    async fn nothing_due(&self) -> bool {
        let queue_is_empty = self.queue_is_empty().await;
        let in_hand = answered(|| self.store.work_in_hand()).await;
        let next = answered(|| self.store.next_due_at()).await;
        queue_is_empty && in_hand == 0 && next.is_none_or(|at| at > self.store.now())
    }

    /// A broker that is busy may not say so in time; then it is asked again.
    async fn queue_is_empty(&self) -> bool {
        match self.queue.depth().await {
            Ok(depth) => depth.messages == 0,
            Err(error) => {
                assert!(QueuePlace::is_a_broker(), "the queue answers: {error}");
                false
            }
        }
    }

    fn wake(&self) {
        self.process.as_ref().expect("the process lives").wake();
    }

    /// Lets simulated time pass, and everything that falls due in it happen.
    pub async fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.wake();
        self.settle().await;
    }

    /// The connection as it is now.
    pub async fn connection_now(&self) -> Connection {
        let found = answered(|| self.store.lookup_connection(self.connection.id)).await;
        found.expect("the connection exists")
    }

    /// The live record linked to a directory user.
    pub async fn record(&self, user: Uuid) -> Option<Record> {
        let ids = [ObjectId(user)];
        let people = answered(|| self.store.load_people(&self.connection, People::Ids(&ids))).await;
        people.into_iter().next().and_then(|person| person.record)
    }

    /// All records.
    pub async fn records(&self) -> Vec<RecordView> {
        let filter = RecordFilter { limit: 100_000, ..RecordFilter::default() };
        answered(|| self.store.list_records(&filter)).await
    }

    /// Stops everything and waits for it.
    pub async fn stop(mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
        self.simulator.stop().await;
    }
}

/// What the store says. A server that has much else to do may not answer in time (FA-08), and is asked again.
async fn answered<T, Asked>(ask: impl Fn() -> Asked) -> T
where
    Asked: Future<Output = Result<T, StoreError>>,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(busy) if matches!(busy.class(), ErrorClass::Transient { .. }) && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(error) => panic!("the store answers: {error:?}"),
        }
    }
}

/// A rule as the store keeps it.
fn rule(short: &RuleFor) -> Rule {
    Rule {
        group: ObjectId(short.group),
        order: short.order,
        kind: short.kind,
        role: Some(short.role.to_owned()),
        permissions: Vec::new(),
        nested: true,
        exclude: false,
        group_name: short.role.to_owned(),
        group_created_at: None,
    }
}

/// A connection to the simulator's tenant, by its client secret.
pub fn connection_to(tenant: &Tenant) -> NewConnection {
    NewConnection {
        name: "contoso".to_owned(),
        tenant_id: ObjectId(tenant.id()),
        domain: tenant.domain(),
        client_id: tenant.client_id().to_string(),
        credential: NewCredential::ClientSecret(SecretString::from(tenant.client_secret())),
        cloud: "global".to_owned(),
        realm: None,
        guests: false,
        match_domains: vec![tenant.domain()],
        test_users: Vec::new(),
    }
}
