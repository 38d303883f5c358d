//! One simulated tenant, one store, one queue, one worker, one clock.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lockstep_core::field::FieldMap;
use lockstep_core::hint::{Claim, Hint, HintMessage, MemberHint, Subject, VERSION};
use lockstep_core::record::{Kind, Reason, Record, Status};
use lockstep_core::rule::Rule;
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::timing::Timing;
use lockstep_core::{ObjectId, RecordId, SubscriptionId};
use lockstep_queue::{Queue, QueueUrl};
use lockstep_simulator::{NewGroup, NewUser, SimClock, Simulator, SimulatorConfig, Tenant};
use lockstep_store::view::event::{EventFilter, EventStatus, EventSums, EventView};
use lockstep_store::view::hold::{HoldFilter, HoldView};
use lockstep_store::view::review::{ReviewFilter, ReviewView};
use lockstep_store::{
    Clock, Connection, NewConnection, NewCredential, People, Store, StoreConfig, SyncProgress, TaskState,
};
use lockstep_worker::{GraphSettings, RunningWorker, WorkerConfig};
use secrecy::SecretString;
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use crate::store_place::StorePlace;

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct World {
    pub sim: Simulator,
    pub tenant: Tenant,
    pub store: Store,
    pub queue: Queue,
    pub connection: Connection,
    worker: Option<RunningWorker>,
    place: StorePlace,
    _folder: TempDir,
}

impl World {
    /// A tenant, a connection to it, nobody at work, no rules.
    pub async fn open() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let sim =
            Simulator::start(SimulatorConfig { clock: SimClock::real(), ..SimulatorConfig::default() }).await.unwrap();
        let tenant = sim.tenant();
        let folder = TempDir::new().unwrap();
        let clock = sim.clock();
        let place = StorePlace::new(folder.path()).await;
        let store = Store::open(StoreConfig {
            url: place.url().to_owned(),
            key_file: folder.path().join("key"),
            clock: Clock::following(Arc::new(move || clock.now_micros())),
            timing: Timing::default(),
        })
        .await
        .unwrap();
        let queue = Queue::open(&QueueUrl::Embedded(folder.path().join("queue.db"))).await.unwrap();
        let connection = store.add_connection(connection_to(&tenant)).await.unwrap();
        Self { sim, tenant, store, queue, connection, worker: None, place, _folder: folder }
    }

    /// A tenant with one group that makes its members employees; synced, and at work.
    pub async fn with_staff() -> (Self, Uuid) {
        let mut world = Self::open().await;
        let staff = world.group("Staff");
        world.apply(vec![employees(staff)]).await;
        world.work();
        world.sync().await;
        (world, staff)
    }

    /// Of a store that is one.
    pub fn store_file(&self) -> Option<PathBuf> {
        self.place.url().strip_prefix("sqlite://").map(PathBuf::from)
    }

    pub fn group(&self, name: &str) -> Uuid {
        self.tenant.create_group(NewGroup::named(name))
    }

    /// A person who is in these groups; nobody is told.
    pub fn hire(&self, name: &str, groups: &[Uuid]) -> Uuid {
        self.add(NewUser::named(name), groups)
    }

    pub fn add(&self, user: NewUser, groups: &[Uuid]) -> Uuid {
        let user = self.tenant.create_user(user);
        for group in groups {
            self.tenant.add_member(*group, user).unwrap();
        }
        user
    }

    pub async fn apply(&self, rules: Vec<Rule>) {
        self.apply_with(rules, Settings::default(), &[]).await;
    }

    pub async fn apply_with(&self, rules: Vec<Rule>, settings: Settings, confirmed: &[RecordId]) {
        let (fields, defaults) = (FieldMap::default(), Defaults::default());
        self.store.apply_rules(self.connection.id, rules, &fields, &defaults, &settings, confirmed).await.unwrap();
    }

    pub fn config(&self) -> WorkerConfig {
        WorkerConfig { graph: self.graph(), ..WorkerConfig::default() }
    }

    pub fn graph(&self) -> GraphSettings {
        let url: Url = self.sim.url().parse().unwrap();
        GraphSettings { graph_url: Some(url.clone()), login_url: Some(url) }
    }

    pub fn work(&mut self) {
        self.work_as(self.config());
    }

    pub fn work_as(&mut self, config: WorkerConfig) {
        self.worker = Some(lockstep_worker::start(config, self.store.clone(), self.queue.clone()));
    }

    pub async fn rest(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.stop().await;
        }
    }

    /// A full sync to its end, and everything it made due.
    pub async fn sync(&self) -> SyncProgress {
        let task = self.store.start_full_sync(self.connection.id).await.unwrap();
        let until = Instant::now() + PATIENCE;
        let progress = loop {
            let view = self.store.lookup_task(task).await.unwrap().unwrap();
            match view.state {
                TaskState::Done => break view.progress,
                TaskState::Failed => panic!("the sync failed: {:?}", view.reason),
                TaskState::Due => assert!(Instant::now() < until, "the sync does not end: {:?}", view.reason),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        self.settled().await;
        progress
    }

    /// Says that something about this user changed.
    pub async fn notify(&self, user: Uuid) {
        self.publish(vec![Subject::User { id: ObjectId(user), claim: Claim::Changed }]).await;
    }

    /// Says who joined and who left a group.
    pub async fn notify_members(&self, group: Uuid, members: &[(Uuid, bool)]) {
        let members = members.iter().map(|(id, removed)| MemberHint { id: ObjectId(*id), removed: *removed }).collect();
        let id = ObjectId(group);
        self.publish(vec![Subject::Group { id, claim: Claim::Changed, members, truncated: false }]).await;
    }

    pub async fn publish(&self, subjects: Vec<Subject>) {
        let subscription = SubscriptionId(Uuid::now_v7());
        let items = subjects.into_iter().map(|subject| Hint { subscription, subject }).collect();
        let message = HintMessage {
            version: VERSION,
            id: Uuid::now_v7(),
            connection: self.connection.id,
            received_at: self.store.now(),
            items,
        };
        self.queue.publish(&message).await.unwrap();
    }

    /// Tells the worker and waits until it has dealt with it.
    pub async fn told(&self, user: Uuid) {
        self.notify(user).await;
        self.settled().await;
    }

    /// Moves the clock and waits until everything that fell due is done.
    pub async fn later(&self, span: Duration) {
        self.sim.clock().advance(span);
        self.settled().await;
    }

    /// Waits until every event has a status other than "in work" and nothing is due.
    pub async fn settled(&self) {
        self.at_rest(true).await;
    }

    /// Waits until nothing is queued or due now; of a connection in trouble nothing is.
    pub async fn waited(&self) {
        self.at_rest(false).await;
    }

    /// Between the queue and the rows, and between a claim and its work, things show nowhere: quiet must last a moment.
    async fn at_rest(&self, all_decided: bool) {
        let mut quiet = 0;
        eventually("the worker does not come to rest", async || {
            let queued = self.queue.depth().await.unwrap().messages;
            let due = self.store.next_due_at().await.unwrap();
            let in_work = if all_decided { self.ledger().await.in_work } else { 0 };
            let in_hand = self.store.work_in_hand().await.unwrap();
            let busy = queued > 0 || in_work > 0 || in_hand > 0 || due.is_some_and(|at| at <= self.store.now());
            quiet = if busy { 0 } else { quiet + 1 };
            quiet > 15
        })
        .await;
    }

    pub async fn record(&self, user: Uuid) -> Option<Record> {
        let connection = self.reload().await;
        let people = self.store.load_people(&connection, People::Ids(&[ObjectId(user)])).await.unwrap();
        people.into_iter().next().and_then(|person| person.record)
    }

    pub async fn status(&self, user: Uuid) -> Option<Status> {
        self.record(user).await.map(|record| record.status)
    }

    pub async fn reasons(&self, user: Uuid) -> Vec<Reason> {
        self.record(user).await.unwrap().reasons.into_iter().collect()
    }

    /// Whether the mirror keeps a row of this user.
    pub async fn mirrors(&self, user: Uuid) -> bool {
        let people = self.store.load_people(&self.connection, People::Ids(&[ObjectId(user)])).await.unwrap();
        !people.is_empty()
    }

    pub async fn active(&self) -> usize {
        let connection = self.reload().await;
        let people = self.store.load_people(&connection, People::After(None, 100_000)).await.unwrap();
        people
            .iter()
            .filter(|person| person.record.as_ref().is_some_and(|record| record.status == Status::Active))
            .count()
    }

    pub async fn reload(&self) -> Connection {
        self.store.lookup_connection(self.connection.id).await.unwrap().unwrap()
    }

    pub async fn ledger(&self) -> EventSums {
        self.store.ledger(self.connection.id).await.unwrap()
    }

    pub async fn events(&self, status: EventStatus) -> Vec<EventView> {
        let filter = EventFilter { status: Some(status), limit: 1000, ..EventFilter::default() };
        self.store.list_events(&filter).await.unwrap()
    }

    pub async fn holds(&self) -> Vec<HoldView> {
        self.store.list_holds(&HoldFilter { limit: 100, ..HoldFilter::default() }).await.unwrap()
    }

    pub async fn reviews(&self) -> Vec<ReviewView> {
        self.store.list_reviews(&ReviewFilter { limit: 1000, ..ReviewFilter::default() }).await.unwrap()
    }

    /// HTTP requests to Graph on this route since the last reset.
    pub fn requests(&self, route: &str) -> u64 {
        self.sim.counters().requests.get(route).copied().unwrap_or(0)
    }
}

/// Polls until it holds; fails with `what` when it never does.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

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

/// Members become employees, nested ones too.
pub fn employees(group: Uuid) -> Rule {
    rule(group, 10, Kind::Employee, "staff")
}

pub fn rule(group: Uuid, order: i64, kind: Kind, role: &str) -> Rule {
    Rule {
        group: ObjectId(group),
        order,
        kind,
        role: Some(role.to_owned()),
        permissions: Vec::new(),
        nested: true,
        exclude: false,
        group_name: role.to_owned(),
        group_created_at: None,
    }
}

pub const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}
