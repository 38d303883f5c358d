//! BI-60, G-27: a secret and a person that stand in every field that comes in are found in no log line (every level of our
//! crates), no metric, no error body, no span and nowhere in the queue.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use lockstep_simulator::{Fault, NewUser};
use lockstep_store::{Clock, Store, StoreConfig};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::workbench::{SOON, Team, Workbench, blocking};

/// Nothing else on earth is called so.
const SECRET: &str = "Qz7CanarySecret0f5b";
const PERSON: &str = "Xanthippe";
const FAMILY: &str = "Quillfeather";
const ALL: [&str; 3] = ["canarysecret", "xanthippe", "quillfeather"];

/// What Microsoft posted, forwarded to the receiver: from it authentic notifications are made.
#[derive(Clone)]
struct Overheard {
    receiver: String,
    bodies: Arc<Mutex<Vec<Value>>>,
}

#[expect(clippy::disallowed_methods, reason = "this client plays the reverse proxy, and is not ours")]
async fn forward(State(overheard): State<Overheard>, uri: Uri, body: Bytes) -> (StatusCode, String) {
    overheard.bodies.lock().unwrap().extend(serde_json::from_slice(&body));
    let url = format!("{}{uri}", overheard.receiver);
    let json = ("content-type", "application/json");
    let sent = reqwest::Client::new().post(url).header(json.0, json.1).body(body).send().await;
    let Ok(answer) = sent else { return (StatusCode::BAD_GATEWAY, String::new()) };
    (answer.status(), answer.text().await.unwrap_or_default())
}

impl Overheard {
    async fn start(receiver: String) -> (Self, String) {
        let overheard = Self { receiver, bodies: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().fallback(forward).with_state(overheard.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (overheard, url)
    }

    /// An authentic item about a user.
    fn item(&self) -> Option<Value> {
        let bodies = self.bodies.lock().unwrap();
        let mut items = bodies.iter().flat_map(|body| body["value"].as_array().cloned().unwrap_or_default());
        items.find(|item| item["resource"].as_str().is_some_and(|resource| resource.starts_with("Users/")))
    }
}

fn canary_user() -> NewUser {
    let local = format!("{PERSON}.{FAMILY}").to_lowercase();
    let mut user = NewUser::named(&format!("{PERSON} {FAMILY}"));
    user.mail = Some(local);
    for property in ["jobTitle", "department", "officeLocation", "companyName", "employeeId", "mobilePhone", "city"] {
        user = user.with(property, format!("{PERSON} {property} {SECRET}"));
    }
    user.with("otherMails", json!([format!("{FAMILY}@elsewhere.example").to_lowercase()]))
}

pub async fn path_token(bench_folder: &Path) -> String {
    let config = StoreConfig {
        url: format!("sqlite://{}", bench_folder.join("lockstep-data/lockstep.db").display()),
        key_file: bench_folder.join("lockstep-data/key"),
        clock: Clock::system(),
        timing: lockstep_core::timing::Timing::default(),
    };
    let store = Store::open(config).await.unwrap();
    let connection = store.lookup_connection_by_name("contoso").await.unwrap().unwrap();
    let token = store.path_token(&connection).await.unwrap();
    store.close().await;
    token.expose_secret().to_owned()
}

/// One request as it goes over the wire; the whole answer.
fn send(receiver: &str, request: &str, headers: &str, body: &str) -> String {
    let address = receiver.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Everything that can be posted: the canary in every place, good and bad.
fn post_canaries(receiver: &str, token: &str, authentic: &Value) -> Vec<String> {
    let json = format!(
        "Content-Type: application/json\r\nAuthorization: Bearer {SECRET}\r\nCookie: session={SECRET}\r\nX-Person: {PERSON}\r\n"
    );
    let url = format!("POST /graph/{token}/notifications");
    let mut rich = authentic.clone();
    rich["resourceData"]["displayName"] = json!(format!("{PERSON} {FAMILY}"));
    rich["resourceData"]["mail"] = json!(format!("{PERSON}@{FAMILY}.example"));
    rich["encryptedContent"] = json!({ "data": SECRET, "dataKey": SECRET });
    let mut bodies = vec![json!({ "value": [rich] })];
    for field in ["subscriptionId", "clientState", "tenantId", "changeType", "resource", "lifecycleEvent", "id"] {
        let mut wrong = rich.clone();
        wrong[field] = json!(format!("{PERSON}{SECRET}"));
        bodies.push(json!({ "value": [wrong] }));
        wrong[field] = json!({ PERSON: SECRET });
        bodies.push(json!({ "value": [wrong, PERSON] }));
    }
    for field in ["id", "@odata.type", "@odata.id", "members@delta"] {
        let mut wrong = rich.clone();
        wrong["resourceData"][field] = json!(format!("{PERSON}{SECRET}"));
        bodies.push(json!({ "value": [wrong] }));
    }
    let mut answers: Vec<String> = bodies.iter().map(|body| send(receiver, &url, &json, &body.to_string())).collect();
    let broken = format!("{{\"value\": [\"{PERSON}\", {SECRET}");
    let others = [
        send(receiver, &url, &json, &broken),
        send(receiver, &url, &format!("Content-Type: text/{SECRET}\r\n"), "{}"),
        send(receiver, &url, &format!("Content-Type: application/json\r\nContent-Encoding: {SECRET}\r\n"), "{}"),
        send(receiver, &format!("{url}?validationToken={SECRET}{PERSON}"), "", ""),
        send(receiver, &format!("{url}?validationToken=%3Cscript%3E{SECRET}"), "", ""),
        send(receiver, &format!("POST /graph/{SECRET}{PERSON}/notifications"), &json, "{}"),
        send(receiver, &format!("GET /{PERSON}/{SECRET}"), "", ""),
        send(receiver, &format!("PATCH /graph/{token}/notifications"), "", SECRET),
    ];
    answers.extend(others);
    answers
}

fn assert_clean(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text).to_lowercase();
    for canary in ALL {
        if let Some(at) = text.find(canary) {
            let around: String = text[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("{what} holds {canary}, after: {around}");
        }
    }
}

/// A file that is read in full, with what SQLite keeps beside it.
fn assert_clean_file(path: &Path) {
    for beside in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        if let Ok(bytes) = std::fs::read(&name) {
            assert_clean(&name.to_string_lossy(), &bytes);
        }
    }
}

fn wrong_secrets_and_files(bench: &Workbench, team: &Team) {
    let (tenant, client) = (team.tenant.id().to_string(), team.tenant.client_id().to_string());
    bench.write("wrong", &format!("{SECRET}-which-is-not-it\n"));
    let add =
        ["connection", "add", "other", "--tenant", &tenant, "--client-id", &client, "--client-secret-file", "wrong"];
    let refused = bench.run(&add);
    assert_ne!(refused.code, 0);
    assert_clean("a refused secret", (refused.stdout + &refused.stderr).as_bytes());

    let line = |kind: &str, extra: &str| {
        format!(
            "{{\"kind\": \"{kind}\", \"email\": \"{PERSON}@{FAMILY}.example\", \"username\": \"{PERSON}\", \
             \"display_name\": \"{PERSON} {FAMILY}\", \"host_id\": \"{SECRET}\", \"fields\": {{\"note\": \"{SECRET}\"}}{extra}}}\n"
        )
    };
    bench.write("people.jsonl", &line("employee", ""));
    let imported = bench.run(&["record", "import", "people.jsonl", "--connection", "contoso"]);
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert_clean("an import", (imported.stdout + &imported.stderr).as_bytes());
    let bad = [line(SECRET, ""), line("employee", &format!(", \"nickname\": \"{PERSON}\"")), format!("{SECRET}\n")];
    bench.write("people.jsonl", &bad.concat());
    let imported = bench.run(&["record", "import", "people.jsonl", "--connection", "contoso"]);
    assert_ne!(imported.code, 0);
    assert_clean("a refused import", (imported.stdout + &imported.stderr).as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn bi_60_no_secret_and_no_person_is_in_any_log_metric_error_body_or_queue_message() {
    let team = Team::start().await;
    team.tenant.set_client_secret(SECRET);
    let canary = team.tenant.create_user(canary_user());
    team.tenant.add_member(team.group, canary).unwrap();
    let mut bench = Workbench::with(&team.simulator);
    bench.extra = vec![("RUST_LOG", "info,lockstep=trace")];
    #[cfg(feature = "otlp")]
    let collector = crate::otlp::Collector::start(&mut bench).await;
    let (overheard, url) = Overheard::start(bench.receiver_url()).await;
    bench.public_url = Some(url);

    let bench = Arc::new(bench);
    let (team, serving) = {
        let bench = Arc::clone(&bench);
        blocking(move || {
            assert_eq!(bench.connect(&team.tenant).code, 0);
            let defaults = format!("[defaults.employee]\nrole = \"{PERSON} {SECRET}\"\n");
            bench.write("rules.toml", &(team.rules() + &defaults));
            let applied = bench.run(&["rule", "apply", "contoso", "rules.toml"]);
            if applied.code != 0 {
                bench.write("rules.toml", &team.rules());
                assert_eq!(bench.run(&["rule", "apply", "contoso", "rules.toml"]).code, 0, "{}", applied.stderr);
            }
            let serving = bench.serve();
            bench.json(&["connection", "sync", "contoso", "--wait"]);
            (team, serving)
        })
        .await
    };
    let token = path_token(bench.folder.path()).await;
    blocking(move || {
        bench.wait_for("both subscriptions stand", SOON, || team.tenant.subscriptions().len() == 2);
        team.tenant.patch_user(canary, json!({ "displayName": format!("{PERSON} {FAMILY}-{SECRET}") })).unwrap();
        bench.wait_for("Microsoft notified", SOON, || overheard.item().is_some());
        let answers = post_canaries(&bench.receiver_url(), &token, &overheard.item().unwrap());
        assert!(answers[0].starts_with("HTTP/1.1 202"), "the rich one is authentic: {}", answers[0]);
        answers
            .iter()
            .filter(|answer| !answer.contains(" 200 "))
            .for_each(|it| assert_clean("an answer", it.as_bytes()));
        // What Microsoft says in its own errors and links is not ours to repeat either.
        let elsewhere = format!("https://{PERSON}.example/{SECRET}");
        team.simulator.set_fault(Fault { link: Some(elsewhere), remaining: Some(3), ..Fault::on("users/delta") });
        wrong_secrets_and_files(&bench, &team);
        team.tenant.patch_user(canary, json!({ "accountEnabled": false })).unwrap();
        bench.wait_for_records("the person is out, by name", |records| {
            records.iter().any(|it| {
                it["display_name"].as_str().is_some_and(|name| name.contains(SECRET)) && it["status"] == "inactive"
            })
        });
        // One more look at what was posted: the worker has taken it by then.
        bench.wait_for("the queue is empty", Duration::from_secs(30), || {
            serving.metric("lockstep_queue_messages") == Some(0.0)
        });
        assert_clean("a metric", serving.page("/metrics").unwrap().as_bytes());
        assert_clean("readiness", serving.page("/readyz").unwrap_or_default().as_bytes());
        assert_clean_file(&bench.path("lockstep-data/queue.db"));
        assert_eq!(serving.terminate(), Some(0));
        let log = std::fs::read_to_string(bench.path("serve.log")).unwrap();
        assert!(log.contains("\"TRACE\"") && log.contains("due.committed"), "every level is in the log");
        assert_clean("the log", log.as_bytes());
        assert_clean_file(&bench.path("lockstep-data/queue.db"));
    })
    .await;
    #[cfg(feature = "otlp")]
    {
        let spans = collector.bytes();
        assert!(String::from_utf8_lossy(&spans).contains("apply people"), "spans were sent");
        assert_clean("a span", &spans);
    }
}
