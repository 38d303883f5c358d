//! The file: how it is opened, and its schema, which it carries in `user_version`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{Connection, SqliteConnection};
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::QueueError;

const SCHEMA: i64 = 1;

/// Below `confirm_timeout`, so that a locked file is reported as such.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(10);

/// `AUTOINCREMENT`: a tag must never come twice. An acknowledgement that arrives late would delete another message, and
/// readers go on behind the last tag they saw.
const CREATE: &str = "
    CREATE TABLE hint (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL) STRICT;
    CREATE TABLE generation (id BLOB NOT NULL) STRICT;
    PRAGMA user_version = 1;
";

/// How many messages there are, kept by the file itself: counting a million of them reads all their bodies, and a
/// version that does not know of the count keeps it right all the same (G-29).
const COUNTED: &str = "
    CREATE TABLE IF NOT EXISTS depth (messages INTEGER NOT NULL) STRICT;
    INSERT INTO depth SELECT (SELECT count(*) FROM hint) WHERE NOT EXISTS (SELECT 1 FROM depth);
    CREATE TRIGGER IF NOT EXISTS hint_added AFTER INSERT ON hint
        BEGIN UPDATE depth SET messages = messages + 1; END;
    CREATE TRIGGER IF NOT EXISTS hint_gone AFTER DELETE ON hint
        BEGIN UPDATE depth SET messages = messages - 1; END;
";

/// Opens the file, makes its schema if it is new, and reads its generation.
pub(super) async fn open(path: &Path) -> Result<(SqliteConnection, Uuid), QueueError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|source| QueueError::Folder(Arc::new(source)))?;
    }
    let mut connection = connect(path).await?;
    let generation = create_or_read(&mut connection).await?;
    flush_folder(path).map_err(|source| QueueError::Folder(Arc::new(source)))?;
    Ok((connection, generation))
}

/// A connection whose commits survive kill -9. Against a power cut G-01 promises more: see [`flush`].
pub(super) async fn connect(path: &Path) -> Result<SqliteConnection, QueueError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .busy_timeout(BUSY_TIMEOUT)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal);
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match SqliteConnection::connect_with(&options).await {
            // Two processes may switch a new file to WAL at once, and SQLite does not wait for that by itself.
            Err(source) if is_busy(&source) && Instant::now() < deadline => tokio::time::sleep(OPEN_AGAIN_AFTER).await,
            opened => return opened.map_err(QueueError::database("opening")),
        }
    }
}

/// Puts what was committed on the disk.
pub(super) async fn flush(path: &Path, connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let log = log_of(path);
    let flushed = tokio::task::spawn_blocking(move || std::fs::File::open(log)?.sync_data()).await;
    if matches!(flushed, Ok(Ok(()))) {
        return Ok(());
    }
    // A failed flush may have dropped part of the log, and what comes after it would be unreadable: all of it goes into the
    // file by SQLite's own way, or this fails too.
    let folded = sqlx::query_scalar::<_, i64>("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await;
    match folded.map_err(QueueError::database("putting hints on the disk"))? {
        0 => Ok(()),
        _ => Err(QueueError::Unconfirmed),
    }
}

/// A new log must be found again after a power cut: flushing a file says nothing of its name.
fn flush_folder(path: &Path) -> std::io::Result<()> {
    match path.parent().filter(|folder| cfg!(unix) && !folder.as_os_str().is_empty()) {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// SQLite's name for the log beside the file.
fn log_of(path: &Path) -> PathBuf {
    let mut log = OsString::from(path);
    log.push("-wal");
    log.into()
}

fn is_busy(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: &str = "5";
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == SQLITE_BUSY)
}

async fn create_or_read(connection: &mut SqliteConnection) -> Result<Uuid, QueueError> {
    let failed = || QueueError::database("reading the schema");
    // Two processes may meet here: the one that comes second finds the schema made.
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(failed())?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *tx).await.map_err(failed())?;
    match found {
        0 => create(&mut tx).await?,
        SCHEMA => {}
        newer => {
            return Err(QueueError::Newer { found: newer, known: SCHEMA });
        }
    }
    sqlx::raw_sql(COUNTED).execute(&mut *tx).await.map_err(failed())?;
    let generation = sqlx::query_scalar("SELECT id FROM generation").fetch_one(&mut *tx).await.map_err(failed())?;
    tx.commit().await.map_err(failed())?;
    Ok(generation)
}

async fn create(connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let failed = || QueueError::database("making the schema");
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *connection).await.map_err(failed())?;
    if tables > 0 {
        return Err(QueueError::NotAQueue);
    }
    sqlx::raw_sql(CREATE).execute(&mut *connection).await.map_err(failed())?;
    sqlx::query("INSERT INTO generation (id) VALUES ($1)")
        .bind(Uuid::now_v7())
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn depth(connection: &mut SqliteConnection) -> i64 {
        sqlx::query_scalar("SELECT messages FROM depth").fetch_one(connection).await.unwrap()
    }

    /// FA-25, G-29: the count is kept, also of a file that an older version made and one writes to beside us.
    #[tokio::test]
    async fn fa_25_the_depth_is_kept_and_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let mut old = connect(&path).await.unwrap();
        create(&mut old).await.unwrap();
        sqlx::raw_sql("INSERT INTO hint (body) VALUES (x'01'), (x'02'), (x'03')").execute(&mut old).await.unwrap();

        let (mut queue, _) = open(&path).await.unwrap();
        assert_eq!(depth(&mut queue).await, 3);
        sqlx::raw_sql("INSERT INTO hint (body) VALUES (x'04'), (x'05')").execute(&mut old).await.unwrap();
        sqlx::raw_sql("DELETE FROM hint WHERE id < 3").execute(&mut old).await.unwrap();
        assert_eq!(depth(&mut queue).await, 3);
        let (mut again, _) = open(&path).await.unwrap();
        assert_eq!(depth(&mut again).await, 3, "counted once");
    }

    /// G-01: where the log cannot be put on the disk, all of it goes into the file.
    #[tokio::test]
    async fn g_01_a_log_that_cannot_be_flushed_is_folded_into_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let (mut queue, _) = open(&path).await.unwrap();
        sqlx::raw_sql("INSERT INTO hint (body) VALUES (x'01')").execute(&mut queue).await.unwrap();
        flush(&path, &mut queue).await.unwrap();
        assert_eq!(depth_of_the_file_alone(&path).await, None, "flushed, it is in the log");
        std::fs::rename(log_of(&path), folder.path().join("away")).unwrap();
        flush(&path, &mut queue).await.unwrap();
        assert_eq!(depth_of_the_file_alone(&path).await, Some(1));
    }

    async fn depth_of_the_file_alone(path: &Path) -> Option<i64> {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.db");
        std::fs::copy(path, &copy).unwrap();
        let mut file = connect(&copy).await.unwrap();
        sqlx::query_scalar("SELECT messages FROM depth").fetch_one(&mut file).await.ok()
    }
}
