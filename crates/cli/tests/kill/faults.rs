//! FA-05 to FA-27 with a process per role on a real PostgreSQL and RabbitMQ, as far as kill.rs and services.rs do not show
//! them already.

use std::process::Stdio;
use std::time::{Duration, Instant};

use lockstep_testkit::{OwnPostgres, OwnRabbit};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::number;
use crate::plant::{
    ANSWERED_WITHIN, APPLIED_WITHIN, BACK_WITHIN, Plant, RECEIVER, RENEWER, TAKEN_OVER_WITHIN, WORKERS, make_database,
    settings,
};
use crate::points::{Moment, POINTS};
use crate::stand::{Chance, Stand};
use crate::workbench::{SOON, Workbench, blocking};

const QUEUE: &str = "lockstep.hints.v1";
const FULL_SYNCS: &str = "SELECT count(*) FROM task WHERE kind = 'full_sync'";
/// Whoever is killed hangs up, whoever is stopped does not: RabbitMQ gives what it sent them to somebody else after up to three
/// heartbeats of 8 s; then `t_hint` (10 s).
const SILENCE_NOTICED_WITHIN: Duration = Duration::from_secs(40);
/// FA-10: 30 s, and `t_hint` (10 s).
const WRITABLE_AGAIN_WITHIN: Duration = Duration::from_secs(40);

/// FA-05, FA-06, BI-27: hints wait in a queue that somebody deletes; nothing is accepted into nowhere, and what was lost is
/// found by comparing everybody.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_05_06_a_deleted_queue_is_made_anew_and_what_it_held_is_found_again() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        plant.capture();
        WORKERS.into_iter().for_each(|worker| plant.kill(worker));
        plant.changes(5);
        assert_eq!(plant.post().0, 202);
        let compared = plant.number(FULL_SYNCS);
        delete_queue(&plant);
        plant.is_back_within(BACK_WITHIN);
        WORKERS.into_iter().for_each(|worker| plant.start(worker));
        plant.compares_after(compared);
        plant.agrees_within("FA-05: what was lost is found", SOON);

        // Under consumers, too.
        let restarts = plant.total("lockstep_queue_consumer_restarts_total");
        let compared = plant.number(FULL_SYNCS);
        delete_queue(&plant);
        plant.is_back_within(BACK_WITHIN);
        plant.stand.wait_for("FA-06: subscribed again", BACK_WITHIN, || {
            let again = plant.total("lockstep_queue_consumer_restarts_total") > restarts;
            match again && plant.process(WORKERS[0]).page("/readyz").is_some() {
                true => Ok(()),
                false => Err("not yet".to_owned()),
            }
        });
        plant.compares_after(compared);
        let before = plant.stand.simulator.counters().notifications.delivered;
        plant.changes(5);
        plant.agrees_within("changes are applied as before", APPLIED_WITHIN);
        plant.stand.wait_for("notifications to be accepted as before", SOON, || {
            let delivered = plant.stand.simulator.counters().notifications.delivered;
            if delivered > before { Ok(()) } else { Err("none was".to_owned()) }
        });
    })
    .await;
}

impl Plant {
    /// There are more full syncs than these.
    fn compares_after(&self, before: i64) {
        self.stand.wait_for("FA-05: everybody to be compared", SOON, || match self.number(FULL_SYNCS) {
            now if now > before => Ok(()),
            now => Err(format!("{now} full syncs")),
        });
    }
}

fn delete_queue(plant: &Plant) {
    let deleted = Handle::current().block_on(plant.rabbit.control(&["delete_queue", QUEUE]));
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
}

/// FA-08, FA-18: a worker that is stopped, perhaps inside a transaction, keeps nothing from the others; when it goes on, its
/// old work does no harm (G-08).
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_08_18_a_stopped_worker_holds_nobody_up_and_does_no_harm_when_it_goes_on() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let mut chance = Chance::seeded(8);
        for worker in [WORKERS[0], WORKERS[1], WORKERS[0]] {
            plant.change_for(Duration::from_millis(300 + chance.below(500)), &mut chance);
            plant.freeze(worker);
            plant.changes(3);
            plant.agrees_within("FA-18: the other one takes over", SILENCE_NOTICED_WITHIN);
            plant.changes(3);
            plant.thaw(worker);
        }
        plant.stand.balance();
    })
    .await;
}

/// FA-07, FA-08: a database that hangs: notifications are kept in time, and applied when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_08_a_database_that_hangs_delays_no_answer_and_loses_nothing() {
    const HANGS: Duration = Duration::from_secs(8);
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        plant.capture();
        plant.postgres.freeze();
        let until = Instant::now() + HANGS;
        plant.changes(5);
        while Instant::now() < until {
            let (status, took) = plant.post();
            assert!(status == 202 && took < ANSWERED_WITHIN, "{status} after {took:?}");
            std::thread::sleep(HANGS / 40);
        }
        plant.postgres.thaw();
        plant.agrees_within("FA-08: applied after the database goes on", APPLIED_WITHIN);
        plant.stand.balance();
    })
    .await;
}

/// FA-09, G-14: the database commits, and the answer is lost on the way; the work runs again and has no second effect.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_09_a_commit_whose_answer_is_lost_has_its_effect_once() {
    const TIMES: usize = 8;
    let Some((mut plant, proxy)) = Plant::build_behind_a_proxy().await else { return };
    blocking(move || {
        let mut chance = Chance::seeded(9);
        for _ in 0..TIMES {
            proxy.lose_the_answer_to(b"COMMIT");
            plant.change_for(Duration::from_millis(100 + chance.below(300)), &mut chance);
            let lost = || if proxy.has_lost_it() { Ok(()) } else { Err("nobody commits".to_owned()) };
            plant.stand.wait_for("a commit to be cut off", SOON, lost);
        }
        let unknown = plant.total("lockstep_commit_unknown_total");
        assert!(unknown >= 1.0, "of {TIMES} commits nobody noticed that the answer was lost");
        plant.stand.balance();
    })
    .await;
}

/// FA-10: a database that takes no writes (as one whose disk is full): hints are kept, Microsoft is not asked in a storm, and
/// afterwards all is applied.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_10_a_database_that_takes_no_writes_loses_nothing_and_starts_no_storm() {
    const LASTS: Duration = Duration::from_secs(6);
    /// Two loops of retries a second for each process would be as many.
    const MOST_REQUESTS: u64 = 48;
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        plant.capture();
        plant.as_its_admin(&["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"]);
        let before = plant.stand.simulator.counters().total_requests;
        let until = Instant::now() + LASTS;
        plant.changes(5);
        while Instant::now() < until {
            let (status, took) = plant.post();
            assert!((status == 202 || status == 503) && took < ANSWERED_WITHIN, "{status} after {took:?}");
            std::thread::sleep(LASTS / 20);
        }
        let asked = plant.stand.simulator.counters().total_requests - before;
        assert!(asked < MOST_REQUESTS, "FA-10: {asked} requests while nothing could be written");
        plant.as_its_admin(&["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"]);
        plant.agrees_within("FA-10: applied once it takes writes again", WRITABLE_AGAIN_WITHIN);
        plant.stand.balance();
    })
    .await;
}

/// FA-17: the best of a few tries counts, for the machine has other work.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_17_a_killed_receiver_accepts_two_seconds_after_its_restart() {
    const ACCEPTS_WITHIN: Duration = Duration::from_secs(2);
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        plant.capture();
        let restarted = |_| {
            plant.kill(RECEIVER);
            let began = Instant::now();
            plant.start(RECEIVER);
            plant.is_back_within(BACK_WITHIN);
            began.elapsed()
        };
        let took = (0..4).map(restarted).min().unwrap();
        assert!(took < ACCEPTS_WITHIN, "FA-17: {took:?}");
        plant.stand.balance();
    })
    .await;
}

/// FA-19: kill -9 between Graph's create and our save, and at every point of a renewal.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_19_killed_while_subscribing_and_renewing_nothing_is_lost() {
    let (Some(postgres), Some(rabbit)) = (OwnPostgres::start().await, OwnRabbit::start().await) else { return };
    make_database(&postgres).await;
    let mut stand = Stand::build_on(&settings(postgres.addr(), &rabbit)).await;
    blocking(move || {
        stand.die_at("subscription.created", Moment::Subscribing);
        stand.settle();
        for (name, _) in POINTS.iter().filter(|(_, of)| *of == Moment::Renewal) {
            stand.die_at(name, Moment::Renewal);
        }
        stand.conclude();
    })
    .await;
}

/// FA-20: of two renewers one leads; it is killed, the other one goes on under a higher fence, and nothing is created twice.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_20_a_second_renewer_takes_over_and_creates_nothing_twice() {
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        let second = plant.stand.bench.serve_role("renewer", "second-renewer.log");
        let waits = || match second.metric("lockstep_lease_held") {
            Some(0.0) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        plant.stand.wait_for("the second one to wait", SOON, waits);
        let fence = plant.process(RENEWER).metric("lockstep_lease_fence").unwrap();
        plant.kill(RENEWER);
        let leads = || match second.metric("lockstep_lease_held") {
            Some(1.0) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        plant.stand.wait_for("FA-20: the second one to lead", TAKEN_OVER_WITHIN, leads);
        assert!(second.metric("lockstep_lease_fence").unwrap() > fence);
        plant.start(RENEWER);
        plant.changes(5);
        plant.stand.balance();
        assert_eq!(plant.stand.tenant.subscriptions().len(), 2);
    })
    .await;
}

/// FA-24, FA-27, BI-45: messages that nobody can read are parked, and the queue goes on.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_24_27_unreadable_messages_are_parked_and_the_queue_goes_on() {
    const UNREADABLE: [&str; 3] = ["not a hint", "{\\\"version\\\":99}", ""];
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        plant.stand.balance();
        for body in UNREADABLE {
            let publish = format!(
                "rabbit_basic:publish(rabbit_misc:r(<<\"/\">>, exchange, <<\"\">>), <<\"{QUEUE}\">>, [], <<\"{body}\">>)."
            );
            let done = Handle::current().block_on(plant.rabbit.control(&["eval", &publish]));
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        plant.changes(5);
        plant.agrees_within("FA-24: the queue goes on", APPLIED_WITHIN);
        plant.stand.wait_for("FA-27: each of them to be parked", SOON, || {
            let events = plant.stand.bench.json(&["event", "list", "--limit", "100000"]);
            let parked = |event: &&Value| event["status"] == "parked";
            match events.as_array().unwrap().iter().filter(parked).count() {
                3 => Ok(()),
                other => Err(format!("{other} are parked")),
            }
        });
    })
    .await;
}

/// FA-25, BI-24: what piled up about one person while no worker was there is one piece of work, in bounded memory. Of a larger
/// backlog the rest is about people whom nobody knows.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_25_a_backlog_about_one_person_is_worked_off_by_few_reads() {
    const POSTS: u64 = 1_500;
    const OPEN: &str = "SELECT count(*) FROM event WHERE status IN ('in_work', 'waiting')";
    /// A read per hint would be as many; delta rounds and settles of the time are in it.
    const MOST_REQUESTS: u64 = 300;
    const MOST_MEMORY_KIB: u64 = 400 * 1024;
    let backlog = number("LOCKSTEP_PROVE_BACKLOG", POSTS);
    let items = usize::try_from(backlog.div_ceil(POSTS)).unwrap();
    let Some(mut plant) = Plant::build().await else { return };
    blocking(move || {
        plant.capture();
        WORKERS.into_iter().for_each(|worker| plant.kill(worker));
        let posts = backlog.div_ceil(items as u64);
        for _ in 0..posts {
            assert_eq!(plant.post_many(items), 202);
        }
        let (before, began) = (plant.stand.simulator.counters().total_requests, Instant::now());
        WORKERS.into_iter().for_each(|worker| plant.start(worker));
        let (accepted, mut most_memory) = (i64::try_from(posts).unwrap() * items as i64, 0);
        let patience = SOON + Duration::from_millis(backlog * 2);
        while plant.number("SELECT count(*) FROM event") < accepted || plant.number(OPEN) > 0 {
            assert!(
                began.elapsed() < patience,
                "FA-25: {} events, {} open",
                plant.number("SELECT count(*) FROM event"),
                plant.number(OPEN)
            );
            most_memory = WORKERS.map(|worker| plant.memory(worker)).into_iter().fold(most_memory, u64::max);
            std::thread::sleep(Duration::from_millis(500));
        }
        println!("FA-25: {accepted} hints in {:?}, at most {most_memory} KiB", began.elapsed());
        plant.stand.balance();
        let asked = plant.stand.simulator.counters().total_requests - before;
        assert!(
            asked < MOST_REQUESTS + backlog / 1_000,
            "FA-25: {asked} requests for {accepted} hints about one person"
        );
        for worker in WORKERS {
            most_memory = most_memory.max(plant.memory(worker));
        }
        assert!(most_memory < MOST_MEMORY_KIB, "{most_memory} KiB");
    })
    .await;
}

/// FA-27, G-29: `lockstep migrate` is killed wherever it is and run again.
#[tokio::test(flavor = "multi_thread")]
async fn services_fa_27_a_killed_migration_is_run_again() {
    let Some(postgres) = OwnPostgres::start().await else { return };
    make_database(&postgres).await;
    blocking(move || {
        let bench = Workbench::fresh();
        let at = postgres.addr();
        bench.write(
            "lockstep.toml",
            &format!(
                "store_url = \"postgres://ls_app:app@{at}/lockstep\"\nmigrate_url = \"postgres://ls_owner:own@{at}/lockstep\"\n"
            ),
        );
        let mut killed = 0;
        for after in [5, 20, 40, 60, 80, 100, 130, 160, 200, 250] {
            let mut command = bench.command();
            let quiet = command.arg("migrate").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut migrating = quiet.spawn().unwrap();
            std::thread::sleep(Duration::from_millis(after));
            killed += usize::from(migrating.try_wait().unwrap().is_none());
            migrating.kill().unwrap();
            migrating.wait().unwrap();
        }
        assert!(killed > 0, "it was over each time");
        let migrated = bench.run(&["migrate"]);
        assert_eq!(migrated.code, 0, "{}", migrated.stderr);
        assert_eq!(bench.json(&["connection", "list"]), Value::Array(Vec::new()));
    })
    .await;
}
