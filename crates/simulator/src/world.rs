//! What the listeners, the handles and the sender share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use uuid::Uuid;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::counter::Counting;
use crate::delivery::Sender;
use crate::directory::{Directory, Event};
use crate::fault::Faults;
use crate::identity::token::Tokens;
use crate::new_object::TenantSpec;
use crate::simulator::RemovedForm;
use crate::subscription::{LifecycleEvent, Subscription};
use crate::sync::{lock, read, write};

/// What an app needs for everything Lockstep reads.
const DEFAULT_PERMISSIONS: [&str; 5] =
    ["User.Read.All", "Group.Read.All", "GroupMember.Read.All", "Directory.Read.All", "Application.Read.All"];

/// Rows of a delta page, unless set otherwise.
const DELTA_PAGE: usize = 200;

/// Everything of one simulator.
pub(crate) struct World {
    pub clock: SimClock,
    pub chance: Arc<Chance>,
    pub faults: Arc<Faults>,
    pub counting: Arc<Counting>,
    pub sender: Arc<Sender>,
    pub tokens: Tokens,
    pub removed_form: Mutex<RemovedForm>,
    delta_page: AtomicUsize,
    latency_micros: AtomicU64,
    tenants: RwLock<Vec<Arc<TenantState>>>,
}

/// One tenant and the app registered in it.
pub(crate) struct TenantState {
    pub id: Uuid,
    pub spec: TenantSpec,
    pub app: App,
    pub secret: RwLock<String>,
    pub permissions: RwLock<Vec<String>>,
    pub directory: RwLock<Directory>,
    pub subscriptions: Mutex<BTreeMap<Uuid, Subscription>>,
}

/// The ids of an app registration.
pub(crate) struct App {
    pub client_id: Uuid,
    pub object_id: Uuid,
    pub service_principal: Uuid,
    pub created: i64,
}

impl World {
    pub fn new(
        clock: SimClock,
        chance: Arc<Chance>,
        faults: Arc<Faults>,
        counting: Arc<Counting>,
        sender: Sender,
    ) -> Self {
        Self {
            clock,
            chance,
            faults,
            counting,
            sender: Arc::new(sender),
            tokens: Tokens::default(),
            removed_form: Mutex::default(),
            delta_page: AtomicUsize::new(DELTA_PAGE),
            latency_micros: AtomicU64::new(0),
            tenants: RwLock::default(),
        }
    }

    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_micros.load(Ordering::Relaxed))
    }

    pub fn set_latency(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency_micros.store(micros, Ordering::Relaxed);
    }

    pub fn delta_page(&self) -> usize {
        self.delta_page.load(Ordering::Relaxed)
    }

    pub fn set_delta_page(&self, rows: usize) {
        self.delta_page.store(rows.max(1), Ordering::Relaxed);
    }

    pub fn add_tenant(&self, spec: TenantSpec) -> Arc<TenantState> {
        let secret = format!("sim~{}", self.chance.id().simple());
        let app = App {
            client_id: self.chance.id(),
            object_id: self.chance.id(),
            service_principal: self.chance.id(),
            created: self.clock.now_micros(),
        };
        let tenant = Arc::new(TenantState {
            id: self.chance.id(),
            spec,
            app,
            secret: RwLock::new(secret),
            permissions: RwLock::new(DEFAULT_PERMISSIONS.map(str::to_owned).to_vec()),
            directory: RwLock::default(),
            subscriptions: Mutex::default(),
        });
        write(&self.tenants).push(tenant.clone());
        tenant
    }

    /// The tenant made at start, which is always there.
    pub fn default_tenant(&self) -> Option<Arc<TenantState>> {
        read(&self.tenants).first().cloned()
    }

    pub fn tenants(&self) -> Vec<Arc<TenantState>> {
        read(&self.tenants).clone()
    }

    /// The tenant of this id or domain.
    pub fn tenant(&self, id_or_domain: &str) -> Option<Arc<TenantState>> {
        let id = Uuid::parse_str(id_or_domain).ok();
        let wanted =
            |tenant: &&Arc<TenantState>| Some(tenant.id) == id || tenant.spec.domain.eq_ignore_ascii_case(id_or_domain);
        read(&self.tenants).iter().find(wanted).cloned()
    }

    /// Queues what the tenant's subscribers are told about this event.
    pub fn announce(&self, tenant: &TenantState, event: &Event, now: i64) {
        let form = *lock(&self.removed_form);
        let interested: Vec<Subscription> =
            tenant.live_subscriptions(now).into_iter().filter(|subscription| subscription.wants(event)).collect();
        for subscription in interested {
            self.sender.enqueue(&subscription.notification_url, &subscription.item(tenant.id, event, form));
        }
    }

    /// Queues a lifecycle notification; false if the subscription has no URL for one.
    pub fn announce_lifecycle(&self, tenant: &TenantState, subscription: &Subscription, event: LifecycleEvent) -> bool {
        let item = subscription.lifecycle_item(tenant.id, event);
        let url = subscription.lifecycle_url.as_deref();
        url.map(|url| self.sender.enqueue(url, &item)).is_some()
    }
}

impl TenantState {
    /// The subscriptions that have not expired; the expired ones are forgotten, as Graph does.
    pub fn live_subscriptions(&self, now: i64) -> Vec<Subscription> {
        let mut subscriptions = lock(&self.subscriptions);
        subscriptions.retain(|_, subscription| subscription.expires > now);
        subscriptions.values().cloned().collect()
    }

    /// Empties the tenant: no objects, no subscriptions. The app and its tokens stay.
    pub fn reset(&self) {
        *write(&self.directory) = Directory::default();
        lock(&self.subscriptions).clear();
    }
}

/// The secret's first characters, as Entra shows them.
pub(crate) fn secret_hint(secret: &str) -> String {
    secret.chars().take(3).collect()
}
