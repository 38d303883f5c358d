//! The reference *upsert*: set-based upserts of rows of 20 columns, a batch of people at a time, each batch a transaction.

use std::str::FromStr;
use std::time::Instant;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::error::{BenchError, During as _};
use crate::statistics::number;

const ATTEMPT: &str = "upserting as the reference does";
/// As many people as one request to Graph brings.
pub(crate) const BATCH: usize = 300;
const COLUMNS: usize = 20;

/// Rows changed a second, so many a transaction, on the engine of this URL. They are inserted before, which is not measured.
pub(crate) async fn rate(url: &str, rows: usize, batch: usize) -> Result<f64, BenchError> {
    let passes = if url.starts_with("postgres") {
        let mut connection = PgConnection::connect(url).await.during(ATTEMPT)?;
        passes(&mut connection, rows, batch).await
    } else {
        let options = SqliteConnectOptions::from_str(url).during(ATTEMPT)?.create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await.during(ATTEMPT)?;
        passes(&mut connection, rows, batch).await
    };
    passes.during(ATTEMPT)
}

async fn passes<C>(connection: &mut C, rows: usize, batch: usize) -> Result<f64, sqlx::Error>
where
    C: Connection,
    for<'c> &'c mut C: sqlx::Executor<'c, Database = C::Database>,
    <C::Database as sqlx::Database>::Arguments: sqlx::IntoArguments<C::Database>,
    i64: for<'q> sqlx::Encode<'q, C::Database> + sqlx::Type<C::Database>,
    String: for<'q> sqlx::Encode<'q, C::Database> + sqlx::Type<C::Database>,
{
    let columns: Vec<String> = (1..COLUMNS).map(|number| format!("c{number}")).collect();
    let table =
        format!("CREATE TABLE IF NOT EXISTS upserted (id BIGINT PRIMARY KEY, {} TEXT)", columns.join(" TEXT, "));
    sqlx::query(AssertSqlSafe(table)).execute(&mut *connection).await?;
    let mut seconds = 0.0;
    for pass in ["before", "after"] {
        let began = Instant::now();
        for first in (0..rows).step_by(batch) {
            upsert(connection, &columns, first, batch.min(rows - first), pass).await?;
        }
        seconds = began.elapsed().as_secs_f64();
    }
    Ok(number(rows) / seconds)
}

async fn upsert<C>(
    connection: &mut C,
    columns: &[String],
    first: usize,
    count: usize,
    value: &str,
) -> Result<(), sqlx::Error>
where
    C: Connection,
    for<'c> &'c mut C: sqlx::Executor<'c, Database = C::Database>,
    <C::Database as sqlx::Database>::Arguments: sqlx::IntoArguments<C::Database>,
    i64: for<'q> sqlx::Encode<'q, C::Database> + sqlx::Type<C::Database>,
    String: for<'q> sqlx::Encode<'q, C::Database> + sqlx::Type<C::Database>,
{
    let row = |place: usize| {
        let binds: Vec<String> = (1..=COLUMNS).map(|column| format!("${}", place * COLUMNS + column)).collect();
        format!("({})", binds.join(", "))
    };
    let rows: Vec<String> = (0..count).map(row).collect();
    let changes: Vec<String> = columns.iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let text = format!(
        "INSERT INTO upserted (id, {}) VALUES {} ON CONFLICT (id) DO UPDATE SET {}",
        columns.join(", "),
        rows.join(", "),
        changes.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(text));
    for id in first..first + count {
        query = query.bind(i64::try_from(id).unwrap_or(i64::MAX));
        for column in columns {
            query = query.bind(format!("{column} {value} of somebody {id}"));
        }
    }
    query.execute(&mut *connection).await.map(|_| ())
}
