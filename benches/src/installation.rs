//! `lockstep serve` as a process of its own beside the simulator, which lives in the measuring process: what is counted
//! of the one holds nothing of the other.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep_core::ObjectId;
use lockstep_core::field::FieldMap;
use lockstep_core::record::{Kind, Record};
use lockstep_core::rule::Rule;
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::timing::Timing;
use lockstep_simulator::{Simulator, SimulatorConfig};
use lockstep_store::{Clock, Connection, People, Store, StoreConfig, SubscriptionStatus, TaskState, TaskView};
use lockstep_testkit::connection_to;
use tempfile::TempDir;
use uuid::Uuid;

use crate::cost::{Cost, peak_mib};

const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Longer than anything measured here takes.
const PATIENCE: Duration = Duration::from_secs(1_200);

/// One connection, one process, one folder; stopped and removed when dropped.
pub struct Installation {
    /// Microsoft.
    pub simulator: Simulator,
    /// The store, opened a second time to look into it.
    pub store: Store,
    /// The only connection.
    pub connection: Connection,
    serve: Child,
    _folder: TempDir,
}

impl Installation {
    /// Connected; nobody in the tenant, no rules. `timing` is what stands under `[timing]` of `lockstep.toml`.
    pub async fn start(timing: &str) -> Self {
        let simulator = Simulator::start(SimulatorConfig::default()).await.expect("the simulator starts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("lockstep.toml"), format!("[timing]\n{timing}\n")).expect("settings");
        let serve = serve(folder.path(), &simulator.url());
        let store = opened(folder.path()).await;
        let connection =
            store.add_connection(connection_to(&simulator.tenant())).await.expect("the connection is added");
        Self { simulator, store, connection, serve, _folder: folder }
    }

    /// What `serve` cost so far.
    pub fn cost(&self) -> Cost {
        Cost::of(self.serve.id())
    }

    /// The most memory `serve` held so far, MiB.
    pub fn peak_mib(&self) -> f64 {
        peak_mib(self.serve.id())
    }

    /// Each of these groups gives access.
    pub async fn map(&self, groups: &[Uuid]) {
        let rules = (10..).zip(groups).map(|(order, group)| rule(order, *group)).collect();
        let (fields, defaults, settings) = (FieldMap::default(), Defaults::default(), Settings::default());
        let applied = self.store.apply_rules(self.connection.id, rules, &fields, &defaults, &settings, &[]).await;
        applied.expect("the rules are applied");
    }

    /// A full sync, to its end.
    pub async fn sync(&self) -> TaskView {
        let task = self.store.start_full_sync(self.connection.id).await.expect("the sync starts");
        let began = Instant::now();
        loop {
            let view = self.store.lookup_task(task).await.expect("the store answers").expect("the task is kept");
            if view.state != TaskState::Due {
                return view;
            }
            self.wait(began, "the sync").await;
        }
    }

    /// Until both subscriptions stand and nothing is due any more.
    pub async fn subscribed_and_at_rest(&self) {
        let began = Instant::now();
        loop {
            let all = self.store.list_subscriptions(Some(self.connection.id)).await.expect("the store answers");
            if all.iter().filter(|one| one.status == SubscriptionStatus::Active).count() >= 2 {
                break;
            }
            self.wait(began, "the subscriptions").await;
        }
        self.at_rest().await;
    }

    /// Until nothing is due by now and nobody has anything in hand.
    pub async fn at_rest(&self) {
        let began = Instant::now();
        loop {
            let next = self.store.next_due_at().await.expect("the store answers");
            let in_hand = self.store.work_in_hand().await.expect("the store answers");
            if in_hand == 0 && next.is_none_or(|at| at > self.store.now()) {
                return;
            }
            self.wait(began, "rest").await;
        }
    }

    /// The record of somebody.
    pub async fn record(&self, user: Uuid) -> Option<Record> {
        let ids = [ObjectId(user)];
        let people = self.store.load_people(&self.connection, People::Ids(&ids)).await.expect("the store answers");
        people.into_iter().next().and_then(|person| person.record)
    }

    /// A little while, but not for ever.
    pub async fn wait(&self, began: Instant, what: &str) {
        assert!(began.elapsed() < PATIENCE, "{what} did not come within {PATIENCE:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = self.serve.kill();
        let _ = self.serve.wait();
    }
}

/// The binary stands beside this one.
fn serve(folder: &Path, graph: &str) -> Child {
    let here = std::env::current_exe().expect("this program has a path");
    let receiver = free_address();
    Command::new(here.with_file_name("lockstep"))
        .arg("serve")
        .current_dir(folder)
        .env("LOCKSTEP_GRAPH_URL", graph)
        .env("LOCKSTEP_LOGIN_URL", graph)
        .env("LOCKSTEP_PUBLIC_URL", format!("http://{receiver}"))
        .env("LOCKSTEP_PUBLIC_BIND", &receiver)
        .env("LOCKSTEP_ADMIN_BIND", free_address())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("lockstep stands beside this program: cargo build --release -p lockstep-cli -p lockstep-benches")
}

/// An address nobody listens on.
pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

async fn opened(folder: &Path) -> Store {
    let data = folder.join("lockstep-data");
    let began = Instant::now();
    // The key is made by whoever comes first; that is `serve`.
    while !data.join("queue.db").exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "lockstep serve does not start");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let config = StoreConfig {
        url: format!("sqlite://{}", data.join("lockstep.db").display()),
        key_file: data.join("key"),
        clock: Clock::system(),
        timing: Timing::default(),
    };
    Store::open(config).await.expect("the store opens")
}

fn rule(order: i64, group: Uuid) -> Rule {
    Rule {
        group: ObjectId(group),
        order,
        kind: Kind::Employee,
        role: Some("Technician".to_owned()),
        permissions: Vec::new(),
        nested: true,
        exclude: false,
        group_name: "Staff".to_owned(),
        group_created_at: None,
    }
}
