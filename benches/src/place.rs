//! Where a measurement keeps its store and its queue: made for it, removed after it.

mod broker;
mod database;

use std::ffi::OsString;
use std::path::Path;

use lockstep_core::timing::Timing;
use lockstep_queue::{Queue, QueueUrl};
use lockstep_store::{Clock, Store, StoreConfig};
use tempfile::TempDir;

use self::broker::Broker;
use self::database::Database;
use crate::error::{BenchError, During as _};

/// What the operator wants measured on.
#[derive(Clone, Default)]
pub struct Target {
    /// A PostgreSQL server on which a database may be made. Anything else: SQLite in a temporary folder.
    pub store_url: Option<String>,
    /// A RabbitMQ virtual host without a queue of hints. Anything else: the embedded queue in a temporary folder.
    pub queue_url: Option<String>,
}

/// A store and a queue of nobody else. Whoever uses them is to be dropped before.
pub(crate) struct Place {
    pub store: Store,
    pub queue_url: String,
    store_url: String,
    broker: Option<Broker>,
    /// Both after the store, which uses them.
    database: Option<Database>,
    folder: TempDir,
}

impl Place {
    /// `timing` is what stands under `[timing]` of `lockstep.toml`.
    pub async fn make(target: &Target, timing: &str) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().during("making a temporary folder")?;
        let settings = format!("[timing]\n{timing}\n");
        std::fs::write(folder.path().join("lockstep.toml"), settings).during("writing the settings")?;
        let broker = match target.queue_url.as_deref().filter(|url| url.starts_with("amqp")) {
            Some(url) => Some(Broker::reserve(url).await?),
            None => None,
        };
        let database = match target.store_url.as_deref().filter(|url| url.starts_with("postgres")) {
            Some(url) => Some(Database::make(url).await?),
            None => None,
        };
        let file = |name: &str| folder.path().join(name).display().to_string();
        let queue_url = broker.as_ref().map_or_else(|| format!("embedded:{}", file("queue.db")), |broker| broker.url());
        let store_url = database.as_ref().map_or_else(|| format!("sqlite://{}", file("lockstep.db")), |one| one.url());
        let store = opened(&store_url, folder.path()).await?;
        Ok(Self { store, queue_url, store_url, broker, database, folder })
    }

    /// The store, opened once more: what another process has.
    pub async fn another_store(&self) -> Result<Store, BenchError> {
        opened(&self.store_url, self.folder.path()).await
    }

    pub async fn queue(&self) -> Result<Queue, BenchError> {
        let url: QueueUrl = self.queue_url.parse().during("reading the queue URL")?;
        let queue = Queue::open(&url).await.during("opening the queue")?;
        if let Some(broker) = &self.broker {
            broker.remember(queue.clone());
        }
        Ok(queue)
    }

    /// Where a reference may read the rows of the store, as whoever may read them all.
    pub fn rows_url(&self) -> String {
        self.database.as_ref().map_or_else(|| self.store_url.clone(), Database::owner_url)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether hints wait in RabbitMQ.
    pub fn has_broker(&self) -> bool {
        self.broker.is_some()
    }

    /// Where a reference may make tables of its own, on the engine of the store.
    pub fn reference_url(&self) -> String {
        let beside = || format!("sqlite://{}", self.folder.path().join("reference.db").display());
        self.database.as_ref().map_or_else(beside, Database::owner_url)
    }

    /// What a process of this installation is told.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("LOCKSTEP_STORE_URL", OsString::from(&self.store_url)),
            ("LOCKSTEP_QUEUE_URL", OsString::from(&self.queue_url)),
            ("LOCKSTEP_KEY_FILE", self.folder.path().join("key").into()),
        ]
    }
}

async fn opened(url: &str, folder: &Path) -> Result<Store, BenchError> {
    let config = StoreConfig {
        url: url.to_owned(),
        key_file: folder.join("key"),
        clock: Clock::system(),
        timing: Timing::default(),
    };
    Store::open(config).await.during("opening the store")
}
