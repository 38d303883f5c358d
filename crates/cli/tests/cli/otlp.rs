//! Traces as a collector gets them (P3): one change is followed from Microsoft's POST to the record, nothing of a person or a
//! secret is in any span (G-27), and a collector in trouble holds nobody up.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Said;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use serde_json::json;

use crate::canary::path_token;
use crate::workbench::{SOON, Team, Workbench, blocking};

/// What an OpenTelemetry collector is to us.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<Bytes>>>);

async fn collect(State(collector): State<Collector>, body: Bytes) {
    collector.0.lock().unwrap().push(body);
}

impl Collector {
    /// Listens, and has a `serve` of this bench send to it.
    pub async fn start(bench: &mut Workbench) -> Self {
        let collector = Self::default();
        let routes = Router::new().route("/v1/traces", post(collect)).with_state(collector.clone());
        send_traces_to(bench, serve(routes).await);
        collector
    }

    /// Everything it got, as it came.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().concat()
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let bodies = self.0.lock().unwrap();
        bodies.iter().map(|body| ExportTraceServiceRequest::decode(body.clone()).unwrap()).collect()
    }

    /// What the first resource says of itself.
    fn resource(&self, name: &str) -> Option<String> {
        let requests = self.requests();
        text(&requests.first()?.resource_spans.first()?.resource.as_ref()?.attributes, name)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.requests().into_iter();
        let scopes = requests.flat_map(|request| request.resource_spans).flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

async fn serve(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

fn send_traces_to(bench: &mut Workbench, url: String) {
    bench.extra.push(("OTEL_EXPORTER_OTLP_ENDPOINT", url.leak()));
}

fn value<'a>(attributes: &'a [KeyValue], name: &str) -> Option<&'a Said> {
    attributes.iter().find(|it| it.key == name)?.value.as_ref()?.value.as_ref()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    match value(attributes, name)? {
        Said::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(span: &Span, name: &str) -> Option<i64> {
    match value(&span.attributes, name)? {
        Said::IntValue(number) => Some(*number),
        _ => None,
    }
}

fn names(span: &Span, attribute: &str, wanted: &str) -> bool {
    text(&span.attributes, attribute).is_some_and(|ids| ids.split(',').any(|id| id == wanted))
}

/// The first of this name that is so.
fn find<'a>(spans: &'a [Span], name: &str, is_so: impl Fn(&Span) -> bool) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name && is_so(span));
    found.unwrap_or_else(|| {
        let seen: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
        let all: std::collections::BTreeSet<_> = spans.iter().map(|span| &span.name).collect();
        panic!("no such {name} among {seen:#?} of {all:?}")
    })
}

fn synced(bench: &Workbench, team: &Team) {
    assert_eq!(bench.connect(&team.tenant).code, 0);
    bench.write("rules.toml", &team.rules());
    assert_eq!(bench.run(&["rule", "apply", "contoso", "rules.toml"]).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn p_3_one_change_is_followed_from_the_post_to_the_record_by_ids_alone() {
    let team = Team::start().await;
    let mut bench = Workbench::with(&team.simulator);
    let collector = Collector::start(&mut bench).await;
    // Spans are at DEBUG, and the log shows none of them all the same.
    bench.extra.push(("RUST_LOG", "info,lockstep=debug"));
    let secret = team.tenant.client_secret();
    let (ada, bench) = blocking(move || {
        synced(&bench, &team);
        let serving = bench.serve();
        bench.json(&["connection", "sync", "contoso", "--wait"]);
        bench.wait_for("both subscriptions stand", SOON, || team.tenant.subscriptions().len() == 2);
        team.tenant.patch_user(team.ada, json!({ "accountEnabled": false })).unwrap();
        let ada = team.ada.to_string();
        bench.wait_for_records("Ada is out", |records| {
            records.iter().any(|it| it["entra_id"] == ada && it["status"] == "inactive")
        });
        assert_eq!(serving.terminate(), Some(0));
        (ada, bench)
    })
    .await;

    assert_eq!(collector.resource("service.name").as_deref(), Some("lockstep"));
    assert_eq!(collector.resource("lockstep.roles").as_deref(), Some("receiver,worker,renewer"));
    let spans = collector.spans();
    let of_ada = |span: &Span| names(span, "object.ids", &ada);

    let post = find(&spans, "POST /graph/{path_token}/notifications", of_ada);
    assert_eq!(post.kind, SpanKind::Server as i32);
    assert_eq!(number(post, "http.response.status_code"), Some(202));
    assert_eq!((number(post, "items"), number(post, "hints")), (Some(1), Some(1)));
    assert!(value(&post.attributes, "subscription.ids").is_some());
    let message = text(&post.attributes, "messaging.message.id").expect("it was published");
    let taken = find(&spans, "take hints", |span| names(span, "messaging.message.id", &message));
    assert!(number(taken, "messaging.batch.message_count") >= Some(1));

    let connection = text(&post.attributes, "connection.id").expect("a POST is of one connection");
    let alone = |span: &Span| text(&span.attributes, "object.ids").as_ref() == Some(&ada);
    let look = find(&spans, "look at objects", |span| alone(span) && names(span, "connection.id", &connection));
    let within = |span: &Span| span.trace_id == look.trace_id;
    // Whoever a lone hint names is asked for while it is taken.
    let call = find(&spans, "GET /users/{id}", |span| span.trace_id == taken.trace_id);
    assert_eq!((call.kind, &call.parent_span_id), (SpanKind::Client as i32, &taken.span_id));
    assert_eq!(number(call, "http.response.status_code"), Some(200));
    assert_eq!(text(&call.attributes, "url.template").as_deref(), Some("/users/{id}"));
    let applied = find(&spans, "apply people", within);
    assert_eq!((&applied.parent_span_id, number(applied, "people")), (&look.span_id, Some(1)));
    assert_eq!(find(&spans, "decide people", within).parent_span_id, applied.span_id);

    let sync = find(&spans, "run task", |span| names(span, "kind", "full_sync"));
    find(&spans, "GET /groups/{id}/transitiveMembers", |span| span.trace_id == sync.trace_id);
    find(&spans, "tend subscriptions", |span| names(span, "action", "create"));

    let seen = String::from_utf8_lossy(&collector.bytes()).to_lowercase();
    let token = path_token(bench.folder.path()).await;
    for secret in ["lovelace", "turing", "colleague", "bearer", "deltatoken", token.as_str(), secret.as_str()] {
        assert!(!seen.contains(&secret.to_lowercase()), "{secret} is in a span");
    }
    let log = std::fs::read_to_string(bench.path("serve.log")).unwrap();
    assert!(!log.contains("tend subscriptions"), "spans are no matter of the log: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p_3_a_collector_that_hangs_holds_up_neither_the_work_nor_the_stop() {
    /// Two seconds for the last traces; the exporter itself would wait for 10 s.
    const STOPS_WITHIN: Duration = Duration::from_secs(8);
    let team = Team::start().await;
    let mut bench = Workbench::with(&team.simulator);
    // The system takes the connection, and nobody ever reads from it.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    send_traces_to(&mut bench, format!("http://{}", hanging.local_addr().unwrap()));
    bench.extra.push(("OTEL_BSP_SCHEDULE_DELAY", "50"));
    blocking(move || {
        synced(&bench, &team);
        let serving = bench.serve();
        let synced = bench.json(&["connection", "sync", "contoso", "--wait"]);
        assert_eq!(synced["users"], Team::SIZE, "{synced:#}");
        let asked = Instant::now();
        assert_eq!(serving.terminate(), Some(0));
        assert!(asked.elapsed() < STOPS_WITHIN, "it took {:?}", asked.elapsed());
        let log = std::fs::read_to_string(bench.path("serve.log")).unwrap();
        assert!(log.contains("The last traces did not reach"), "{log}");
        drop(hanging);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p_3_the_log_tells_of_a_collector_in_trouble_once_in_a_while() {
    let team = Team::start().await;
    let mut bench = Workbench::with(&team.simulator);
    let refused = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refused);
    let refuse = move || {
        count.fetch_add(1, Ordering::Relaxed);
        std::future::ready(StatusCode::SERVICE_UNAVAILABLE)
    };
    send_traces_to(&mut bench, serve(Router::new().fallback(refuse)).await);
    bench.extra.push(("OTEL_BSP_SCHEDULE_DELAY", "50"));
    blocking(move || {
        synced(&bench, &team);
        let serving = bench.serve();
        bench.json(&["connection", "sync", "contoso", "--wait"]);
        for _ in 0..3 {
            let before = refused.load(Ordering::Relaxed);
            bench.json(&["connection", "sync", "contoso", "--wait", "--user", "ada.lovelace@contoso.example"]);
            bench.wait_for("spans were sent", SOON, || refused.load(Ordering::Relaxed) > before);
        }
        assert_eq!(serving.terminate(), Some(0));
        let log = std::fs::read_to_string(bench.path("serve.log")).unwrap();
        assert_eq!(log.matches("Traces are lost").count(), 1, "{log}");
    })
    .await;
}

#[test]
fn an_endpoint_that_cannot_be_is_refused_at_the_start() {
    let mut bench = Workbench::fresh();
    bench.extra.push(("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"));
    let refused = bench.run(&["serve"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{}", refused.stderr);
}
