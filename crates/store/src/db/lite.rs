//! SQLite: one file, one writer at a time.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockstep_core::{ConnectionId, ObjectId};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::DRAWING;
use super::migrations::{self, Schema};
use crate::error::StoreError;
use crate::sql::{IDS_PER_STATEMENT, Row, Sql, sql};

const DRAW_TICKET: &str = "UPDATE ticket SET value = value + 1 WHERE id = 1";
const IF_KNOWN: &str = " AND EXISTS (SELECT 1 FROM directory_user WHERE connection_id = ";
const IF_AT_REST: &str = ") AND NOT EXISTS (SELECT 1 FROM due WHERE connection_id = ";
const DRAWN: &str = " RETURNING value";
/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a read waits for a free connection.
const POOL_WAIT: Duration = Duration::from_secs(10);
const READ_CONNECTIONS: u32 = 4;
/// Of one connection; which texts come again see `sql::render`.
const PREPARED_STATEMENTS: usize = 300;
/// Rows that wait for whoever asked: all of one statement, so that SQLite's thread never waits in the middle of it.
const ROWS_IN_HAND: usize = IDS_PER_STATEMENT;
/// Two processes that start at once may meet in the migrations; the second one finds them done.
const MIGRATION_TRIES: u32 = 20;
const OPENING_TRIES: u32 = 100;
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// One file.
pub(crate) struct Lite {
    /// One connection, `synchronous=FULL`.
    pub(super) write: SqlitePool,
    /// Readers never wait for the writer (WAL).
    pub(super) read: SqlitePool,
    /// `synchronous=NORMAL`, for tickets, leases and what is taken from the queue: work waits for their commits, and an
    /// fsync each would be most of its cost. The page cache keeps them through kill -9. A power loss can only lose
    /// tickets that no applied snapshot carries, because the commit of a snapshot is FULL and syncs the whole log, the
    /// frames before it included.
    pub(super) unsynced: SqlitePool,
    pub(super) schema: Schema,
    path: PathBuf,
    /// Whose turn it is to write in this process: waiting here is fair and wakes at once, whereas SQLite's own
    /// busy handler sleeps up to 100 ms at a time.
    turn: Arc<Mutex<()>>,
}

/// A transaction, and the turn to write that it has.
pub(super) struct LiteTx {
    pub(super) tx: Transaction<'static, Sqlite>,
    // Dropped last: the next writer starts after the rollback of this one was queued.
    pub(super) _turn: OwnedMutexGuard<()>,
}

impl Lite {
    /// Makes folder and file when they are missing, and brings the schema up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        make_parent(path)?;
        let write = connect(path, 1, SqliteSynchronous::Full).await?;
        let schema = migrate(&write).await?;
        flush_folder(path)?;
        Ok(Self {
            schema,
            write,
            read: connect(path, READ_CONNECTIONS, SqliteSynchronous::Full).await?,
            unsynced: connect(path, 1, SqliteSynchronous::Normal).await?,
            path: path.to_owned(),
            turn: Arc::new(Mutex::new(())),
        })
    }

    pub(super) async fn close(&self) {
        self.unsynced.close().await;
        self.read.close().await;
        self.write.close().await;
    }

    pub(super) async fn begin(&self, name: &'static str) -> Result<LiteTx, StoreError> {
        self.begin_on(&self.write, name).await
    }

    pub(super) async fn begin_unsynced(&self, name: &'static str) -> Result<LiteTx, StoreError> {
        self.begin_on(&self.unsynced, name).await
    }

    /// Puts the log on the disk, without a turn: writers go on meanwhile.
    pub(super) async fn flush(&self) -> Result<(), StoreError> {
        const OPERATION: &str = "flush";
        let log = log_of(&self.path);
        let flushed = tokio::task::spawn_blocking(move || fs::File::open(log)?.sync_data()).await;
        if matches!(flushed, Ok(Ok(()))) {
            return Ok(());
        }
        // A failed flush may have dropped part of the log, and what comes after it would be unreadable: all of it goes into
        // the file by SQLite's own way, or this fails too.
        let _turn = self.take_turn(OPERATION).await?;
        let folded = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.write).await;
        match folded.map_err(|source| StoreError::database(OPERATION, source))? {
            0 => Ok(()),
            _ => Err(StoreError::Database { operation: OPERATION, source: sqlx::Error::PoolTimedOut }),
        }
    }

    async fn begin_on(&self, pool: &SqlitePool, name: &'static str) -> Result<LiteTx, StoreError> {
        let turn = self.take_turn(name).await?;
        // A plain BEGIN that writes later cannot wait: it fails at once when somebody else wrote meanwhile.
        let tx = pool.begin_with("BEGIN IMMEDIATE").await;
        Ok(LiteTx { tx: tx.map_err(|source| StoreError::database(name, source))?, _turn: turn })
    }

    /// The next place in the order of reads.
    pub(super) async fn draw_ticket(&self) -> Result<Option<i64>, StoreError> {
        self.draw(sql(DRAW_TICKET).push(DRAWN)).await
    }

    /// The same for whoever the mirror knows and no look is planned at.
    pub(super) async fn draw_ticket_at_rest(
        &self,
        connection: ConnectionId,
        user: ObjectId,
    ) -> Result<Option<i64>, StoreError> {
        let known = sql(DRAW_TICKET).push(IF_KNOWN).value(connection).push(" AND user_id = ").value(user);
        let at_rest = known.push(IF_AT_REST).value(connection).push(" AND object_id = ").value(user).push(")");
        self.draw(at_rest.push(DRAWN)).await
    }

    /// Committed when this returns; `None`: the statement found nothing to do.
    async fn draw(&self, draw: Sql) -> Result<Option<i64>, StoreError> {
        let _turn = self.take_turn(DRAWING).await?;
        let row = draw.for_sqlite().fetch_optional(&self.unsynced).await;
        let row = row.map_err(|source| StoreError::database(DRAWING, source))?;
        row.map(|row| Row::Lite(row).get("value")).transpose()
    }

    /// Bounded, so that a transaction held too long shows as an error of whoever waits for it.
    async fn take_turn(&self, operation: &'static str) -> Result<OwnedMutexGuard<()>, StoreError> {
        tokio::time::timeout(BUSY_TIMEOUT, Arc::clone(&self.turn).lock_owned())
            .await
            .map_err(|_| StoreError::Database { operation, source: sqlx::Error::PoolTimedOut })
    }
}

/// A new log must be found again after a power cut: flushing a file says nothing of its name.
fn flush_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| cfg!(unix) && !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| StoreError::File {
        operation: "flushing the folder",
        path: folder.to_owned(),
        source,
    })
}

/// SQLite's name for the log beside the file.
fn log_of(path: &Path) -> PathBuf {
    let mut log = OsString::from(path);
    log.push("-wal");
    log.into()
}

/// The file of a store URL.
pub(super) fn path_of(url: &str) -> Result<PathBuf, StoreError> {
    match url.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Err(StoreError::refused(
            "the store URL must be sqlite://PATH, for example sqlite://./lockstep-data/lockstep.db, \
             or postgres://USER:PASSWORD@HOST/DATABASE",
        )),
    }
}

pub(super) fn make_parent(path: &Path) -> Result<(), StoreError> {
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
        .row_buffer_size(ROWS_IN_HAND)
        .statement_cache_capacity(PREPARED_STATEMENTS)
        .foreign_keys(true);
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(POOL_WAIT)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    let mut tries = 0;
    loop {
        tries += 1;
        match pool.clone().connect_with(options.clone()).await {
            // Two processes may switch a new file to WAL at once, and SQLite does not wait for that by itself.
            Err(source) if is_busy(&source) && tries < OPENING_TRIES => tokio::time::sleep(OPEN_AGAIN_AFTER).await,
            opened => return opened.map_err(|source| StoreError::database("opening the store", source)),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: &str = "5";
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == SQLITE_BUSY)
}

async fn migrate(write: &SqlitePool) -> Result<Schema, StoreError> {
    let migrations = sqlx::migrate!("../../migrations/sqlite");
    let mut tries = 0;
    loop {
        tries += 1;
        match migrations::outcome(&migrations, migrations.run(write).await) {
            Ok(schema) => return Ok(schema),
            Err(_) if tries < MIGRATION_TRIES => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(source) => return Err(StoreError::Migration { source: Box::new(source) }),
        }
    }
}
