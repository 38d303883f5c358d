//! What the listeners, the handles and the sender share.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use uuid::Uuid;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::counter::Counting;
use crate::delivery::Sender;
use crate::directory::{Directory, Event};
use crate::fault::Faults;
use crate::identity::certificate::Certificate;
use crate::identity::token::Tokens;
use crate::limit::Bucket;
use crate::new_object::TenantSpec;
use crate::settings::Settings;
use crate::subscription::{LifecycleEvent, Subscription};
use crate::sync::{lock, read, write};
use crate::tenant::AppState;

/// What an app needs for everything Lockstep reads.
const DEFAULT_PERMISSIONS: [&str; 5] =
    ["User.Read.All", "Group.Read.All", "GroupMember.Read.All", "Directory.Read.All", "Application.Read.All"];

/// What everything in one simulator goes by.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub clock: SimClock,
    pub chance: Arc<Chance>,
    pub faults: Arc<Faults>,
    pub counting: Arc<Counting>,
    pub settings: Arc<RwLock<Settings>>,
}

/// Everything of one simulator.
pub(crate) struct World {
    pub clock: SimClock,
    pub chance: Arc<Chance>,
    pub faults: Arc<Faults>,
    pub counting: Arc<Counting>,
    pub settings: Arc<RwLock<Settings>>,
    pub sender: Arc<Sender>,
    pub tokens: Tokens,
    tenants: RwLock<Vec<Arc<TenantState>>>,
}

/// One tenant and the app registered in it.
pub(crate) struct TenantState {
    pub id: Uuid,
    pub spec: TenantSpec,
    pub app: App,
    pub secret: RwLock<String>,
    pub certificates: RwLock<Vec<Certificate>>,
    /// The `jti` of assertions already used, and when they end (microseconds).
    pub used_assertions: Mutex<HashMap<String, i64>>,
    pub app_state: RwLock<AppState>,
    pub token_lifetime: RwLock<Duration>,
    pub permissions: RwLock<Vec<String>>,
    pub directory: RwLock<Directory>,
    pub subscriptions: Mutex<BTreeMap<Uuid, Subscription>>,
    pub bucket: Bucket,
}

/// The ids of an app registration.
pub(crate) struct App {
    pub client_id: Uuid,
    pub object_id: Uuid,
    pub service_principal: Uuid,
    pub created: i64,
}

impl World {
    pub fn new(surroundings: Surroundings, sender: Sender) -> Self {
        let Surroundings { clock, chance, faults, counting, settings } = surroundings;
        let sender = Arc::new(sender);
        Self {
            clock,
            chance,
            faults,
            counting,
            settings,
            sender,
            tokens: Tokens::default(),
            tenants: RwLock::default(),
        }
    }

    pub fn settings(&self) -> Settings {
        read(&self.settings).clone()
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
            token_lifetime: RwLock::new(spec.token_lifetime),
            spec,
            app,
            secret: RwLock::new(secret),
            certificates: RwLock::default(),
            used_assertions: Mutex::default(),
            app_state: RwLock::default(),
            permissions: RwLock::new(DEFAULT_PERMISSIONS.map(str::to_owned).to_vec()),
            directory: RwLock::default(),
            subscriptions: Mutex::default(),
            bucket: Bucket::default(),
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
        self.announce_later(tenant, event, now, now);
    }

    /// The same, but it is sent only at that instant (microseconds).
    pub fn announce_later(&self, tenant: &TenantState, event: &Event, now: i64, at: i64) {
        let settings = self.settings();
        let interested: Vec<Subscription> =
            tenant.live_subscriptions(now).into_iter().filter(|subscription| subscription.wants(event)).collect();
        for subscription in interested {
            let url = &subscription.notification_url;
            match settings.notifications {
                true => self.sender.notify(url, &subscription.item(tenant.id, event, settings.removed_form), at - now),
                false => self.counting.notifications(|count| count.dropped += 1),
            }
        }
    }

    /// Queues a lifecycle notification; false if the subscription has no URL for one.
    pub fn announce_lifecycle(&self, tenant: &TenantState, subscription: &Subscription, event: LifecycleEvent) -> bool {
        let item = subscription.lifecycle_item(tenant.id, event);
        let url = subscription.lifecycle_url.as_deref();
        url.map(|url| self.sender.notify(url, &item, 0)).is_some()
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
        self.bucket.empty();
    }

    /// Lets the next stage of new users begin where it is due.
    pub fn unfold(&self, now: i64) {
        if read(&self.directory).is_unfolding(now) {
            write(&self.directory).unfold(now);
        }
    }
}

/// The secret's first characters, as Entra shows them.
pub(crate) fn secret_hint(secret: &str) -> String {
    secret.chars().take(3).collect()
}
