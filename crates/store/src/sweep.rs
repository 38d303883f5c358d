//! What has had its time is dropped, a little in each transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_core::Timestamp;
use uuid::Uuid;

use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{lock, sql};

/// Rows in one transaction: nobody waits long behind a sweep.
const ROWS: i64 = 200;
const KEEP_TASKS: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const KEEP_WORKERS: Duration = Duration::from_secs(24 * 60 * 60);
/// A removal older than the longest window of the brake counts nowhere.
const KEEP_REMOVALS: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Settled events are shown this long; afterwards only how many there were is kept (G-05).
const KEEP_EVENTS: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// As long as mirror rows of the deleted: the audit tells of each for ever.
const KEEP_GONE: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// Events in one transaction: each may have named a hundred members.
const EVENTS: i64 = 50;
/// What is over and asks nothing of anybody. Held, parked and failed events wait for a person.
const OVER: [&str; 3] = ["applied", "superseded", "ignored"];

// Ids grow with time, so that the oldest are looked at however many there are. What a kept event replays is kept with it.
const OLDEST: &str = "SELECT id, connection_id FROM
    (SELECT id, connection_id, coalesce(settled_at, received_at) AS over_at FROM event
        WHERE status = $1 ORDER BY id LIMIT 1000) AS oldest
    WHERE over_at < $2 AND NOT EXISTS (SELECT 1 FROM event r WHERE r.replay_of = oldest.id) LIMIT $3";
const COUNT_SWEPT: &str = "INSERT INTO event_swept (connection_id, status, events) VALUES ($1, $2, $3)
    ON CONFLICT (connection_id, status) DO UPDATE SET events = event_swept.events + excluded.events";
// Each ends where the rows to drop are chosen; they are locked there, so that nobody comes back while they go.
const SEEN: &str = "DELETE FROM seen WHERE (connection_id, object_id) IN
    (SELECT connection_id, object_id FROM seen WHERE seen_at < ?";
const EDGES_OF_USERS: &str = "DELETE FROM membership WHERE (connection_id, user_id) IN
    (SELECT connection_id, user_id FROM directory_user WHERE profile_state = 'missing' AND missing_since < ?";
const USERS: &str = "DELETE FROM directory_user WHERE (connection_id, user_id) IN
    (SELECT connection_id, user_id FROM directory_user u WHERE profile_state = 'missing'
     AND NOT EXISTS (SELECT 1 FROM membership m WHERE m.connection_id = u.connection_id AND m.user_id = u.user_id)
     AND missing_since < ?";
const EDGES_OF_GROUPS: &str = "DELETE FROM membership WHERE (connection_id, group_id) IN
    (SELECT connection_id, group_id FROM directory_group WHERE state = 'deleted' AND read_at < ?";
const GROUPS: &str = "DELETE FROM directory_group WHERE (connection_id, group_id) IN
    (SELECT connection_id, group_id FROM directory_group g WHERE state = 'deleted'
     AND NOT EXISTS (SELECT 1 FROM rule r WHERE r.connection_id = g.connection_id AND r.group_id = g.group_id)
     AND read_at < ?";
const TASKS: &str = "DELETE FROM task WHERE id IN (SELECT id FROM task WHERE state <> 'due' AND finished_at < ?";
const REMOVALS: &str = "DELETE FROM removal WHERE id IN (SELECT id FROM removal WHERE at < ?";
const GONE: &str = "DELETE FROM subscription WHERE id IN (SELECT id FROM subscription WHERE status = 'gone'
     AND coalesce(expires_at, created_at) < ?";
const WORKERS: &str = "DELETE FROM worker WHERE id IN (SELECT id FROM worker WHERE seen_at < ?";

impl Store {
    /// Drops ids seen out of scope, mirror rows of the long deleted, finished tasks, workers long gone, subscriptions
    /// long gone, events long settled and what no window of the brake counts any more.
    ///
    /// # Errors
    /// When the database cannot be written; what was dropped so far stays dropped.
    pub async fn sweep_old(&self, now: Timestamp) -> Result<(), StoreError> {
        let (seen, deleted) = (now - self.timing().seen_keep, now - self.timing().deleted_keep);
        self.sweep(SEEN, seen).await?;
        self.sweep(EDGES_OF_USERS, deleted).await?;
        self.sweep(USERS, deleted).await?;
        self.sweep(EDGES_OF_GROUPS, deleted).await?;
        self.sweep(GROUPS, deleted).await?;
        self.sweep(TASKS, now - KEEP_TASKS).await?;
        self.sweep(REMOVALS, now - KEEP_REMOVALS).await?;
        self.sweep(WORKERS, now - KEEP_WORKERS).await?;
        self.sweep(GONE, now - KEEP_GONE).await?;
        for status in OVER {
            while self.sweep_events(status, now - KEEP_EVENTS).await? {}
        }
        Ok(())
    }

    /// Whether there may be more.
    async fn sweep_events(&self, status: &'static str, before: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.begin_everywhere("sweep_old").await?;
        let mut counts: BTreeMap<Uuid, i64> = BTreeMap::new();
        let mut ids: Vec<Uuid> = Vec::new();
        for row in tx.all(sql(OLDEST).bind(status).bind(before).bind(EVENTS)).await? {
            ids.push(row.get("id")?);
            if let Some(connection) = row.get::<Option<Uuid>>("connection_id")? {
                *counts.entry(connection).or_default() += 1;
            }
        }
        if ids.is_empty() {
            return Ok(false);
        }
        for (connection, events) in counts {
            tx.run(sql(COUNT_SWEPT).bind(connection).bind(status).bind(events)).await?;
        }
        tx.run(sql("DELETE FROM event_object WHERE event_id IN ").list(ids.iter().copied())).await?;
        tx.run(sql("DELETE FROM event WHERE id IN ").list(ids)).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn sweep(&self, delete: &'static str, before: Timestamp) -> Result<(), StoreError> {
        loop {
            let mut tx = self.begin_everywhere("sweep_old").await?;
            let chosen = sql(delete).bind(before).push(" LIMIT ").value(ROWS).on_postgres(lock::FREE_ROWS);
            let gone = tx.run(chosen.push(")")).await?;
            tx.commit().await?;
            if gone == 0 {
                return Ok(());
            }
        }
    }
}
