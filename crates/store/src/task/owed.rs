//! What follows from work that was done, and whether it is owed already.

use lockstep_core::{ConnectionId, ObjectId, Timestamp};

use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::sql::sql;
use crate::task::{TaskKind, tasks_lock};

const LOOKUP_OPEN: &str = "SELECT id FROM task WHERE connection_id = $1 AND kind = $2 AND state = 'due' LIMIT 1";
const ASKED_SINCE: &str = "SELECT id FROM task WHERE connection_id = $1 AND kind = $2 AND created_at > $3 LIMIT 1";
// A listing soon after another is followed by the same relist.
const RELIST_OWED: &str = "SELECT id FROM task WHERE connection_id = $1 AND kind = 'relist' AND state = 'due'
    AND (object_id = $2 OR (object_id IS NULL AND $2 IS NULL)) AND due_at > $3 AND due_at <= $4 LIMIT 1";
const CLOSE_GAP: &str = "UPDATE connection SET gap_since = NULL WHERE id = $1 AND gap_since <= $2";
const SETTLE_CATCH_UP: &str = "UPDATE event SET status = 'applied', settled_at = $3
    WHERE connection_id = $1 AND kind = 'catch_up' AND status = 'waiting' AND received_at <= $2";

/// A relist that is owed within the last fifth of the span counts for a later listing too.
const RELIST_JOINS: u32 = 5;

impl Store {
    /// Whether such a task waits or is under way.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn owes_task(&self, connection: ConnectionId, kind: TaskKind) -> Result<bool, StoreError> {
        let open = self.one("owes_task", sql(LOOKUP_OPEN).bind(connection).bind(kind.as_str())).await?;
        Ok(open.is_some())
    }
}

impl Tx {
    /// Everything that changed before `covered_at` was seen: a gap known by then is closed, and what waited for it is
    /// applied.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn close_gap(&mut self, connection: ConnectionId, covered_at: Timestamp) -> Result<(), StoreError> {
        let now = self.now();
        self.run(sql(CLOSE_GAP).bind(connection).bind(covered_at)).await?;
        self.run(sql(SETTLE_CATCH_UP).bind(connection).bind(covered_at).bind(now)).await?;
        Ok(())
    }

    /// Whether such a task was asked for after this time, finished or not.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task_asked_since(
        &mut self,
        connection: ConnectionId,
        kind: TaskKind,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.one(sql(ASKED_SINCE).bind(connection).bind(kind.as_str()).bind(since)).await?.is_some())
    }

    /// What was just listed, one group or all, is listed again after each span of `relist`.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn owe_relists(&mut self, connection: ConnectionId, group: Option<ObjectId>) -> Result<(), StoreError> {
        self.lock_name(tasks_lock(connection)).await?;
        for span in self.timing().relist {
            let due_at = self.now() + span;
            let owed = sql(RELIST_OWED).bind(connection).bind(group);
            if self.one(owed.bind(due_at - span / RELIST_JOINS).bind(due_at)).await?.is_none() {
                self.insert_task(connection, TaskKind::Relist, group, due_at).await?;
            }
        }
        Ok(())
    }
}
