//! What every command starts from: settings, output format, the store behind them.

use lockstep_core::ObjectId;
use lockstep_core::record::Record;
use lockstep_queue::{Queue, QueueUrl};
use lockstep_store::{Clock, Connection, People, Schema, Store, StoreConfig};
use lockstep_worker::GraphSettings;

use crate::failure::Failure;
use crate::output::Format;
use crate::settings::{SettingFlags, Settings};

/// Settings and output format of one run.
pub struct App {
    pub settings: Settings,
    pub format: Format,
}

impl App {
    /// Reads the settings; opens nothing yet.
    pub fn load(flags: &SettingFlags, format: Format) -> Result<Self, Failure> {
        let settings = Settings::load(flags).map_err(|error| Failure::Usage(error.to_string()))?;
        Ok(Self { settings, format })
    }

    /// Opens the store; makes it, and its key, on first use.
    pub async fn store(&self) -> Result<Store, Failure> {
        let config = StoreConfig {
            url: self.settings.store_url.clone(),
            key_file: self.settings.key_file.clone(),
            clock: Clock::system(),
            timing: self.settings.timing.clone(),
        };
        Ok(Store::open(config).await?)
    }

    /// Brings the store's schema up to date.
    pub async fn migrate(&self) -> Result<Schema, Failure> {
        Ok(lockstep_store::migrate(&self.settings.store_url, self.settings.migrate_url.as_deref()).await?)
    }

    /// Opens the queue.
    pub async fn queue(&self) -> Result<Queue, Failure> {
        let url: QueueUrl = self.settings.queue_url.parse()?;
        Ok(Queue::open(&url).await?)
    }

    /// Where Graph is, when it is not the connection's cloud.
    pub fn graph(&self) -> GraphSettings {
        GraphSettings { graph_url: self.settings.graph_url.clone(), login_url: self.settings.login_url.clone() }
    }
}

/// The connection of this name.
pub async fn named_connection(store: &Store, name: &str) -> Result<Connection, Failure> {
    store.lookup_connection_by_name(name).await?.ok_or_else(|| {
        Failure::Failed(format!("there is no connection {name}; `lockstep connection list` shows which there are"))
    })
}

/// The live record that a directory user is linked to.
pub async fn record_of(store: &Store, connection: &Connection, user: ObjectId) -> Result<Option<Record>, Failure> {
    let person = store.load_people(connection, People::Ids(&[user])).await?.pop();
    Ok(person.and_then(|person| person.record))
}
