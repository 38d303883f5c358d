//! A process per role on a PostgreSQL and a RabbitMQ of the test's own, and what happens when one of them fails.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use lockstep_testkit::{OwnPostgres, OwnRabbit};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::runtime::Handle;

use crate::number;
use crate::stand::{Chance, Stand};
use crate::workbench::{SOON, Serving, blocking};

const RANDOM_KILLS: u64 = 6;
/// `ack_deadline`, and the way to the receiver and back on a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_millis(2_750);
/// FA-01: what a receiver takes that knows.
const REFUSED_WITHIN: Duration = Duration::from_millis(100);
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// FA-04.
const UNBLOCKED_WITHIN: Duration = Duration::from_secs(5);
/// FA-07: 10 s, and `t_hint` (10 s).
const APPLIED_WITHIN: Duration = Duration::from_secs(20);
/// FA-18: a lease of 15 s runs out, and somebody sees it.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);
/// FA-33.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
const ROLES: [&str; 4] = ["receiver", "worker", "worker", "renewer"];
const RECEIVER: usize = 0;
const WORKERS: [usize; 2] = [1, 2];

struct Plant {
    stand: Stand,
    postgres: OwnPostgres,
    rabbit: OwnRabbit,
    /// By place in [`ROLES`].
    serving: [Option<Serving>; 4],
    lives: usize,
    /// A POST as the tenant sent it, byte for byte.
    genuine: Vec<u8>,
}

impl Plant {
    /// Everything runs and agrees; `None` where the servers are not installed.
    async fn build() -> Option<Self> {
        let (postgres, rabbit) = (OwnPostgres::start().await?, OwnRabbit::start().await?);
        make_database(&postgres).await;
        let at = postgres.addr();
        let stand = Stand::build_on(&format!(
            "store_url = \"postgres://ls_app:app@{at}/lockstep\"\nmigrate_url = \"postgres://ls_owner:own@{at}/lockstep\"\n\
             queue_url = \"{}\"\nkey_file = \"key\"\n",
            rabbit.url()
        ))
        .await;
        let mut plant = Self { stand, postgres, rabbit, serving: Default::default(), lives: 0, genuine: Vec::new() };
        let settled = blocking(move || {
            (0..ROLES.len()).for_each(|place| plant.start(place));
            let stand = &plant.stand;
            stand.wait_for("the first sync and both subscriptions", SOON * 2, || {
                stand.agrees().and_then(|()| stand.subscribed())
            });
            plant
        });
        Some(settled.await)
    }

    fn start(&mut self, place: usize) {
        self.lives += 1;
        let log = format!("{}-{place}-{}.log", ROLES[place], self.lives);
        self.serving[place] = Some(self.stand.bench.serve_role(ROLES[place], &log));
    }

    fn kill(&mut self, place: usize) {
        self.serving[place].take().expect("it runs").kill();
    }

    /// Changes things for so long.
    fn change_for(&mut self, span: Duration, chance: &mut Chance) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.stand.change();
            std::thread::sleep(Duration::from_millis(20 + chance.below(80)));
        }
    }

    /// kill -9 of one after the other, which comes again on what it had.
    fn kill_in_turn(&mut self, turn: u64, chance: &mut Chance) {
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
                let place = [RECEIVER, WORKERS[usize::from(turn.is_multiple_of(2))], 3][usize::try_from(role).unwrap()];
                self.kill(place);
                self.change_for(down, chance);
                self.start(place);
            }
        }
    }

    /// Takes a POST of the tenant in the receiver's place; it comes again to the receiver later.
    fn capture(&mut self) {
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
    fn post(&self) -> (u16, Duration) {
        let url = self.stand.bench.receiver_url();
        let begun = Instant::now();
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(BACK_WITHIN)).unwrap();
        stream.write_all(&self.genuine).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        let status = std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap();
        (status, begun.elapsed())
    }

    /// Several in a row are refused, each in time; the middle of how long they took.
    fn all_are_refused(&self) -> Duration {
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

    fn is_back_within(&self, within: Duration) {
        self.stand.wait_for("a POST to be accepted", within, || match self.post() {
            (202, _) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    fn agrees_within(&self, what: &str, within: Duration) {
        self.stand.wait_for(what, within, || self.stand.agrees());
    }

    /// Until the receiver says that it has no queue.
    fn receiver_knows(&self) {
        let receiver = self.serving[RECEIVER].as_ref().expect("it runs");
        let knows = || if receiver.page("/readyz").is_none() { Ok(()) } else { Err("still ready".to_owned()) };
        self.stand.wait_for("the receiver to know", SOON, knows);
    }

    fn changes(&mut self, count: usize) {
        (0..count).for_each(|_| self.stand.change());
    }
}

/// An owner that migrates, and an application role that row-level security binds.
async fn make_database(postgres: &OwnPostgres) {
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

/// G-01, G-14, G-20, FA-01, FA-03, FA-07, FA-17, FA-18: kill -9 of everything there is, in turn.
#[tokio::test(flavor = "multi_thread")]
async fn services_g_01_everything_is_killed_in_turn_and_nothing_is_lost() {
    let (kills, seed) = (number("LOCKSTEP_PROVE_KILLS", RANDOM_KILLS), number("LOCKSTEP_PROVE_SEED", 1));
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let mut chance = Chance::seeded(seed);
        for turn in 0..kills {
            let span = Duration::from_millis(300 + chance.below(1_700));
            plant.change_for(span, &mut chance);
            plant.kill_in_turn(turn, &mut chance);
            if turn % 25 == 24 {
                plant.stand.balance();
            }
        }
        plant.stand.balance();
    })
    .await;
}

/// FA-02, FA-04: a broker that is silent or full; nothing is accepted that it did not confirm.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_02_04_a_silent_or_full_broker_is_a_quick_503_and_soon_over() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let runtime = Handle::current();
        plant.capture();

        plant.rabbit.freeze();
        plant.all_are_refused();
        plant.rabbit.thaw();
        plant.is_back_within(BACK_WITHIN);

        runtime.block_on(plant.rabbit.raise_disk_alarm());
        plant.all_are_refused();
        runtime.block_on(plant.rabbit.clear_disk_alarm());
        plant.is_back_within(UNBLOCKED_WITHIN);
        plant.changes(5);
        plant.stand.balance();
    })
    .await;
}

/// FA-01: a broker that is gone; the rest goes on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "not held yet: a broker that is killed soon after its queue was first declared may confirm nothing afterwards"]
async fn services_fa_01_a_killed_broker_is_a_quick_503_and_soon_over() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let runtime = Handle::current();
        plant.capture();
        runtime.block_on(plant.rabbit.kill());
        plant.receiver_knows();
        let took = plant.all_are_refused();
        assert!(took < REFUSED_WITHIN, "FA-01: refused after {took:?}");
        plant.changes(5);
        plant.agrees_within("FA-01: delta finds the changes without a queue", SOON);
        runtime.block_on(plant.rabbit.start_again());
        plant.is_back_within(BACK_WITHIN);
        plant.changes(5);
        plant.stand.balance();
    })
    .await;
}

/// FA-07: without its database a receiver goes on accepting what it knows; afterwards it is applied.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_07_notifications_are_kept_while_the_database_is_down() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let runtime = Handle::current();
        plant.capture();
        runtime.block_on(plant.postgres.kill());
        let before = plant.stand.simulator.counters().notifications.delivered;
        plant.changes(5);
        for _ in 0..5 {
            let (status, took) = plant.post();
            assert!(status == 202 && took < ANSWERED_WITHIN, "{status} after {took:?}");
        }
        let delivered = || plant.stand.simulator.counters().notifications.delivered;
        let accepted = || if delivered() > before { Ok(()) } else { Err("none was".to_owned()) };
        plant.stand.wait_for("the tenant's own to be accepted", BACK_WITHIN, accepted);
        runtime.block_on(plant.postgres.start_again());
        plant.agrees_within("FA-07: applied after the database is back", APPLIED_WITHIN);
        plant.stand.balance();
    })
    .await;
}

/// FA-18, FA-33: a worker ends in the middle of its work, in bad order and in good order; another one does it.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_18_33_a_workers_work_is_taken_over() {
    const READ: Duration = Duration::from_secs(4);
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let [first, second] = WORKERS;
        // What happens now is taken by the first, for there is no other; then it hangs in reading.
        plant.kill(second);
        plant.stand.simulator.set_latency(READ);
        plant.changes(5);
        std::thread::sleep(READ / 4);
        plant.start(second);
        assert!(plant.stand.agrees().is_err(), "it is still at work");
        plant.kill(first);
        plant.stand.simulator.set_latency(Duration::ZERO);
        plant.agrees_within("FA-18: taken over", TAKEN_OVER_WITHIN);
        plant.start(first);

        plant.stand.simulator.set_latency(READ / 4);
        plant.changes(12);
        let asked = Instant::now();
        assert_eq!(plant.serving[second].take().expect("it runs").terminate(), Some(0));
        assert!(asked.elapsed() < STOPPED_WITHIN, "FA-33: stopped after {:?}", asked.elapsed());
        plant.stand.simulator.set_latency(Duration::ZERO);
        plant.stand.balance();
    })
    .await;
}
