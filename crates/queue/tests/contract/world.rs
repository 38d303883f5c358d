//! An embedded queue in a folder of its own, and what may happen to it from outside.

use std::fs;
use std::path::PathBuf;

use lockstep_core::hint::{Claim, Hint, HintMessage, MemberHint, Subject, VERSION};
use lockstep_core::{ConnectionId, ObjectId, SubscriptionId, Timestamp};
use lockstep_queue::{Queue, QueueError, QueueUrl};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};
use tempfile::TempDir;
use uuid::Uuid;

/// The place where a queue lives.
pub struct World(TempDir);

/// Somebody else's open transaction.
pub struct Lock(SqliteConnection);

impl World {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub async fn open(&self) -> Queue {
        self.try_open().await.unwrap()
    }

    pub async fn try_open(&self) -> Result<Queue, QueueError> {
        Queue::open(&QueueUrl::Embedded(self.file())).await
    }

    /// The files as they are at this moment, elsewhere: what a process finds that starts after all others were killed.
    pub fn as_left_by_a_kill(&self) -> Self {
        let copy = Self::new();
        for suffix in ["", "-wal"] {
            let name = format!("queue.db{suffix}");
            fs::copy(self.0.path().join(&name), copy.0.path().join(&name)).unwrap();
        }
        copy
    }

    /// The log holds every page of every commit.
    pub fn bytes_written(&self) -> u64 {
        fs::metadata(self.0.path().join("queue.db-wal")).unwrap().len()
    }

    /// Puts any bytes where messages are.
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
        let options = SqliteConnectOptions::new().filename(self.file()).create_if_missing(true);
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("queue.db")
    }
}

impl Lock {
    pub async fn release(mut self) {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await.unwrap();
        self.0.close().await.unwrap();
    }
}

/// One user's hint.
pub fn message() -> HintMessage {
    let subject = Subject::User { id: ObjectId(Uuid::new_v4()), claim: Claim::Changed };
    of(vec![subject])
}

/// About 100 kB.
pub fn large_message() -> HintMessage {
    let member = || MemberHint { id: ObjectId(Uuid::new_v4()), removed: false };
    let group = || Subject::Group {
        id: ObjectId(Uuid::new_v4()),
        claim: Claim::Changed,
        members: (0..100).map(|_| member()).collect(),
        truncated: false,
    };
    of((0..20).map(|_| group()).collect())
}

fn of(subjects: Vec<Subject>) -> HintMessage {
    let subscription = SubscriptionId(Uuid::now_v7());
    HintMessage {
        version: VERSION,
        id: Uuid::now_v7(),
        connection: ConnectionId(Uuid::now_v7()),
        received_at: Timestamp::from_micros(1_795_000_000_000_000),
        items: subjects.into_iter().map(|subject| Hint { subscription, subject }).collect(),
    }
}
