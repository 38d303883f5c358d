//! A receiver with one connected tenant, and Graph's side of the conversation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use lockstep_core::hint::{Hint, HintMessage, Subject};
use lockstep_core::timing::Timing;
use lockstep_core::{ConnectionId, ObjectId, SubscriptionId, Timestamp};
use lockstep_queue::{Queue, QueueUrl};
use lockstep_receiver::{Limits, Receiver, ReceiverConfig, RunningReceiver};
use lockstep_store::{Clock, NewConnection, NewCredential, Resource, Store, StoreConfig};
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::counters::Counters;

/// Nobody waits for it unless a test fails.
pub const AGES: Duration = Duration::from_secs(30);

pub struct World {
    pub store: Store,
    pub queue: Queue,
    pub receiver: RunningReceiver,
    pub tenant: Tenant,
    pub counters: Counters,
    pub http: Client,
    now: Arc<AtomicI64>,
    folder: TempDir,
}

/// A connected tenant with one live subscription.
pub struct Tenant {
    pub connection: ConnectionId,
    pub id: Uuid,
    pub path_token: String,
    pub subscription: Subscription,
}

pub struct Subscription {
    pub id: SubscriptionId,
    pub graph_id: Uuid,
    pub client_state: String,
}

impl World {
    pub async fn start() -> Self {
        Self::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let counters = Counters::install();
        let folder = TempDir::new().unwrap();
        let now = Arc::new(AtomicI64::new(1_795_000_000_000_000));
        let clock = {
            let now = Arc::clone(&now);
            Clock::following(Arc::new(move || now.load(Ordering::Relaxed)))
        };
        let store = Store::open(StoreConfig {
            url: format!("sqlite://{}", folder.path().join("lockstep.db").display()),
            key_file: folder.path().join("key"),
            clock: clock.clone(),
            timing: Timing::default(),
        });
        let store = store.await.unwrap();
        let tenant = connect_tenant(&store, "first").await;
        let queue = Queue::open(&QueueUrl::Embedded(folder.path().join("queue.db"))).await.unwrap();
        let config = ReceiverConfig { bind: "127.0.0.1:0".parse().unwrap(), limits };
        let receiver = Receiver::start(config, store.clone(), queue.clone(), clock).await.unwrap();
        let http = Client::builder().no_proxy().build().unwrap();
        Self { store, queue, receiver, tenant, counters, http, now, folder }
    }

    pub fn addr(&self) -> SocketAddr {
        self.receiver.addr
    }

    pub fn queue_file(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    pub fn let_pass(&self, span: Duration) {
        self.now.fetch_add(i64::try_from(span.as_micros()).unwrap(), Ordering::Relaxed);
    }

    pub fn url(&self) -> String {
        self.url_of(&self.tenant)
    }

    pub fn url_of(&self, tenant: &Tenant) -> String {
        format!("http://{}/graph/{}/notifications", self.addr(), tenant.path_token)
    }

    /// Graph posts these items.
    pub async fn post(&self, items: &[Value]) -> Response {
        self.post_body(json!({ "value": items }).to_string()).await
    }

    pub async fn post_body(&self, body: impl Into<reqwest::Body>) -> Response {
        self.http.post(self.url()).header("content-type", "application/json").body(body).send().await.unwrap()
    }

    /// Posts the items, which must be answered like success, and gives what became durable.
    pub async fn hints_of(&self, items: &[Value]) -> Vec<Hint> {
        let answer = self.post(items).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        assert_eq!(answer.bytes().await.unwrap(), "");
        self.messages().await.into_iter().flat_map(|message| message.items).collect()
    }

    pub async fn subject_of(&self, item: Value) -> Subject {
        let mut hints = self.hints_of(&[item]).await;
        assert_eq!(hints.len(), 1);
        hints.remove(0).subject
    }

    /// Takes everything out of the queue.
    pub async fn messages(&self) -> Vec<HintMessage> {
        let taken = self.queue.take(10_000).await.unwrap();
        let tags: Vec<_> = taken.iter().map(|one| one.tag).collect();
        self.queue.ack(&tags).await.unwrap();
        taken.into_iter().map(|one| one.body.ok().expect("the receiver writes what workers can read")).collect()
    }

    pub async fn connect_tenant(&self, name: &str) -> Tenant {
        connect_tenant(&self.store, name).await
    }

    pub async fn intend(&self) -> (SubscriptionId, String) {
        intend(&self.store, self.tenant.connection).await
    }
}

impl Tenant {
    /// A notification of this tenant about one user.
    pub fn user_changed(&self, user: Uuid) -> Value {
        self.item(json!({
            "changeType": "updated",
            "resource": format!("Users/{user}"),
            "resourceData": {
                "@odata.type": "#Microsoft.Graph.User",
                "@odata.id": format!("Users/{user}"),
                "id": user,
                "organizationId": self.id,
            },
            "subscriptionExpirationDateTime": "2027-01-05T09:15:00+00:00",
        }))
    }

    /// An item with everything that makes it authentic.
    pub fn item(&self, facts: Value) -> Value {
        with(
            json!({
                "subscriptionId": self.subscription.graph_id,
                "clientState": self.subscription.client_state,
                "tenantId": self.id,
            }),
            facts,
        )
    }
}

/// The item with some of its fields replaced.
pub fn with(mut item: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        item[name] = value.clone();
    }
    item
}

/// The item without one of its fields.
pub fn without(mut item: Value, name: &str) -> Value {
    item.as_object_mut().unwrap().remove(name).unwrap();
    item
}

pub fn user_id(hint: &Hint) -> Uuid {
    match hint.subject {
        Subject::User { id: ObjectId(id), .. } => id,
        ref other => panic!("not about a user: {other:?}"),
    }
}

/// Polls until it is so.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < AGES, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn connect_tenant(store: &Store, name: &str) -> Tenant {
    let id = Uuid::new_v4();
    let new = NewConnection {
        name: name.to_owned(),
        tenant_id: ObjectId(id),
        domain: format!("{name}.example"),
        client_id: Uuid::new_v4().to_string(),
        credential: NewCredential::ClientSecret(SecretString::from("a client secret")),
        cloud: "custom".to_owned(),
        realm: None,
        guests: false,
        match_domains: Vec::new(),
        test_users: Vec::new(),
    };
    let connection = store.add_connection(new).await.unwrap();
    let path_token = store.path_token(&connection).await.unwrap().expose_secret().to_owned();
    let (intent, client_state) = intend(store, connection.id).await;
    let graph_id = Uuid::new_v4();
    let never = Timestamp::from_micros(1_900_000_000_000_000);
    store.activate_subscription(intent, graph_id, never, never).await.unwrap();
    Tenant {
        connection: connection.id,
        id,
        path_token,
        subscription: Subscription { id: intent, graph_id, client_state },
    }
}

async fn intend(store: &Store, connection: ConnectionId) -> (SubscriptionId, String) {
    let client_state = format!("cs-{}", Uuid::new_v4().simple());
    let secret = SecretString::from(client_state.clone());
    let id = store.open_subscription_intent(connection, Resource::Users, &secret).await.unwrap();
    (id, client_state)
}
