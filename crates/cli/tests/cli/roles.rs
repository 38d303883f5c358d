//! `serve --role …`: each role in a process of its own starts only what it needs, says how it is, and stops well
//! (FA-18, FA-20, FA-33).

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lockstep_simulator::Fault;
use serde_json::{Value, json};

use crate::workbench::{SOON, Serving, Team, Workbench, blocking};

/// FA-33: everything in hand is finished or given back in this time.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// A lease lasts 6 s and is looked for every second; the rest is a busy machine.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);

fn readiness(serving: &Serving) -> Value {
    serde_json::from_str(&serving.page("/readyz").expect("it is ready")).unwrap()
}

fn stops_well(serving: Serving) {
    let asked = Instant::now();
    assert_eq!(serving.terminate(), Some(0));
    assert!(asked.elapsed() < STOPS_WITHIN, "it took {:?}", asked.elapsed());
}

fn is_out(records: &[Value], user: uuid::Uuid) -> bool {
    records.iter().any(|it| it["entra_id"] == user.to_string() && it["status"] == "inactive")
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_with_a_role_each_do_the_work_of_one() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        // One public address for all: only the receiver takes it.
        let receiver = bench.serve_role("receiver", "receiver.log");
        let worker = bench.serve_role("worker", "worker.log");
        let renewer = bench.serve_role("renewer", "renewer.log");
        for (serving, role) in [(&receiver, "receiver"), (&worker, "worker"), (&renewer, "renewer")] {
            let ready = readiness(serving);
            assert_eq!((&ready["ready"], &ready["roles"]), (&json!(true), &json!([role])), "{ready:#}");
            for part in ["receiver", "worker", "renewer"] {
                assert_eq!(ready[part], if part == role { "up" } else { "not here" }, "{ready:#}");
            }
            assert!(serving.metric("lockstep_ready") == Some(1.0) && serving.page("/healthz").is_some());
        }

        bench.json(&["connection", "sync", "contoso", "--wait"]);
        bench.wait_for("both subscriptions stand", SOON, || team.tenant.subscriptions().len() == 2);
        let graph = |serving: &Serving| serving.page("/metrics").unwrap().contains("lockstep_graph_requests_total");
        assert!(graph(&worker) && !graph(&receiver), "a receiver asks Microsoft nothing");
        let installation = |serving: &Serving| serving.metric("lockstep_people{").is_some();
        assert!(installation(&renewer) && !installation(&worker) && !installation(&receiver));
        assert_eq!((renewer.metric("lockstep_lease_held"), worker.metric("lockstep_lease_held")), (Some(1.0), None));

        team.tenant.patch_user(team.ada, json!({ "accountEnabled": false })).unwrap();
        bench.wait_for_records("Ada is out", |records| is_out(records, team.ada));
        assert!(receiver.metric("lockstep_ingest_accepted_items_total").is_some_and(|items| items >= 1.0));
        assert!(worker.page("/metrics").unwrap().contains("lockstep_lag_seconds_bucket{connection="));
        bench.wait_for("the renewer shows who is in", SOON, || {
            renewer.page("/metrics").unwrap().lines().any(|line| {
                line.starts_with("lockstep_people{") && line.contains("status=\"inactive\"") && line.ends_with(" 1")
            })
        });
        [receiver, worker, renewer].into_iter().for_each(stops_well);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fa_33_what_a_stopped_worker_had_in_hand_is_done_by_another_at_once() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let (receiver, renewer) =
            (bench.serve_role("receiver", "receiver.log"), bench.serve_role("renewer", "renewer.log"));
        let first = bench.serve_role("worker", "first.log");
        bench.json(&["connection", "sync", "contoso", "--wait"]);
        bench.wait_for("both subscriptions stand", SOON, || team.tenant.subscriptions().len() == 2);

        // Microsoft answers too late for the first worker to finish with what it was given.
        let late = |route: &str| Fault { delay_ms: Some(19_000), ..Fault::on(route) };
        team.simulator.set_fault(late("users/{id}"));
        team.simulator.set_fault(late("POST /$batch"));
        let asked = team.simulator.counters().total_requests;
        team.tenant.patch_user(team.ada, json!({ "accountEnabled": false })).unwrap();
        bench.wait_for("the first worker asks", SOON, || team.simulator.counters().total_requests > asked);
        stops_well(first);
        team.simulator.clear_faults();

        let second = bench.serve_role("worker", "second.log");
        let began = Instant::now();
        bench.wait_for_records("Ada is out", |records| is_out(records, team.ada));
        // A lease that was not given back would last up to 15 s.
        assert!(began.elapsed() < Duration::from_secs(5), "it took {:?}", began.elapsed());
        [receiver, renewer, second].into_iter().for_each(stops_well);
    })
    .await;
}

#[test]
fn fa_33_a_stopping_receiver_answers_the_open_request() {
    let bench = Workbench::fresh();
    let receiver = bench.serve_role("receiver", "receiver.log");
    let address = bench.receiver_url();
    let address = address.strip_prefix("http://").unwrap();
    let mut open = TcpStream::connect(address).unwrap();
    open.set_read_timeout(Some(STOPS_WITHIN)).unwrap();
    write!(open, "POST /graph/unknown/notifications HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        .unwrap();
    // Half a request is there before the signal, the rest after it.
    bench.wait_for("it takes the connection", SOON, || receiver.page("/readyz").is_some());
    receiver.ask_to_stop();
    bench.wait_for("it takes no more connections", SOON, || TcpStream::connect(address).is_err());
    write!(open, "Content-Length: 2\r\n\r\n{{}}").unwrap();
    let mut answer = String::new();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(receiver.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fa_20_of_two_renewers_one_works_and_the_other_takes_over() {
    let team = Team::start().await;
    blocking(move || {
        let bench = team.connected();
        let worker = bench.serve_role("worker", "worker.log");
        let leads = |renewer: &Serving| renewer.metric("lockstep_lease_held") == Some(1.0);
        let first = bench.serve_role("renewer", "first.log");
        bench.wait_for("the first one leads", SOON, || leads(&first));
        let second = bench.serve_role("renewer", "second.log");
        bench.wait_for("the second one waits", SOON, || second.metric("lockstep_lease_held") == Some(0.0));
        let fence = first.metric("lockstep_lease_fence").unwrap();

        stops_well(first);
        bench.wait_for("the second one leads", TAKEN_OVER_WITHIN, || leads(&second));
        assert!(second.metric("lockstep_lease_fence").unwrap() > fence);
        let third = bench.serve_role("renewer", "third.log");
        bench.wait_for("the third one waits", SOON, || third.metric("lockstep_lease_held") == Some(0.0));
        second.kill();
        bench.wait_for("the third one leads", TAKEN_OVER_WITHIN, || leads(&third));
        bench.json(&["connection", "sync", "contoso", "--wait"]);
        bench.wait_for("it seals", TAKEN_OVER_WITHIN, || bench.json(&["audit", "verify"])["unsealed"] == 0);
        assert_eq!(bench.json(&["audit", "verify"])["broken"], Value::Null);
        [worker, third].into_iter().for_each(stops_well);
    })
    .await;
}
