//! Opening the store, and transactions.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lockstep_core::timing::Timing;
use lockstep_core::{Ticket, Timestamp};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::clock::Clock;
use crate::error::StoreError;
use crate::measure::Timer;
use crate::secret::Keys;
use crate::sql::{Row, Sql, sql};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a read waits for a free connection.
const POOL_WAIT: Duration = Duration::from_secs(10);
const READ_CONNECTIONS: u32 = 4;
/// Two processes that start at once may meet in the migrations; the second one finds them done.
const MIGRATION_TRIES: u32 = 20;

const DRAW_TICKET: &str = "UPDATE ticket SET value = value + 1 WHERE id = 1 RETURNING value";

/// What the store needs to open.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite://PATH`.
    pub url: String,
    /// The key file; made with mode 0600 when neither it nor the store exists.
    pub key_file: PathBuf,
    /// Where store time comes from.
    pub clock: Clock,
    /// The constants of `guarantees.md` §1.
    pub timing: Timing,
}

/// Everything Lockstep knows and owes. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Opened>);

struct Opened {
    db: Db,
    keys: Keys,
    clock: Clock,
    timing: Timing,
    /// Places of work given out, so that every tenth is background's (see `due::claim`).
    places: AtomicUsize,
}

/// The databases there are.
pub(crate) enum Db {
    /// One file.
    Lite {
        /// One connection, `synchronous=FULL`.
        write: SqlitePool,
        /// Readers never wait for the writer (WAL).
        read: SqlitePool,
        /// Draws tickets and takes leases with `synchronous=NORMAL`: a ticket must be committed before each request to
        /// Graph, and an fsync each would be most of its cost. The page cache keeps it through kill -9. A power loss can
        /// only lose tickets that no applied snapshot carries, because the commit of a snapshot is FULL and syncs the
        /// whole log, the ticket's frames before it included.
        ticket: SqlitePool,
        /// Whose turn it is to write in this process: waiting here is fair and wakes at once, whereas SQLite's own
        /// busy handler sleeps up to 100 ms at a time.
        turn: Arc<Mutex<()>>,
    },
}

/// A transaction with a name. Dropped without [`Tx::commit`] it leaves nothing behind.
pub struct Tx {
    inner: OpenTx,
    name: &'static str,
    store: Store,
    timer: Timer,
    // Dropped last: the next writer starts after the rollback of this one was queued.
    _turn: OwnedMutexGuard<()>,
}

enum OpenTx {
    Lite(Transaction<'static, Sqlite>),
}

impl Store {
    /// Opens the store, making folder, file and key file when they are missing, and brings its schema up to date.
    ///
    /// # Errors
    /// `WrongKey` when the store's secrets are under another key; `Refused` for a URL or key file that cannot be used.
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let path = sqlite_path(&config.url)?;
        make_parent(&path)?;
        make_parent(&config.key_file)?;
        let write = connect(&path, 1, SqliteSynchronous::Full).await?;
        migrate(&write).await?;
        let keys = crate::installation::unlock(&write, &config.key_file, config.clock.now()).await?;
        let db = Db::Lite {
            write,
            read: connect(&path, READ_CONNECTIONS, SqliteSynchronous::Full).await?,
            ticket: connect(&path, 1, SqliteSynchronous::Normal).await?,
            turn: Arc::new(Mutex::new(())),
        };
        Ok(Self(Arc::new(Opened { db, keys, clock: config.clock, timing: config.timing, places: AtomicUsize::new(0) })))
    }

    /// Closes all connections; the log is folded into the file by the last one.
    pub async fn close(&self) {
        let Db::Lite { write, read, ticket, .. } = &self.0.db;
        ticket.close().await;
        read.close().await;
        write.close().await;
    }

    /// The clock rows are stamped with.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Store time.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The keys of this installation.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// The constants of `guarantees.md` §1.
    pub fn timing(&self) -> &Timing {
        &self.0.timing
    }

    /// The next place in the order of reads (G-08), committed when this returns. Never given twice, whatever process
    /// asks.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn draw_ticket(&self) -> Result<Ticket, StoreError> {
        let Db::Lite { ticket, turn, .. } = &self.0.db;
        let _turn = take_turn(turn, "drawing a ticket").await?;
        let row = sql(DRAW_TICKET)
            .for_sqlite()
            .fetch_one(ticket)
            .await
            .map_err(|source| StoreError::database("drawing a ticket", source))?;
        tracing::trace!(target: "lockstep::point", "store.ticket_drawn");
        Row::Lite(row).get("value").map(Ticket)
    }

    /// Begins a transaction that writes. The name labels its errors. A process writes one at a time: whoever holds a
    /// transaction must not draw a ticket, begin another or call anything of [`Store`] that writes before it ends, and must
    /// not wait for the network in it.
    ///
    /// # Errors
    /// When the database cannot be reached or stays locked by another process.
    pub async fn begin(&self, name: &'static str) -> Result<Tx, StoreError> {
        let Db::Lite { write, turn, .. } = &self.0.db;
        self.begin_on(write, turn, name).await
    }

    /// Begins a transaction whose loss in a power cut does no harm: like a ticket it survives kill -9, and is on the disk
    /// with the next commit of another one at the latest. For leases: work nobody is known to hold is taken anew.
    pub(crate) async fn begin_lease(&self, name: &'static str) -> Result<Tx, StoreError> {
        let Db::Lite { ticket, turn, .. } = &self.0.db;
        self.begin_on(ticket, turn, name).await
    }

    async fn begin_on(&self, pool: &SqlitePool, turn: &Arc<Mutex<()>>, name: &'static str) -> Result<Tx, StoreError> {
        let timer = Timer::asked(name);
        let turn = take_turn(turn, name).await?;
        // A plain BEGIN that writes later cannot wait: it fails at once when somebody else wrote meanwhile.
        let inner = pool.begin_with("BEGIN IMMEDIATE").await.map_err(|source| StoreError::database(name, source))?;
        Ok(Tx { inner: OpenTx::Lite(inner), name, store: self.clone(), timer: timer.begun(), _turn: turn })
    }

    /// Of the next `places` of work: how many are kept for the background.
    pub(crate) fn background_places(&self, places: usize) -> usize {
        const EVERY: usize = 10;
        let before = self.0.places.fetch_add(places, Ordering::Relaxed);
        before.wrapping_add(places) / EVERY - before / EVERY
    }

    /// All rows of a query outside any transaction.
    pub(crate) async fn all(&self, operation: &'static str, query: Sql) -> Result<Vec<Row>, StoreError> {
        let Db::Lite { read, .. } = &self.0.db;
        let rows = query.for_sqlite().fetch_all(read).await;
        Ok(rows.map_err(|source| StoreError::database(operation, source))?.into_iter().map(Row::Lite).collect())
    }

    /// The row of a query outside any transaction, if there is one.
    pub(crate) async fn one(&self, operation: &'static str, query: Sql) -> Result<Option<Row>, StoreError> {
        let Db::Lite { read, .. } = &self.0.db;
        let row = query.for_sqlite().fetch_optional(read).await;
        Ok(row.map_err(|source| StoreError::database(operation, source))?.map(Row::Lite))
    }
}

impl Tx {
    /// Makes everything in it durable at once.
    ///
    /// # Errors
    /// When the commit failed or its result is unknown: the task runs again (G-14).
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { inner: OpenTx::Lite(tx), name, timer, .. } = self;
        tracing::trace!(target: "lockstep::point", "store.before_commit");
        let ended = tx.commit().await;
        timer.ended(&ended);
        ended.map_err(|source| StoreError::database(name, source))?;
        tracing::trace!(target: "lockstep::point", "store.committed");
        Ok(())
    }

    /// Store time.
    pub(crate) fn now(&self) -> Timestamp {
        self.store.now()
    }

    pub(crate) fn timing(&self) -> &Timing {
        self.store.timing()
    }

    pub(crate) fn keys(&self) -> &Keys {
        self.store.keys()
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Runs a statement; how many rows it touched.
    pub(crate) async fn run(&mut self, statement: Sql) -> Result<u64, StoreError> {
        let OpenTx::Lite(tx) = &mut self.inner;
        let done = statement.for_sqlite().execute(&mut **tx).await;
        Ok(done.map_err(|source| StoreError::database(self.name, source))?.rows_affected())
    }

    /// All rows of a query.
    pub(crate) async fn all(&mut self, query: Sql) -> Result<Vec<Row>, StoreError> {
        let OpenTx::Lite(tx) = &mut self.inner;
        let rows = query.for_sqlite().fetch_all(&mut **tx).await;
        Ok(rows.map_err(|source| StoreError::database(self.name, source))?.into_iter().map(Row::Lite).collect())
    }

    /// The row of a query, if there is one.
    pub(crate) async fn one(&mut self, query: Sql) -> Result<Option<Row>, StoreError> {
        let OpenTx::Lite(tx) = &mut self.inner;
        let row = query.for_sqlite().fetch_optional(&mut **tx).await;
        Ok(row.map_err(|source| StoreError::database(self.name, source))?.map(Row::Lite))
    }

    /// The one row a query always has.
    pub(crate) async fn only(&mut self, query: Sql) -> Result<Row, StoreError> {
        let name = self.name;
        self.one(query).await?.ok_or(StoreError::Database { operation: name, source: sqlx::Error::RowNotFound })
    }
}

/// Bounded, so that a transaction held too long shows as an error of whoever waits for it.
async fn take_turn(turn: &Arc<Mutex<()>>, operation: &'static str) -> Result<OwnedMutexGuard<()>, StoreError> {
    tokio::time::timeout(BUSY_TIMEOUT, Arc::clone(turn).lock_owned())
        .await
        .map_err(|_| StoreError::Database { operation, source: sqlx::Error::PoolTimedOut })
}

fn sqlite_path(url: &str) -> Result<PathBuf, StoreError> {
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Err(StoreError::refused("PostgreSQL is not in this version yet: use a store URL sqlite://PATH"));
    }
    match url.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(StoreError::refused(
            "the store URL must be sqlite://PATH, for example sqlite://./lockstep-data/lockstep.db",
        )),
    }
}

fn make_parent(path: &Path) -> Result<(), StoreError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::create_dir_all(parent).map_err(|source| StoreError::File {
        operation: "making the folder",
        path: parent.to_owned(),
        source,
    })
}

async fn connect(path: &Path, connections: u32, synchronous: SqliteSynchronous) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true);
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(POOL_WAIT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(|source| StoreError::database("opening the store", source))
}

async fn migrate(write: &SqlitePool) -> Result<(), StoreError> {
    let migrations = sqlx::migrate!("../../migrations/sqlite");
    let mut tries = 0;
    loop {
        tries += 1;
        match migrations.run(write).await {
            Ok(()) => return Ok(()),
            Err(_) if tries < MIGRATION_TRIES => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(source) => return Err(StoreError::Migration { source: Box::new(source) }),
        }
    }
}
