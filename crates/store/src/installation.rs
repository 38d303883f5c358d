//! What this installation is: its key, and the queue file it knows.

use std::path::Path;

use lockstep_core::Timestamp;
use secrecy::ExposeSecret;
use uuid::Uuid;

use crate::db::{Db, Store};
use crate::error::StoreError;
use crate::key_file;
use crate::secret::{Keys, Place};
use crate::sql::{lock, sql};

const KNOWN_TEXT: &[u8] = b"lockstep";
const KEY_CHECK: Place<'static> = Place { table: "installation", row: "1", column: "key_check" };

const LOOKUP: &str = "SELECT key_id, key_check FROM installation WHERE id = 1";
const FOUND: &str = "INSERT INTO installation (id, created_at, key_id, key_check) VALUES (1, $1, $2, $3)
    ON CONFLICT (id) DO NOTHING";
const QUEUE: &str = "SELECT queue_generation FROM installation WHERE id = 1";
const REMEMBER_QUEUE: &str = "UPDATE installation SET queue_generation = $1 WHERE id = 1";

/// Whether the queue is the one the store knows (FA-05).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueSeen {
    /// The store had not seen a queue before.
    First,
    /// The same as last time.
    Same,
    /// Another one: hints were lost, every connection needs a full compare.
    Replaced,
}

/// The keys under which this store's secrets are, made now if the store is new.
pub(crate) async fn unlock(db: &Db, path: &Path, now: Timestamp) -> Result<Keys, StoreError> {
    if let Some(wanted) = key_check(db).await? {
        return check(key_file::read(path)?, wanted, path);
    }
    if key_file::read(path)?.is_none() {
        key_file::create(path)?;
    }
    let keys = key_file::read(path)?.ok_or_else(|| StoreError::refused("the key file vanished while it was made"))?;
    let sealed = keys.seal(&KEY_CHECK, KNOWN_TEXT);
    db.run("founding the store", sql(FOUND).bind(now).bind(keys.id()).bind(sealed)).await?;
    match key_check(db).await? {
        // Two first starts with two key files: the row tells whose came first.
        Some(wanted) => check(Some(keys), wanted, path),
        None => Err(StoreError::impossible("installation", "id", 1)),
    }
}

struct KeyCheck {
    id: String,
    sealed: Vec<u8>,
}

async fn key_check(db: &Db) -> Result<Option<KeyCheck>, StoreError> {
    let Some(row) = db.one("reading the key check", sql(LOOKUP)).await? else { return Ok(None) };
    Ok(Some(KeyCheck { id: row.get("key_id")?, sealed: row.get("key_check")? }))
}

fn check(keys: Option<Keys>, wanted: KeyCheck, path: &Path) -> Result<Keys, StoreError> {
    match keys {
        Some(keys) if keys.open(&KEY_CHECK, &wanted.sealed).is_ok_and(|text| text.expose_secret() == KNOWN_TEXT) => {
            Ok(keys)
        }
        _ => Err(StoreError::WrongKey { path: path.to_owned(), wanted: wanted.id }),
    }
}

impl Store {
    /// The generation of the queue that belongs to this store; `None` before the first one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn known_queue(&self) -> Result<Option<Uuid>, StoreError> {
        let row = self.one("known_queue", sql(QUEUE)).await?;
        row.map_or(Ok(None), |row| row.get("queue_generation"))
    }

    /// Remembers which queue belongs to this store.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn remember_queue(&self, generation: Uuid) -> Result<QueueSeen, StoreError> {
        let mut tx = self.begin("remember_queue").await?;
        let known: Option<Uuid> = tx.only(sql(QUEUE).on_postgres(lock::ROWS)).await?.get("queue_generation")?;
        let seen = match known {
            None => QueueSeen::First,
            Some(known) if known == generation => return Ok(QueueSeen::Same),
            Some(_) => QueueSeen::Replaced,
        };
        tx.run(sql(REMEMBER_QUEUE).bind(generation)).await?;
        tx.commit().await?;
        Ok(seen)
    }
}
