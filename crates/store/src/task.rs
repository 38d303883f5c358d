//! Longer work in steps with checkpoints: full syncs, group listings, delta rounds, and the comparisons that follow them.

mod owed;

use lockstep_core::{ConnectionId, ObjectId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::db::{Store, Tx};
use crate::due::claim::LEASE;
use crate::error::StoreError;
use crate::sql::{Bind, Row, Sql, lock, sql};

const COLUMNS: &str =
    "SELECT id, connection_id, kind, object_id, state, checkpoint, progress, due_at, attempts, reason, created_at,
    finished_at FROM task ";
const RUNNING: &str = "SELECT id FROM task WHERE connection_id = $1 AND kind = $2 AND state = 'due'
    AND (object_id = $3 OR (object_id IS NULL AND $3 IS NULL)) ORDER BY id LIMIT 1";
const HASTEN: &str = "UPDATE task SET due_at = $2 WHERE id = $1 AND due_at > $2 AND lease_until IS NULL";
const START: &str =
    "INSERT INTO task (id, connection_id, kind, object_id, state, checkpoint, progress, due_at, created_at)
    VALUES ($1, $2, $3, $4, 'due', 'null', $5, $6, $7)";
const CLAIM: &str = "UPDATE task SET attempts = attempts + 1, lease_owner = ";
const CLAIMABLE: &str = " WHERE id = (SELECT t.id FROM task t JOIN connection c ON c.id = t.connection_id
     WHERE t.state = 'due' AND c.state <> 'paused' AND ";
const CLAIMED: &str = ") RETURNING id, connection_id, kind, object_id, state, checkpoint, progress, due_at, attempts,
    reason, created_at, finished_at";
const EXTEND: &str = "UPDATE task SET lease_until = $3 WHERE id = $1 AND lease_owner = $2";
const CHECKPOINT: &str = "UPDATE task SET checkpoint = $2, progress = $3, attempts = 0 WHERE id = $1 AND state = 'due'";
const FINISH: &str =
    "UPDATE task SET state = 'done', progress = $2, reason = NULL, finished_at = $3, lease_owner = NULL,
    lease_until = NULL WHERE id = $1 AND state = 'due'";
const RETRY: &str =
    "UPDATE task SET due_at = $2, reason = $3, lease_owner = NULL, lease_until = NULL WHERE id = $1 AND state = 'due'";
const FAIL: &str =
    "UPDATE task SET state = 'failed', reason = $2, finished_at = $3, lease_owner = NULL, lease_until = NULL
    WHERE id = $1 AND state = 'due'";
const FIRST_SYNC: &str = "UPDATE connection SET first_sync_at = coalesce(first_sync_at, $2) WHERE id = $1";

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Lists every mapped group and applies what it shows.
    FullSync,
    /// Compares one group's listing with the mirror.
    ListGroup,
    /// Asks for what changed since the last round.
    Delta,
    /// Lists once more what was listed a while ago, one group or all: the listing may have come from a stale replica.
    Relist,
    /// Lists every mapped group once a day.
    DailyCompare,
    /// Decides everyone anew, by other rules and what is known already.
    Reevaluate,
    /// Reads the managers of people whom listings showed.
    Managers,
}

impl TaskKind {
    /// As the store and the metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FullSync => "full_sync",
            Self::ListGroup => "list_group",
            Self::Delta => "delta",
            Self::Relist => "relist",
            Self::DailyCompare => "daily_compare",
            Self::Reevaluate => "reevaluate",
            Self::Managers => "managers",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let listings = [Self::FullSync, Self::ListGroup, Self::Relist, Self::DailyCompare];
        let others = [Self::Delta, Self::Reevaluate, Self::Managers];
        listings.into_iter().chain(others).find(|kind| kind.as_str() == word)
    }
}

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// To be done, or being done.
    Due,
    /// Finished.
    Done,
    /// Given up; the reason says why.
    Failed,
}

impl TaskState {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "due" => Some(Self::Due),
            "done" => Some(Self::Done),
            "failed" => Some(Self::Failed),
            _ => None,
        }
    }
}

/// How far a sync is, and what it did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncProgress {
    /// People looked at.
    pub users: u64,
    /// Records created.
    pub created: u64,
    /// Records linked.
    pub linked: u64,
    /// Records changed.
    pub updated: u64,
    /// People who lost access.
    pub deactivated: u64,
    /// People held by the brake.
    pub held: u64,
    /// Questions opened.
    pub reviews: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Requests to Graph.
    pub graph_requests: u64,
    /// What is being done, in plain words.
    pub step: String,
    /// Groups listed so far.
    pub groups_listed: u64,
    /// Groups to list.
    pub groups_total: u64,
}

/// A task leased to this worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Ours.
    pub id: TaskId,
    /// The connection.
    pub connection: ConnectionId,
    /// What it does.
    pub kind: TaskKind,
    /// The group of a listing.
    pub object: Option<ObjectId>,
    /// Where to go on; `null` at the start.
    pub checkpoint: Value,
    /// How far it is.
    pub progress: SyncProgress,
    /// Tries since the last checkpoint, this one included.
    pub attempts: u32,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// A task as somebody who waits for it sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskView {
    /// Where it stands.
    pub state: TaskState,
    /// How far it is.
    pub progress: SyncProgress,
    /// Why it waits or failed.
    pub reason: Option<String>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl Store {
    /// Asks for a full sync now; joins one that is under way.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn start_full_sync(&self, connection: ConnectionId) -> Result<TaskId, StoreError> {
        self.start_task(connection, TaskKind::FullSync, None, self.now()).await
    }

    /// Asks for a task; joins an equal one that is not finished.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn start_task(
        &self,
        connection: ConnectionId,
        kind: TaskKind,
        object: Option<ObjectId>,
        due_at: Timestamp,
    ) -> Result<TaskId, StoreError> {
        let mut tx = self.begin("start_task").await?;
        let id = tx.start_task(connection, kind, object, due_at).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Takes the task that is due longest.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn claim_task(&self, worker: Uuid) -> Result<Option<Task>, StoreError> {
        self.claim_task_of("TRUE", worker).await
    }

    /// Takes the delta task that is due longest: it must not wait behind long listings.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn claim_delta_task(&self, worker: Uuid) -> Result<Option<Task>, StoreError> {
        self.claim_task_of("t.kind = 'delta'", worker).await
    }

    /// Takes the task that is due longest among all others.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn claim_listing_task(&self, worker: Uuid) -> Result<Option<Task>, StoreError> {
        self.claim_task_of("t.kind <> 'delta'", worker).await
    }

    async fn claim_task_of(&self, which: &'static str, worker: Uuid) -> Result<Option<Task>, StoreError> {
        let mut tx = self.begin("claim_task").await?;
        let now = tx.now();
        let claim = sql(CLAIM).value(worker).push(", lease_until = ").value(now + LEASE).push(CLAIMABLE).push(which);
        let claim = claim.push(" AND t.due_at <= ").value(now).push(" AND (t.lease_until IS NULL OR t.lease_until <= ");
        let claim = claim.value(now).push(") AND (c.next_try_at IS NULL OR c.next_try_at <= ").value(now);
        let claim = claim.push(") ORDER BY t.due_at, t.id LIMIT 1").on_postgres(lock::FREE_TASKS).push(CLAIMED);
        let Some(row) = tx.one(claim).await? else { return Ok(None) };
        let task = task_from(&row)?;
        tx.commit().await?;
        Ok(Some(task))
    }

    /// The lease runs anew. `false`: somebody else has the task now, stop.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn extend_task(&self, worker: Uuid, task: &Task) -> Result<bool, StoreError> {
        let mut tx = self.begin("extend_task").await?;
        let extended = tx.run(sql(EXTEND).bind(task.id).bind(worker).bind(self.now() + LEASE)).await?;
        tx.commit().await?;
        Ok(extended > 0)
    }

    /// Where a task stands.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_task(&self, id: TaskId) -> Result<Option<TaskView>, StoreError> {
        let row = self.one("lookup_task", sql(COLUMNS).push("WHERE id = ").value(id)).await?;
        row.as_ref().map(task_view_from).transpose()
    }

    /// Goes on from the last checkpoint later.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn retry_task(&self, task: &Task, at: Timestamp, reason: &str) -> Result<(), StoreError> {
        self.write("retry_task", sql(RETRY).bind(task.id).bind(at).bind(reason)).await
    }

    /// Gives up; the reason is shown.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn fail_task(&self, task: &Task, reason: &str) -> Result<(), StoreError> {
        self.write("fail_task", sql(FAIL).bind(task.id).bind(reason).bind(self.now())).await
    }
}

impl Tx {
    /// Asks for a task; joins an equal one that is not finished.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn start_task(
        &mut self,
        connection: ConnectionId,
        kind: TaskKind,
        object: Option<ObjectId>,
        due_at: Timestamp,
    ) -> Result<TaskId, StoreError> {
        self.lock_name(tasks_lock(connection)).await?;
        if let Some(row) = self.one(sql(RUNNING).bind(connection).bind(kind.as_str()).bind(object)).await? {
            let id = TaskId(row.get("id")?);
            self.run(sql(HASTEN).bind(id).bind(due_at)).await?;
            return Ok(id);
        }
        self.insert_task(connection, kind, object, due_at).await
    }

    async fn insert_task(
        &mut self,
        connection: ConnectionId,
        kind: TaskKind,
        object: Option<ObjectId>,
        due_at: Timestamp,
    ) -> Result<TaskId, StoreError> {
        let id = TaskId(Uuid::now_v7());
        let now = self.now();
        let start = sql(START).bind(id).bind(connection).bind(kind.as_str()).bind(object);
        self.run(start.bind(Bind::json(&SyncProgress::default())).bind(due_at).bind(now)).await?;
        Ok(id)
    }

    /// Everything before this point is done and committed with it: after a crash the task goes on from here.
    ///
    /// # Errors
    /// `Conflict` when the task was finished meanwhile.
    pub async fn checkpoint_task(
        &mut self,
        task: &Task,
        checkpoint: &Value,
        progress: &SyncProgress,
    ) -> Result<(), StoreError> {
        let statement = sql(CHECKPOINT).bind(task.id).bind(Bind::json(checkpoint)).bind(Bind::json(progress));
        self.run_while_due(statement).await
    }

    /// The task is done.
    ///
    /// # Errors
    /// `Conflict` when the task was finished meanwhile.
    pub async fn finish_task(&mut self, task: &Task, progress: &SyncProgress) -> Result<(), StoreError> {
        let now = self.now();
        self.run_while_due(sql(FINISH).bind(task.id).bind(Bind::json(progress)).bind(now)).await
    }

    /// Every mapped group has been seen once.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_first_sync(&mut self, connection: ConnectionId) -> Result<(), StoreError> {
        let now = self.now();
        self.run(sql(FIRST_SYNC).bind(connection).bind(now)).await?;
        Ok(())
    }

    async fn run_while_due(&mut self, statement: Sql) -> Result<(), StoreError> {
        match self.run(statement).await? {
            0 => Err(StoreError::Conflict { operation: self.name(), why: "the task was finished by somebody else" }),
            _ => Ok(()),
        }
    }
}

/// Taken by whoever looks for a task before starting one: an equal one is joined, not doubled.
pub(crate) fn tasks_lock(connection: ConnectionId) -> String {
    format!("tasks of {connection}")
}

fn task_from(row: &Row) -> Result<Task, StoreError> {
    Ok(Task {
        id: TaskId(row.get("id")?),
        connection: ConnectionId(row.get("connection_id")?),
        kind: row.word("task", "kind", TaskKind::parse)?,
        object: row.get::<Option<Uuid>>("object_id")?.map(ObjectId),
        checkpoint: row.json("task", "checkpoint")?,
        progress: row.json("task", "progress")?,
        attempts: row.small("attempts")?,
        created_at: row.at("created_at")?,
    })
}

fn task_view_from(row: &Row) -> Result<TaskView, StoreError> {
    Ok(TaskView {
        state: row.word("task", "state", TaskState::parse)?,
        progress: row.json("task", "progress")?,
        reason: row.get("reason")?,
        finished_at: row.maybe_at("finished_at")?,
        created_at: row.at("created_at")?,
    })
}
