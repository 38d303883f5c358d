//! Who is at work: a sync that waits says so when nobody is.

use std::time::Duration;

use uuid::Uuid;

use crate::db::Store;
use crate::error::StoreError;
use crate::sql::sql;

const BEAT: &str = "INSERT INTO worker (id, role, started_at, seen_at) VALUES ($1, $2, $3, $3)
    ON CONFLICT (id) DO UPDATE SET role = excluded.role, seen_at = excluded.seen_at";
const ALIVE: &str = "SELECT count(*) AS alive FROM worker WHERE seen_at >= $1 AND role LIKE '%worker%'";

impl Store {
    /// Notes that this process is at work in this role.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn beat(&self, worker: Uuid, role: &str) -> Result<(), StoreError> {
        let mut tx = self.begin("beat").await?;
        tx.run(sql(BEAT).bind(worker).bind(role).bind(self.now())).await?;
        tx.commit().await
    }

    /// How many whose role names `worker` were seen within this time.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn workers_alive(&self, within: Duration) -> Result<u64, StoreError> {
        let row = self.one("workers_alive", sql(ALIVE).bind(self.now() - within)).await?;
        let alive: i64 = row.map_or(Ok(0), |row| row.get("alive"))?;
        Ok(alive.unsigned_abs())
    }
}
