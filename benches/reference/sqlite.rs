//! The reference *sqlite*: a group-commit writer with `synchronous=FULL`. Whoever waits at the same moment shares a commit;
//! nothing is parsed, nothing is checked.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, oneshot};

use crate::error::{BenchError, During as _};
use crate::statistics::number;

const ATTEMPT: &str = "writing as the reference does";
const ROWS_PER_COMMIT: usize = 1_000;

struct Job {
    body: Vec<u8>,
    done: oneshot::Sender<()>,
}

/// Committed rows of so many bytes a second.
pub(crate) async fn rate(folder: &Path, writers: usize, bytes: usize, length: Duration) -> Result<f64, BenchError> {
    let options = SqliteConnectOptions::new().filename(folder.join("group-commit.db")).create_if_missing(true);
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let mut connection = options.connect().await.during(ATTEMPT)?;
    let table = "CREATE TABLE IF NOT EXISTS message (id INTEGER PRIMARY KEY, body BLOB NOT NULL)";
    sqlx::query(table).execute(&mut connection).await.during(ATTEMPT)?;
    let (jobs, waiting) = mpsc::channel(writers);
    let committing = tokio::spawn(commit(connection, waiting));
    let began = Instant::now();
    let handing_in = (0..writers).map(|_| tokio::spawn(hand_in(jobs.clone(), bytes, began + length)));
    let handed_in = join_all(handing_in).await;
    let elapsed = began.elapsed();
    drop(jobs);
    committing.await.during(ATTEMPT)?.during(ATTEMPT)?;
    let rows: usize = handed_in.into_iter().map(Result::unwrap_or_default).sum();
    Ok(number(rows) / elapsed.as_secs_f64())
}

async fn hand_in(jobs: mpsc::Sender<Job>, bytes: usize, end: Instant) -> usize {
    let mut rows = 0;
    while Instant::now() < end {
        let (done, committed) = oneshot::channel();
        if jobs.send(Job { body: vec![b'x'; bytes], done }).await.is_err() || committed.await.is_err() {
            break;
        }
        rows += 1;
    }
    rows
}

async fn commit(mut connection: SqliteConnection, mut waiting: mpsc::Receiver<Job>) -> Result<(), sqlx::Error> {
    let mut group = Vec::new();
    while waiting.recv_many(&mut group, ROWS_PER_COMMIT).await > 0 {
        let mut tx = connection.begin().await?;
        for job in &group {
            sqlx::query("INSERT INTO message (body) VALUES ($1)").bind(&job.body).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        for job in group.drain(..) {
            let _ = job.done.send(());
        }
    }
    connection.close().await
}
