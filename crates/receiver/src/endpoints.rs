//! The cached table of subscriptions and pending intents. Refreshed every second; at most five minutes old when the
//! store is away (FA-07). A miss leads to one look into the store, shared by all who wait for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lockstep_store::{Endpoint, Keys, MacPurpose, Store};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::quiet_log::QuietLog;
use crate::rate::Buckets;
use crate::rejection::Rejection;

const REFRESH: Duration = Duration::from_secs(1);

/// Looks into the store on a miss are at least this far apart: 20 a second.
const SPACING: Duration = Duration::from_millis(50);

/// An older table is not to be trusted: without the store we then accept nothing.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// A table this young proves that a path token does not exist.
const PROVES_ABSENCE: Duration = Duration::from_secs(5);

/// Part of `ack_deadline`: a store that takes longer counts as away.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// Looks into the store for unknown path tokens per second; anyone can cause them.
const UNKNOWN_LOOKS: u32 = 20;

/// 32 bytes in base64url.
const TOKEN_LENGTH: usize = 43;

/// Cheap to clone; clones share the table.
#[derive(Clone)]
pub(crate) struct EndpointTable(Arc<Shared>);

struct Shared {
    store: Store,
    table: watch::Sender<Table>,
    wanted: Notify,
    unknown_looks: Buckets<()>,
    log: QuietLog,
}

#[derive(Clone)]
struct Table {
    endpoints: Arc<HashMap<[u8; 32], Arc<Endpoint>>>,
    /// When the read of these endpoints began.
    as_of: Option<Instant>,
    /// When the last try to read them began.
    tried_at: Option<Instant>,
}

impl EndpointTable {
    /// Reads the table for the first time. A store that is away is no error: the table fills when it is back.
    pub(crate) async fn read(store: Store) -> Self {
        let empty = Table { endpoints: Arc::default(), as_of: None, tried_at: None };
        let table = Self(Arc::new(Shared {
            store,
            table: watch::Sender::new(empty),
            wanted: Notify::new(),
            unknown_looks: Buckets::per_second(UNKNOWN_LOOKS),
            log: QuietLog::default(),
        }));
        table.refresh().await;
        table
    }

    /// Keeps the table fresh; never returns.
    pub(crate) async fn keep_fresh(self) {
        loop {
            let began = Instant::now();
            self.refresh().await;
            sleep_until(began + SPACING).await;
            tokio::select! {
                () = self.0.wanted.notified() => {}
                () = sleep_until(began + REFRESH) => {}
            }
        }
    }

    pub(crate) fn keys(&self) -> &Keys {
        self.0.store.keys()
    }

    /// The endpoint behind a path token.
    pub(crate) async fn find(&self, path_token: &str) -> Result<Arc<Endpoint>, Rejection> {
        if path_token.len() != TOKEN_LENGTH {
            return Err(Rejection::UnknownPath);
        }
        let mac = self.keys().mac(MacPurpose::PathToken, path_token.as_bytes());
        let table = self.0.table.borrow().clone();
        let age = table.as_of.map(|at| at.elapsed());
        match table.endpoints.get(&mac) {
            Some(endpoint) if age.is_some_and(|age| age <= MAX_AGE) => Ok(Arc::clone(endpoint)),
            Some(_) => Err(Rejection::StoreAway),
            None if self.0.unknown_looks.take((), Instant::now()) => self.look_for(&mac).await,
            None if age.is_some_and(|age| age <= PROVES_ABSENCE) => Err(Rejection::UnknownPath),
            None => Err(Rejection::StoreAway),
        }
    }

    async fn look_for(&self, mac: &[u8; 32]) -> Result<Arc<Endpoint>, Rejection> {
        match timeout(STORE_PATIENCE, self.0.store.lookup_endpoint(mac)).await {
            Ok(Ok(Some(endpoint))) => {
                self.0.wanted.notify_one();
                Ok(Arc::new(endpoint))
            }
            Ok(Ok(None)) => Err(Rejection::UnknownPath),
            Ok(Err(_)) | Err(_) => Err(Rejection::StoreAway),
        }
    }

    /// The same endpoint, read no earlier than `since`: an intent written before a notification arrived is in it, so
    /// what is unknown then may be dropped.
    pub(crate) async fn find_anew(&self, endpoint: &Endpoint, since: Instant) -> Result<Arc<Endpoint>, Rejection> {
        let mut table = self.0.table.subscribe();
        self.0.wanted.notify_one();
        let tried = table.wait_for(|table| table.tried_at.is_some_and(|at| at >= since));
        let Ok(Ok(table)) = timeout(STORE_PATIENCE, tried).await else {
            return Err(Rejection::StoreAway);
        };
        if table.as_of.is_none_or(|at| at < since) {
            return Err(Rejection::StoreAway);
        }
        table.endpoints.get(&endpoint.path_token_mac).cloned().ok_or(Rejection::UnknownPath)
    }

    async fn refresh(&self) {
        let began = Instant::now();
        let read = timeout(STORE_PATIENCE, self.0.store.list_endpoints()).await;
        let endpoints = match read {
            Ok(Ok(endpoints)) => Some(by_token(endpoints)),
            Ok(Err(error)) => {
                self.warn(&error);
                None
            }
            Err(_) => {
                self.warn("no answer in time");
                None
            }
        };
        self.0.table.send_modify(|table| {
            table.tried_at = Some(began);
            if let Some(endpoints) = endpoints {
                *table = Table { endpoints: Arc::new(endpoints), as_of: Some(began), tried_at: Some(began) };
            }
        });
    }

    fn warn(&self, error: impl std::fmt::Display) {
        if self.0.log.due(None, "store_away") {
            tracing::warn!("Subscriptions cannot be read from the store ({error}); going on with what is known");
        }
    }
}

fn by_token(endpoints: Vec<Endpoint>) -> HashMap<[u8; 32], Arc<Endpoint>> {
    endpoints.into_iter().map(|endpoint| (endpoint.path_token_mac, Arc::new(endpoint))).collect()
}
