//! Opening the store, and transactions.

mod lite;
mod migrations;
mod postgres;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_core::timing::Timing;
use lockstep_core::{ConnectionId, ObjectId, Ticket, Timestamp};
use sqlx::postgres::PgPool;

use crate::clock::Clock;
use crate::connection::Connection;
use crate::error::StoreError;
use crate::measure::Timer;
use crate::secret::Keys;
use crate::sql::{Row, Scope, Sql, sql};
use lite::{Lite, LiteTx};
pub use migrations::{Schema, migrate};
use postgres::PgTx;

const DRAWING: &str = "drawing a ticket";
const LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
const LOCK_SHARED: &str = "SELECT pg_advisory_xact_lock_shared(hashtextextended($1, 0))";

/// What the store needs to open.
#[derive(Clone)]
pub struct StoreConfig {
    /// `sqlite://PATH`, or `postgres://USER:PASSWORD@HOST/DATABASE`.
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
    Lite(Lite),
    /// Any number of processes.
    Pg(PgPool),
}

/// A transaction with a name. Dropped without [`Tx::commit`] it leaves nothing behind.
pub struct Tx {
    inner: OpenTx,
    name: &'static str,
    store: Store,
    timer: Timer,
}

enum OpenTx {
    Lite(LiteTx),
    Pg(PgTx),
}

impl Db {
    async fn open(url: &str) -> Result<Self, StoreError> {
        match postgres::is_url(url) {
            true => postgres::open(url).await.map(Self::Pg),
            false => Lite::open(&lite::path_of(url)?).await.map(Self::Lite),
        }
    }

    /// All rows of a query outside any transaction.
    async fn all(&self, operation: &'static str, query: Sql) -> Result<Vec<Row>, StoreError> {
        let failed = |source| StoreError::database(operation, source);
        Ok(match self {
            Self::Lite(lite) => {
                let rows = query.for_sqlite().fetch_all(&lite.read).await.map_err(failed)?;
                rows.into_iter().map(Row::Lite).collect()
            }
            Self::Pg(pool) => postgres::all(pool, query).await.map_err(failed)?.into_iter().map(Row::Pg).collect(),
        })
    }

    /// The row of a query outside any transaction, if there is one.
    pub(crate) async fn one(&self, operation: &'static str, query: Sql) -> Result<Option<Row>, StoreError> {
        Ok(self.all(operation, query).await?.into_iter().next())
    }

    /// One statement by itself, before there is a store to begin a transaction of.
    pub(crate) async fn run(&self, operation: &'static str, statement: Sql) -> Result<(), StoreError> {
        let done = match self {
            Self::Lite(lite) => statement.for_sqlite().execute(&lite.write).await.map(|_| ()),
            Self::Pg(pool) => statement.for_postgres().execute(pool).await.map(|_| ()),
        };
        done.map_err(|source| StoreError::database(operation, source))
    }
}

impl Store {
    /// Opens the store. SQLite: makes folder, file and key file when they are missing, and brings the schema up to date.
    /// PostgreSQL: the schema must be there, see [`migrate`]; the machine's clock gives way to the database's (FA-26).
    ///
    /// # Errors
    /// `WrongKey` when the store's secrets are under another key; `Refused` for a URL or key file that cannot be used, a
    /// schema older than this program, or a role that row-level security does not bind.
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        let db = Db::open(&config.url).await?;
        lite::make_parent(&config.key_file)?;
        if let Db::Pg(pool) = &db {
            postgres::follow_its_clock(pool, &config.clock).await?;
        }
        let keys = crate::installation::unlock(&db, &config.key_file, config.clock.now()).await?;
        Ok(Self(Arc::new(Opened { db, keys, clock: config.clock, timing: config.timing, places: AtomicUsize::new(0) })))
    }

    /// Closes all connections. SQLite's log is folded into the file by the last one.
    pub async fn close(&self) {
        match &self.0.db {
            Db::Lite(lite) => lite.close().await,
            Db::Pg(pool) => pool.close().await,
        }
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
        let failed = |source| StoreError::database(DRAWING, source);
        let ticket = match &self.0.db {
            Db::Lite(lite) => lite.draw_ticket().await?,
            Db::Pg(pool) => Some(postgres::draw_ticket(pool).await.map_err(failed)?),
        };
        tracing::trace!(target: "lockstep::point", "store.ticket_drawn");
        ticket.map(Ticket).ok_or_else(|| failed(sqlx::Error::RowNotFound))
    }

    /// The same, if the mirror knows this user and no look at them is planned: a hint would ask for one at once.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn draw_ticket_at_rest(
        &self,
        connection: ConnectionId,
        user: ObjectId,
    ) -> Result<Option<Ticket>, StoreError> {
        let ticket = match &self.0.db {
            Db::Lite(lite) => lite.draw_ticket_at_rest(connection, user).await?,
            Db::Pg(pool) => postgres::draw_ticket_at_rest(pool, connection, user)
                .await
                .map_err(|source| StoreError::database(DRAWING, source))?,
        };
        tracing::trace!(target: "lockstep::point", "store.ticket_drawn");
        Ok(ticket.map(Ticket))
    }

    /// Begins a transaction that writes. The name labels its errors. On SQLite a process writes one at a time: whoever holds
    /// a transaction must not draw a ticket, begin another or call anything of [`Store`] that writes before it ends, and must
    /// not wait for the network in it.
    ///
    /// # Errors
    /// When the file stays locked by another process. PostgreSQL is asked with the first statement, which fails if it cannot be
    /// reached.
    pub async fn begin(&self, name: &'static str) -> Result<Tx, StoreError> {
        match &self.0.db {
            Db::Lite(lite) => {
                let timer = Timer::asked(name);
                let inner = OpenTx::Lite(lite.begin(name).await?);
                Ok(Tx { inner, name, store: self.clone(), timer: timer.begun() })
            }
            Db::Pg(pool) => Ok(self.beginning(name, PgTx::begin(pool))),
        }
    }

    fn beginning(&self, name: &'static str, tx: PgTx) -> Tx {
        Tx { inner: OpenTx::Pg(tx), name, store: self.clone(), timer: Timer::asked(name) }
    }

    /// Begins a transaction whose loss in a power cut does no harm: like a ticket it survives kill -9, and is on the disk
    /// with the next commit of another one or [`Store::flush`]. For leases (work nobody is known to hold is taken anew), and
    /// for what the queue still keeps.
    pub(crate) async fn begin_unsynced(&self, name: &'static str) -> Result<Tx, StoreError> {
        let Db::Lite(lite) = &self.0.db else { return self.begin(name).await };
        let timer = Timer::asked(name);
        let inner = OpenTx::Lite(lite.begin_unsynced(name).await?);
        Ok(Tx { inner, name, store: self.clone(), timer: timer.begun() })
    }

    /// After it even a power cut loses nothing of what was committed before, that of [`Store::take_hints`] included.
    ///
    /// # Errors
    /// When the disk fails: what was taken last may be lost by a power cut.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match &self.0.db {
            Db::Lite(lite) => lite.flush().await,
            Db::Pg(_) => Ok(()),
        }
    }

    /// The same for upkeep and for what an operator asks for by id: it sees the rows of all connections (G-22).
    pub(crate) async fn begin_everywhere(&self, name: &'static str) -> Result<Tx, StoreError> {
        let Db::Pg(pool) = &self.0.db else { return self.begin(name).await };
        Ok(self.beginning(name, PgTx::begin_everywhere(pool)))
    }

    /// Begins a transaction that only reads, for several queries about one connection: on PostgreSQL each by itself would begin
    /// and end one of its own, and what waits there is the round trips. Dropping it ends it. `None` on SQLite, where a query
    /// makes no round trip.
    pub(crate) fn begin_reading(&self, name: &'static str, connection: ConnectionId) -> Option<Tx> {
        let Db::Pg(pool) = &self.0.db else { return None };
        Some(self.beginning(name, PgTx::begin_reading(pool, Scope::of(connection))))
    }

    /// Of the next `places` of work: how many are kept for the background.
    pub(crate) fn background_places(&self, places: usize) -> usize {
        const EVERY: usize = 10;
        let before = self.0.places.fetch_add(places, Ordering::Relaxed);
        before.wrapping_add(places) / EVERY - before / EVERY
    }

    /// All rows of a query outside any transaction.
    pub(crate) async fn all(&self, operation: &'static str, query: Sql) -> Result<Vec<Row>, StoreError> {
        self.0.db.all(operation, query).await
    }

    /// The row of a query outside any transaction, if there is one.
    pub(crate) async fn one(&self, operation: &'static str, query: Sql) -> Result<Option<Row>, StoreError> {
        self.0.db.one(operation, query).await
    }
}

impl Tx {
    /// Makes everything in it durable at once.
    ///
    /// # Errors
    /// When the commit failed or its result is unknown: the task runs again (G-14).
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { inner, name, timer, .. } = self;
        tracing::trace!(target: "lockstep::point", "store.before_commit");
        let committed = match inner {
            OpenTx::Lite(LiteTx { tx, _turn }) => tx.commit().await,
            OpenTx::Pg(tx) => tx.commit().await,
        };
        timer.ended(&committed);
        committed.map_err(|source| StoreError::database(name, source))?;
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

    /// Whether other transactions write at the same time: then what is read and written again must be locked between.
    pub(crate) fn has_company(&self) -> bool {
        matches!(self.inner, OpenTx::Pg(_))
    }

    /// What comes will see this realm's records too: a transaction that has not begun yet begins so.
    pub(crate) fn expect_realm(&mut self, connection: &Connection) {
        if let OpenTx::Pg(tx) = &mut self.inner {
            tx.expect(Scope::of_realm(connection.id, &connection.realm));
        }
    }

    /// Waits until nobody else holds this name, and holds it to the end: for what is read first and inserted then.
    pub(crate) async fn lock_name(&mut self, name: impl std::fmt::Display) -> Result<(), StoreError> {
        self.advisory(LOCK, name.to_string()).await
    }

    /// Holds this name together with others who share it, against whoever wants it alone.
    pub(crate) async fn share_name(&mut self, name: impl std::fmt::Display) -> Result<(), StoreError> {
        self.advisory(LOCK_SHARED, name.to_string()).await
    }

    async fn advisory(&mut self, lock: &'static str, name: String) -> Result<(), StoreError> {
        if self.has_company() {
            self.run(sql(lock).bind(name)).await?;
        }
        Ok(())
    }

    /// Runs a statement; how many rows it touched.
    pub(crate) async fn run(&mut self, statement: Sql) -> Result<u64, StoreError> {
        let done = match &mut self.inner {
            OpenTx::Lite(lite) => statement.for_sqlite().execute(&mut *lite.tx).await.map(|done| done.rows_affected()),
            OpenTx::Pg(tx) => tx.run(statement).await,
        };
        done.map_err(|source| StoreError::database(self.name, source))
    }

    /// All rows of a query.
    pub(crate) async fn all(&mut self, query: Sql) -> Result<Vec<Row>, StoreError> {
        let rows = match &mut self.inner {
            OpenTx::Lite(lite) => {
                let rows = query.for_sqlite().fetch_all(&mut *lite.tx).await;
                rows.map(|rows| rows.into_iter().map(Row::Lite).collect())
            }
            OpenTx::Pg(tx) => tx.all(query).await.map(|rows| rows.into_iter().map(Row::Pg).collect()),
        };
        rows.map_err(|source| StoreError::database(self.name, source))
    }

    /// The row of a query, if there is one.
    pub(crate) async fn one(&mut self, query: Sql) -> Result<Option<Row>, StoreError> {
        let row = match &mut self.inner {
            OpenTx::Lite(lite) => query.for_sqlite().fetch_optional(&mut *lite.tx).await.map(|row| row.map(Row::Lite)),
            OpenTx::Pg(tx) => tx.one(query).await.map(|row| row.map(Row::Pg)),
        };
        row.map_err(|source| StoreError::database(self.name, source))
    }

    /// The one row a query always has.
    pub(crate) async fn only(&mut self, query: Sql) -> Result<Row, StoreError> {
        let name = self.name;
        self.one(query).await?.ok_or(StoreError::Database { operation: name, source: sqlx::Error::RowNotFound })
    }
}
