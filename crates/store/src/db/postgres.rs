//! PostgreSQL: many writers at once, kept apart by row locks (G-08); a role that row-level security binds (G-22).

use std::str::FromStr;
use std::time::{Duration, Instant};

use lockstep_core::{ConnectionId, ObjectId};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgRow, PgTransactionManager};
use sqlx::{AssertSqlSafe, Connection, Postgres, Row as _, SqlSafeStr as _};
use sqlx_core::transaction::TransactionManager as _;

use crate::clock::Clock;
use crate::error::StoreError;
use crate::measure::waited;
use crate::sql::{Scope, Sql, sql};

/// Connections of one process: its workers' transactions, its reads, its tickets.
const CONNECTIONS: u32 = 16;
/// FA-08: nothing waits longer than this for a connection of the pool; nor does a start wait long for a database that is down.
const POOL_WAIT: Duration = Duration::from_secs(2);
/// FA-08, for every session: a statement, a wait for a lock, a process that stopped inside a transaction.
const TIMEOUTS: [(&str, &str); 3] =
    [("statement_timeout", "5s"), ("lock_timeout", "2s"), ("idle_in_transaction_session_timeout", "5s")];
/// A connection that lay idle for longer is asked whether it is still there: the database may have been restarted (FA-07).
const ASK_AFTER_IDLE: Duration = Duration::from_secs(1);
/// How often the database is asked for its time.
const CLOCK_READ_EVERY: Duration = Duration::from_secs(60);
/// Grown texts are of bounded number, see `sql::render`.
const PREPARED_STATEMENTS: usize = 400;

const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
const UNDEFINED_TABLE: &str = "42P01";
const BOUND_BY_POLICIES: &str =
    "SELECT NOT (r.rolsuper OR r.rolbypassrls OR pg_has_role(current_user, c.relowner, 'MEMBER'))
    FROM pg_roles r, pg_class c WHERE r.rolname = current_user AND c.oid = 'record'::regclass";
const ENTER: &str = "SELECT set_config('lockstep.connection', $1, true), set_config('lockstep.realm', $2, true)";
const DRAW_IF_KNOWN: &str = "SELECT nextval('ticket_order') AS value
    WHERE EXISTS (SELECT 1 FROM directory_user WHERE connection_id = ";
const IF_AT_REST: &str = ") AND NOT EXISTS (SELECT 1 FROM due WHERE connection_id = ";
const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";

/// Connects, and makes sure that the schema is there and the role is bound by row-level security.
pub(super) async fn open(url: &str) -> Result<PgPool, StoreError> {
    let options = options_of(url)?.statement_cache_capacity(PREPARED_STATEMENTS).options(TIMEOUTS);
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(POOL_WAIT)
        .test_before_acquire(false)
        .before_acquire(|connection, idle| {
            Box::pin(async move { Ok(idle.idle_for < ASK_AFTER_IDLE || connection.ping().await.is_ok()) })
        })
        .connect_with(options)
        .await
        .map_err(cannot_connect)?;
    refuse_old_schema(&pool).await?;
    refuse_unbound_role(&pool).await?;
    Ok(pool)
}

/// The server's own refusal says more than we could; no answer says nothing at all.
fn cannot_connect(source: sqlx::Error) -> StoreError {
    const WHY: &str =
        "PostgreSQL cannot be reached; check that it runs and that the store URL (LOCKSTEP_STORE_URL) reaches it";

    match source {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::Tls(_) => {
            StoreError::Unavailable { operation: "opening the store", why: WHY, source }
        }
        answered => StoreError::database("connecting to PostgreSQL", answered),
    }
}

pub(super) fn is_url(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// Never shows the URL: it holds a password.
pub(super) fn options_of(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| {
        StoreError::refused("the PostgreSQL URL cannot be read: it must be postgres://USER:PASSWORD@HOST/DATABASE")
    })?;
    Ok(options.application_name("lockstep"))
}

/// A newer schema is fine: two versions of the program run next to each other (G-29).
async fn refuse_old_schema(pool: &PgPool) -> Result<(), StoreError> {
    const OLD: &str = "the schema of the database is older than this program: run `lockstep migrate`";
    let applied: Vec<i64> = match sqlx::query_scalar(APPLIED).fetch_all(pool).await {
        Ok(applied) => applied,
        Err(error) if error.as_database_error().is_some_and(|it| it.code().as_deref() == Some(UNDEFINED_TABLE)) => {
            return Err(StoreError::refused(OLD));
        }
        Err(source) => return Err(StoreError::database("reading the schema's version", source)),
    };
    let migrations = super::migrations::postgres();
    let lacks = migrations.iter().any(|migration| !applied.contains(&migration.version));
    if lacks { Err(StoreError::refused(OLD)) } else { Ok(()) }
}

async fn refuse_unbound_role(pool: &PgPool) -> Result<(), StoreError> {
    let bound: bool = sqlx::query_scalar(BOUND_BY_POLICIES)
        .fetch_one(pool)
        .await
        .map_err(|source| StoreError::database("reading what the database role may do", source))?;
    match bound {
        true => Ok(()),
        false => Err(StoreError::refused(
            "the role in LOCKSTEP_STORE_URL owns the tables or passes by row-level security: make a role of its own \
             (CREATE ROLE lockstep LOGIN PASSWORD …), put it into LOCKSTEP_STORE_URL, and run `lockstep migrate` with the \
             owner in LOCKSTEP_MIGRATE_URL",
        )),
    }
}

/// Store time is the database's time, read now and once a minute: leases and due times of many machines agree (FA-26).
pub(super) async fn follow_its_clock(pool: &PgPool, clock: &Clock) -> Result<(), StoreError> {
    if !clock.is_the_machines() {
        return Ok(());
    }
    read_clock(pool, clock).await.map_err(|source| StoreError::database("reading the database's clock", source))?;
    let (pool, clock) = (pool.clone(), clock.clone());
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = pool.close_event() => return,
                () = tokio::time::sleep(CLOCK_READ_EVERY) => {}
            }
            // A database that is away is noticed by whoever works; the clock runs on by what it knew.
            if let Err(error) = read_clock(&pool, &clock).await {
                tracing::debug!(%error, "the database's clock was not read");
            }
        }
    });
    Ok(())
}

async fn read_clock(pool: &PgPool, clock: &Clock) -> Result<(), sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let asked = Instant::now();
    let micros: i64 = sqlx::query_scalar(NOW).fetch_one(&mut *connection).await?;
    clock.set(micros, asked, asked.elapsed());
    Ok(())
}

/// The next value of the sequence (`CACHE 1`): a draw is not undone by a rollback and outlives a crash.
pub(super) async fn draw_ticket(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT nextval('ticket_order')").fetch_one(pool).await
}

/// The same for whoever the mirror knows and no look is planned at. It is rolled back, and not on the disk when this returns:
/// the commit of the hint, without which nobody uses the ticket, brings it there.
pub(super) async fn draw_ticket_at_rest(
    pool: &PgPool,
    connection: ConnectionId,
    user: ObjectId,
) -> Result<Option<i64>, sqlx::Error> {
    let known = sql(DRAW_IF_KNOWN).value(connection).push(" AND user_id = ").value(user);
    let at_rest = known.push(IF_AT_REST).value(connection).push(" AND object_id = ").value(user).push(")");
    let row = PgTx::begin(pool).one(at_rest).await?;
    row.map(|row| row.try_get("value")).transpose()
}

/// A query outside any transaction; one with a scope has a short one of its own.
pub(super) async fn all(pool: &PgPool, query: Sql) -> Result<Vec<PgRow>, sqlx::Error> {
    let Some(scope) = query.scope() else {
        return query.for_postgres().fetch_all(pool).await;
    };
    // Dropped rather than committed: what only read is ended on the connection's way back into the pool, and nobody waits for it.
    PgTx::begin_reading(pool, scope).all(query).await
}

/// A transaction, and whose rows it sees. It begins with its first statement, in one round trip with the scope of that.
pub(super) struct PgTx {
    pool: PgPool,
    begin: &'static str,
    open: Option<PoolConnection<Postgres>>,
    scope: Scope,
    failed: bool,
}

impl PgTx {
    /// Sees nobody's rows yet.
    pub(super) fn begin(pool: &PgPool) -> Self {
        Self::begin_by("BEGIN", pool, Scope::default())
    }

    /// Sees all rows to its end.
    pub(super) fn begin_everywhere(pool: &PgPool) -> Self {
        Self::begin_by("BEGIN", pool, Scope::everywhere())
    }

    /// Sees the rows of this scope, and writes nothing.
    pub(super) fn begin_reading(pool: &PgPool, scope: Scope) -> Self {
        Self::begin_by("BEGIN READ ONLY", pool, scope)
    }

    fn begin_by(begin: &'static str, pool: &PgPool, scope: Scope) -> Self {
        Self { pool: pool.clone(), begin, open: None, scope, failed: false }
    }

    /// The scope to begin with, for whoever knows more of what will come than the first statement says.
    pub(super) fn expect(&mut self, scope: Scope) {
        if self.open.is_none() && self.scope == Scope::default() {
            self.scope = scope;
        }
    }

    pub(super) async fn run(&mut self, statement: Sql) -> Result<u64, sqlx::Error> {
        let open = self.enter(&statement).await?;
        let done = statement.for_postgres().execute(&mut **open).await;
        self.note(done.map(|done| done.rows_affected()))
    }

    pub(super) async fn all(&mut self, query: Sql) -> Result<Vec<PgRow>, sqlx::Error> {
        let open = self.enter(&query).await?;
        let rows = query.for_postgres().fetch_all(&mut **open).await;
        self.note(rows)
    }

    pub(super) async fn one(&mut self, query: Sql) -> Result<Option<PgRow>, sqlx::Error> {
        let open = self.enter(&query).await?;
        let row = query.for_postgres().fetch_optional(&mut **open).await;
        self.note(row)
    }

    /// PostgreSQL answers the COMMIT of a transaction in which a statement failed with a rollback and no error.
    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        if self.failed {
            return Err(sqlx::Error::Protocol("a statement of this transaction failed: it was rolled back".to_owned()));
        }
        match &mut self.open {
            Some(open) => PgTransactionManager::commit(open).await,
            None => Ok(()),
        }
    }

    /// The transaction, begun, with the scope that this statement wants.
    async fn enter(&mut self, statement: &Sql) -> Result<&mut PoolConnection<Postgres>, sqlx::Error> {
        let wanted = self.scope.change_for(statement);
        let changes = wanted.is_some();
        self.scope = wanted.unwrap_or_else(|| std::mem::take(&mut self.scope));
        match &mut self.open {
            None => {
                let asked = Instant::now();
                let begin = format!("{}{}", self.begin, self.scope.set_local());
                self.open = Some(begun(&self.pool, begin).await?);
                waited(asked);
            }
            Some(open) if changes => {
                let set = sql(ENTER).bind(self.scope.connections()).bind(self.scope.realm());
                let done = set.for_postgres().execute(&mut **open).await;
                self.note(done)?;
            }
            Some(_) => {}
        }
        self.open.as_mut().ok_or(sqlx::Error::BeginFailed)
    }

    fn note<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        self.failed |= done.is_err();
        done
    }
}

/// What was not committed is rolled back on the connection's way back into the pool.
impl Drop for PgTx {
    fn drop(&mut self) {
        if let Some(open) = &mut self.open {
            PgTransactionManager::start_rollback(open);
        }
    }
}

/// A connection on which a transaction was begun.
async fn begun(pool: &PgPool, begin: String) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let mut beginning = Beginning(Some(pool.acquire().await?));
    match &mut beginning.0 {
        Some(connection) => PgTransactionManager::begin(connection, Some(AssertSqlSafe(begin).into_sql_str())).await?,
        None => return Err(sqlx::Error::BeginFailed),
    }
    beginning.0.take().ok_or(sqlx::Error::BeginFailed)
}

/// Of a beginning that failed, or that nobody waits for any more, sqlx does not know that the server may have begun: its
/// connection would go back into the pool inside a transaction that nobody ends, and whoever gets it next would write into
/// that. It is closed.
struct Beginning(Option<PoolConnection<Postgres>>);

impl Drop for Beginning {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}
