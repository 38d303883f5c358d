//! The running simulator and its handle.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::RustlsAcceptor;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::counter::{Counters, Counting};
use crate::delivery::Sender;
use crate::error::SimulatorError;
use crate::fault::{Fault, Faults};
use crate::http::{Scheme, router};
use crate::new_object::TenantSpec;
use crate::retention;
use crate::settings::Settings;
use crate::sync::{lock, write};
use crate::tenant::Tenant;
use crate::tls;
use crate::world::{Surroundings, TenantState, World};

/// How long open connections have to finish when the simulator stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// Settings of one simulator.
#[derive(Clone)]
pub struct SimulatorConfig {
    /// Where to serve http; port 0 is any free port.
    pub bind: SocketAddr,
    /// Where to serve https as well, with a root certificate made at start.
    pub https_bind: Option<SocketAddr>,
    /// The clock of tokens, subscriptions, deletions and retries.
    pub clock: SimClock,
    /// Added to every Graph answer, in real time.
    pub latency: Duration,
    /// Where chance starts: ids of objects, and which requests a fault strikes.
    pub seed: u64,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            https_bind: None,
            clock: SimClock::real(),
            latency: Duration::ZERO,
            seed: 1,
        }
    }
}

/// How `@removed` is written inside a notification; both forms have been seen in the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovedForm {
    /// `"@removed": "deleted"`
    #[default]
    String,
    /// `"@removed": {"reason": "deleted"}`
    Object,
}

/// A running simulator. Cheap to clone; every clone is the same simulator. It runs until
/// [`Simulator::stop`], or until its runtime ends.
#[derive(Clone)]
pub struct Simulator {
    inner: Arc<Inner>,
}

struct Inner {
    world: Arc<World>,
    default_tenant: Arc<TenantState>,
    http: Listener,
    https: Option<(Listener, String)>,
}

struct Listener {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    /// Taken by whoever stops it.
    task: std::sync::Mutex<Option<JoinHandle<std::io::Result<()>>>>,
}

impl Simulator {
    /// Starts serving; needs a tokio runtime. The default tenant is `contoso.example`.
    ///
    /// # Errors
    /// When an address cannot be bound, or the https certificate cannot be made.
    pub async fn start(config: SimulatorConfig) -> Result<Simulator, SimulatorError> {
        let chance = Arc::new(Chance::seeded(config.seed));
        let (faults, counting) = (Arc::new(Faults::default()), Arc::new(Counting::default()));
        let settings = Arc::new(RwLock::new(Settings { latency_ms: millis(config.latency), ..Settings::default() }));
        let surroundings = Surroundings { clock: config.clock, chance, faults, counting, settings };
        let sender = Sender::new(sender_client()?, surroundings.clone());
        let world = Arc::new(World::new(surroundings, sender));
        let default_tenant = world.add_tenant(TenantSpec::default());
        tokio::spawn(retention::keep(world.clone()));
        let http = serve_http(config.bind, router(world.clone(), Scheme("http")))?;
        let https = match config.https_bind {
            Some(address) => Some(serve_https(address, router(world.clone(), Scheme("https"))).await?),
            None => None,
        };
        Ok(Self { inner: Arc::new(Inner { world, default_tenant, http, https }) })
    }

    /// The base of both the identity endpoints and Graph, e.g. `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.inner.http.address)
    }

    /// The same over https, where it was asked for: `https://localhost:PORT`.
    pub fn https_url(&self) -> Option<String> {
        self.inner.https.as_ref().map(|(listener, _)| format!("https://localhost:{}", listener.address.port()))
    }

    /// The root certificate that clients of the https address must trust.
    pub fn root_certificate_pem(&self) -> Option<String> {
        self.inner.https.as_ref().map(|(_, root)| root.clone())
    }

    /// The clock everything here goes by.
    pub fn clock(&self) -> SimClock {
        self.world().clock.clone()
    }

    /// The default tenant.
    pub fn tenant(&self) -> Tenant {
        Tenant::of(self.inner.world.clone(), self.inner.default_tenant.clone())
    }

    /// Adds a tenant with an app registration of its own.
    pub fn add_tenant(&self, spec: TenantSpec) -> Tenant {
        Tenant::of(self.inner.world.clone(), self.world().add_tenant(spec))
    }

    /// Puts one more fault in force.
    pub fn set_fault(&self, fault: Fault) {
        self.world().faults.set(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.world().faults.clear();
    }

    /// Changes what is added to every Graph answer, in real time.
    pub fn set_latency(&self, latency: Duration) {
        self.change_settings(|settings| settings.latency_ms = millis(latency));
    }

    /// Changes how `@removed` is written inside notifications from now on.
    pub fn set_removed_form(&self, form: RemovedForm) {
        self.change_settings(|settings| settings.removed_form = form);
    }

    /// Changes how many rows a delta page holds; 200 at start.
    pub fn set_delta_page(&self, rows: usize) {
        self.change_settings(|settings| settings.delta_page = rows);
    }

    /// How this Microsoft behaves now.
    pub fn settings(&self) -> Settings {
        self.world().settings()
    }

    /// Changes how this Microsoft behaves from now on.
    pub fn change_settings(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut write(&self.world().settings));
    }

    /// Requests and resource units by route since the last reset, all tenants together.
    pub fn counters(&self) -> Counters {
        self.world().counting.snapshot()
    }

    /// Sets all counters to 0.
    pub fn reset_counters(&self) {
        self.world().counting.reset();
    }

    /// When the first POST of notifications since this instant went out; `None` while none did. Of a flood only the
    /// latest 256 POSTs are remembered.
    pub fn first_notified_since(&self, instant: Instant) -> Option<Instant> {
        self.world().sender.first_post_since(instant)
    }

    /// Resolves when no notification is queued, held back, in flight or waiting for a retry.
    pub async fn deliveries_idle(&self) {
        self.world().sender.idle().await;
    }

    /// Stops serving and sending; connections still open are cut after a second.
    pub async fn stop(self) {
        self.world().sender.stop();
        self.inner.http.stop().await;
        if let Some((https, _)) = &self.inner.https {
            https.stop().await;
        }
    }

    fn world(&self) -> &World {
        &self.inner.world
    }
}

impl Listener {
    async fn stop(&self) {
        self.handle.graceful_shutdown(Some(GOODBYE));
        let task = lock(&self.task).take();
        if let Some(task) = task {
            // It ends with the listener; how is of no interest any more.
            let _ = task.await;
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Binds before it returns, so that the address is known and answers at once.
fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SimulatorError> {
    let failed = |source| SimulatorError::Bind { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn serve_http(wanted: SocketAddr, router: Router) -> Result<Listener, SimulatorError> {
    let (listener, address) = bind(wanted)?;
    let handle = Handle::new();
    let server = axum_server::from_tcp(listener).map_err(|source| SimulatorError::Bind { address, source })?;
    let server = server.acceptor(NoDelayAcceptor::new()).handle(handle.clone());
    let task = tokio::spawn(server.serve(router.into_make_service()));
    Ok(Listener { address, handle, task: std::sync::Mutex::new(Some(task)) })
}

async fn serve_https(wanted: SocketAddr, router: Router) -> Result<(Listener, String), SimulatorError> {
    let identity = tls::identity().await?;
    let (listener, address) = bind(wanted)?;
    let handle = Handle::new();
    let server = axum_server::from_tcp(listener).map_err(|source| SimulatorError::Bind { address, source })?;
    let acceptor = RustlsAcceptor::new(identity.config).acceptor(NoDelayAcceptor::new());
    let server = server.acceptor(acceptor).handle(handle.clone());
    let task = tokio::spawn(server.serve(router.into_make_service()));
    Ok((Listener { address, handle, task: std::sync::Mutex::new(Some(task)) }, identity.root_pem))
}

/// The client notifications go out by. A machine without any root certificate can still send to
/// loopback over http, which is what a newcomer does.
#[allow(clippy::disallowed_methods, reason = "plays Microsoft's sender, so it shares no client with Lockstep")]
fn sender_client() -> Result<reqwest::Client, SimulatorError> {
    let builder = || {
        reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .tcp_nodelay(true)
    };
    builder().build().or_else(|_| builder().tls_certs_only([]).build()).map_err(SimulatorError::Sender)
}
