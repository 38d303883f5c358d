//! An embedded queue in a folder of its own.

use std::fs;
use std::path::PathBuf;

use lockstep_queue::QueueUrl;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::TempDir;

/// The folder.
pub struct File(TempDir);

/// Somebody else's open transaction.
pub struct Lock(SqliteConnection);

impl File {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn url(&self) -> QueueUrl {
        QueueUrl::Embedded(self.path())
    }

    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for suffix in ["", "-wal"] {
            let name = format!("queue.db{suffix}");
            fs::copy(self.0.path().join(&name), copy.0.path().join(&name)).unwrap();
        }
        copy
    }

    /// From now on the log cannot be put on the disk: what is, is in the file itself.
    pub fn lose_log(&self) {
        fs::rename(self.0.path().join("queue.db-wal"), self.0.path().join("away")).unwrap();
    }

    /// What a power cut would leave without the log.
    pub fn copy_without_log(&self) -> Self {
        let copy = Self::new();
        fs::copy(self.path(), copy.path()).unwrap();
        copy
    }

    /// The log holds every page of every commit.
    pub fn bytes_written(&self) -> u64 {
        fs::metadata(self.0.path().join("queue.db-wal")).unwrap().len()
    }

    pub async fn inject(&self, bytes: &[u8]) {
        let insert = sqlx::query("INSERT INTO hint (body) VALUES ($1)");
        insert.bind(bytes).execute(&mut self.connect().await).await.unwrap();
    }

    pub async fn run(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut self.connect().await).await.unwrap();
    }

    /// Nobody else can write until it is released.
    pub async fn lock(&self) -> Lock {
        let mut connection = self.connect().await;
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        Lock(connection)
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path()).create_if_missing(true);
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("queue.db")
    }
}

impl Lock {
    pub async fn release(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}
