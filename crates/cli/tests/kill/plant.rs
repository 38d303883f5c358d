//! A process per role on a PostgreSQL and a RabbitMQ of the test's own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lockstep_testkit::{OwnPostgres, OwnRabbit, Proxy};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::stand::{Chance, Stand};
use crate::workbench::{SOON, Serving, blocking, free_address};

/// `ack_deadline`, and the way to the receiver and back on a busy machine.
pub const ANSWERED_WITHIN: Duration = Duration::from_millis(2_750);
/// FA-01: what a receiver takes that knows.
pub const REFUSED_WITHIN: Duration = Duration::from_millis(100);
pub const BACK_WITHIN: Duration = Duration::from_secs(10);
/// FA-04.
pub const UNBLOCKED_WITHIN: Duration = Duration::from_secs(5);
/// FA-07: 10 s, and `t_hint` (10 s).
pub const APPLIED_WITHIN: Duration = Duration::from_secs(20);
/// FA-18: a lease of 15 s runs out, and somebody sees it.
pub const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);
/// FA-33.
pub const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// A binary of the version before (or after) this one: the second worker and the renewer are its processes then (G-29).
const OTHER_VERSION: &str = "LOCKSTEP_PROVE_OTHER_VERSION";
const OF_OTHER_VERSION: [usize; 2] = [WORKERS[1], RENEWER];
pub const ROLES: [&str; 4] = ["receiver", "worker", "worker", "renewer"];
pub const RECEIVER: usize = 0;
pub const WORKERS: [usize; 2] = [1, 2];
pub const RENEWER: usize = 3;

pub struct Plant {
    pub stand: Stand,
    pub postgres: OwnPostgres,
    pub rabbit: OwnRabbit,
    /// By place in [`ROLES`].
    pub serving: [Option<Serving>; 4],
    lives: usize,
    /// A POST as the tenant sent it, byte for byte.
    genuine: Vec<u8>,
}

impl Plant {
    /// Everything runs and agrees; `None` where the servers are not installed.
    pub async fn build() -> Option<Self> {
        let (postgres, rabbit) = (OwnPostgres::start().await?, OwnRabbit::start().await?);
        let database = postgres.addr();
        Some(Self::on(postgres, rabbit, database).await)
    }

    /// The same with a network between the processes and their database.
    pub async fn build_behind_a_proxy() -> Option<(Self, Proxy)> {
        let (postgres, rabbit) = (OwnPostgres::start().await?, OwnRabbit::start().await?);
        let proxy = Proxy::start(postgres.addr()).await;
        let plant = Self::on(postgres, rabbit, proxy.addr()).await;
        Some((plant, proxy))
    }

    /// The same with a database and a broker whose disks can be full; `None` also where nothing may be mounted.
    pub async fn build_on_small_disks() -> Option<Self> {
        const MEBIBYTES: u32 = 192;
        let postgres = OwnPostgres::start_on_a_small_disk(MEBIBYTES).await?;
        let rabbit = OwnRabbit::start_on_a_small_disk(MEBIBYTES).await?;
        let database = postgres.addr();
        Some(Self::on(postgres, rabbit, database).await)
    }

    async fn on(postgres: OwnPostgres, rabbit: OwnRabbit, database: SocketAddr) -> Self {
        make_database(&postgres).await;
        let stand = Stand::build_on(&settings(database, &rabbit)).await;
        let mut plant = Self { stand, postgres, rabbit, serving: Default::default(), lives: 0, genuine: Vec::new() };
        let settled = blocking(move || {
            (0..ROLES.len()).for_each(|place| plant.start(place));
            let stand = &plant.stand;
            stand.wait_for("the first sync and both subscriptions", SOON * 2, || {
                stand.agrees().and_then(|()| stand.subscribed())
            });
            plant
        });
        settled.await
    }

    pub fn start(&mut self, place: usize) {
        self.lives += 1;
        let log = format!("{}-{place}-{}.log", ROLES[place], self.lives);
        let other = std::env::var_os(OTHER_VERSION).filter(|_| OF_OTHER_VERSION.contains(&place));
        self.serving[place] = Some(match other {
            Some(program) => self.serve_with(Path::new(&program), ROLES[place], &log),
            None => self.stand.bench.serve_role(ROLES[place], &log),
        });
    }

    /// The same settings, another program.
    fn serve_with(&self, program: &Path, role: &str, log: &str) -> Serving {
        let bench = &self.stand.bench;
        let mut command = Command::new(program);
        command.current_dir(bench.folder.path());
        for (name, value) in bench.command().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        bench.start(command, &["serve", "--role", role], &free_address(), log)
    }

    /// SIGSTOP: it is there, and does nothing.
    pub fn freeze(&self, place: usize) {
        self.signal(place, "-STOP");
    }

    /// SIGCONT: it goes on where it stood.
    pub fn thaw(&self, place: usize) {
        self.signal(place, "-CONT");
    }

    fn signal(&self, place: usize, signal: &str) {
        let sent = Command::new("kill").arg(signal).arg(self.process(place).child.id().to_string()).status();
        assert!(sent.unwrap().success());
    }

    /// KiB in memory.
    pub fn memory(&self, place: usize) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process(place).child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn kill(&mut self, place: usize) {
        self.serving[place].take().expect("it runs").kill();
    }

    pub fn process(&self, place: usize) -> &Serving {
        self.serving[place].as_ref().expect("it runs")
    }

    /// The sum of a metric's series over all processes.
    pub fn total(&self, metric: &str) -> f64 {
        let pages = self.serving.iter().flatten().filter_map(|serving| serving.page("/metrics"));
        let of_page = |page: String| -> f64 {
            let series = page.lines().filter(|line| line.starts_with(metric));
            series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        pages.map(of_page).sum()
    }

    /// A number from the installation's database, past row-level security.
    pub fn number(&self, query: &'static str) -> i64 {
        Handle::current().block_on(async {
            let mut database =
                PgConnection::connect(&self.postgres.url().replace("/postgres", "/lockstep")).await.unwrap();
            sqlx::query_scalar(query).fetch_one(&mut database).await.unwrap()
        })
    }

    /// Something done to the database server.
    pub fn as_its_admin(&self, statements: &[&'static str]) {
        Handle::current().block_on(async {
            let mut server = PgConnection::connect(&self.postgres.url()).await.unwrap();
            for statement in statements {
                sqlx::query(*statement).execute(&mut server).await.unwrap();
            }
        });
    }

    /// Changes things for so long.
    pub fn change_for(&mut self, span: Duration, chance: &mut Chance) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.stand.change();
            std::thread::sleep(Duration::from_millis(20 + chance.below(80)));
        }
    }

    /// kill -9 of one after the other, which comes again on what it had.
    pub fn kill_in_turn(&mut self, turn: u64, chance: &mut Chance) {
        let runtime = Handle::current();
        let down = Duration::from_millis(chance.below(1_500));
        match turn % 5 {
            3 => {
                runtime.block_on(self.rabbit.kill());
                self.change_for(down, chance);
                runtime.block_on(self.rabbit.start_again());
            }
            4 => {
                runtime.block_on(self.postgres.kill());
                self.change_for(down, chance);
                runtime.block_on(self.postgres.start_again());
            }
            role => {
                let place =
                    [RECEIVER, WORKERS[usize::from(turn.is_multiple_of(2))], RENEWER][usize::try_from(role).unwrap()];
                self.kill(place);
                self.change_for(down, chance);
                self.start(place);
            }
        }
    }

    /// Takes a POST of the tenant in the receiver's place; it comes again to the receiver later.
    pub fn capture(&mut self) {
        self.kill(RECEIVER);
        let url = self.stand.bench.receiver_url();
        let listener = TcpListener::bind(url.strip_prefix("http://").unwrap()).unwrap();
        self.stand.change();
        let (mut stream, _) = listener.accept().unwrap();
        self.genuine = request(&mut stream);
        drop((stream, listener));
        self.start(RECEIVER);
        self.is_back_within(BACK_WITHIN);
    }

    /// The status of a genuine POST, and how long it took.
    pub fn post(&self) -> (u16, Duration) {
        let begun = Instant::now();
        let status = self.sent(&self.genuine);
        (status, begun.elapsed())
    }

    fn sent(&self, request: &[u8]) -> u16 {
        let url = self.stand.bench.receiver_url();
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(BACK_WITHIN)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
    }

    /// The status of a POST with so many genuine items, the first about the person that was captured, the rest about people
    /// whom nobody knows.
    pub fn post_many(&self, items: usize) -> u16 {
        let text = std::str::from_utf8(&self.genuine).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut body: Value = serde_json::from_str(body).unwrap();
        let genuine = body["value"][0].clone();
        let known = genuine["resourceData"]["id"].as_str().unwrap().to_owned();
        let stranger = || genuine.to_string().replace(&known, &Uuid::new_v4().to_string());
        let strangers = (1..items).map(|_| serde_json::from_str(&stranger()).unwrap());
        body["value"] = std::iter::once(genuine.clone()).chain(strangers).collect();
        let body = body.to_string();
        let lines = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
        let head = lines.collect::<Vec<_>>().join("\r\n");
        self.sent(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    }

    /// Several in a row are refused, each in time; the middle of how long they took.
    pub fn all_are_refused(&self) -> Duration {
        let mut took: Vec<Duration> = (0..5)
            .map(|_| {
                let (status, took) = self.post();
                assert_eq!(status, 503, "after {took:?}");
                assert!(took < ANSWERED_WITHIN, "answered after {took:?}");
                took
            })
            .collect();
        took.sort();
        took[2]
    }

    pub fn is_back_within(&self, within: Duration) {
        self.stand.wait_for("a POST to be accepted", within, || match self.post() {
            (202, _) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    pub fn agrees_within(&self, what: &str, within: Duration) {
        self.stand.wait_for(what, within, || self.stand.agrees());
    }

    /// Until the receiver says that it has no queue.
    pub fn receiver_knows(&self) {
        let receiver = self.process(RECEIVER);
        let knows = || if receiver.page("/readyz").is_none() { Ok(()) } else { Err("still ready".to_owned()) };
        self.stand.wait_for("the receiver to know", SOON, knows);
    }

    pub fn changes(&mut self, count: usize) {
        (0..count).for_each(|_| self.stand.change());
    }
}

/// What `lockstep.toml` says of them.
pub fn settings(database: SocketAddr, rabbit: &OwnRabbit) -> String {
    format!(
        "store_url = \"postgres://ls_app:app@{database}/lockstep\"\nmigrate_url = \"postgres://ls_owner:own@{database}/lockstep\"\n\
         queue_url = \"{}\"\nkey_file = \"key\"\n",
        rabbit.url()
    )
}

/// An owner that migrates, and an application role that row-level security binds.
pub async fn make_database(postgres: &OwnPostgres) {
    let mut server = PgConnection::connect(&postgres.url()).await.unwrap();
    for statement in [
        "CREATE ROLE ls_owner LOGIN PASSWORD 'own'",
        "CREATE ROLE ls_app LOGIN PASSWORD 'app'",
        "CREATE DATABASE lockstep OWNER ls_owner",
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut server).await.unwrap();
    }
    server.close().await.unwrap();
}

/// The whole of a request with a `Content-Length`.
fn request(stream: &mut TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert_ne!(read, 0, "the tenant hung up");
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        if body.len() >= length.trim().parse().unwrap() {
            return bytes;
        }
    }
}
