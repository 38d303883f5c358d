//! Events as they are shown, and the ledger over them (R2, G-05).

use std::fmt;
use std::str::FromStr;

use lockstep_core::{ConnectionId, EventId, ObjectId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{meaning, word};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{IDS_PER_STATEMENT, Row, sql};

/// One notification item or on-demand request.
#[derive(Clone, Debug, Serialize)]
pub struct EventView {
    /// Ours.
    pub id: EventId,
    /// The event this one replays.
    pub replay_of: Option<EventId>,
    /// Name of the connection it came for; null when it could not be told or was removed.
    pub connection: Option<String>,
    /// What kind of thing it names.
    pub kind: EventKind,
    /// Entra's id of that thing.
    pub object_id: Option<ObjectId>,
    /// What it claims happened.
    pub claim: Option<String>,
    /// What became of it.
    pub status: EventStatus,
    /// Tries so far.
    pub attempts: u32,
    /// Why it waits, was parked or failed.
    pub reason: Option<String>,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// When it got its outcome.
    pub settled_at: Option<Timestamp>,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A user.
    User,
    /// A group or its members.
    Group,
    /// A lifecycle notification.
    Lifecycle,
    /// Somebody asked for this user to be synced now.
    OnDemand,
    /// Something was said that we do not understand, or may have missed: a delta run is owed (G-04).
    CatchUp,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// Taken, not yet decided.
    InWork,
    /// Waiting for a retry or for evidence.
    Waiting,
    /// Read and applied.
    Applied,
    /// A later read answered it too.
    Superseded,
    /// About something out of scope.
    Ignored,
    /// The brake keeps the change back.
    Held,
    /// We could not read it.
    Parked,
    /// Read, tried, gave up.
    Failed,
}

/// The text is not one of the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of {0}")]
pub struct UnknownWord(&'static str);

macro_rules! spoken {
    ($type:ty, $words:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&word(*self))
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                meaning(text).ok_or(UnknownWord($words))
            }
        }
    };
}

spoken!(EventKind, "user, group, lifecycle, on_demand, catch_up");
spoken!(EventStatus, "in_work, waiting, applied, superseded, ignored, held, parked, failed");

/// Which events to list.
#[derive(Clone, Copy)]
pub struct EventFilter<'a> {
    /// Of the connection of this name.
    pub connection: Option<&'a str>,
    /// With this status.
    pub status: Option<EventStatus>,
    /// Of this kind.
    pub kind: Option<EventKind>,
    /// Naming this object, as its subject or as a member.
    pub object: Option<ObjectId>,
    /// At most so many.
    pub limit: usize,
    /// Older than this one.
    pub after: Option<EventId>,
}

impl Default for EventFilter<'_> {
    fn default() -> Self {
        Self { connection: None, status: None, kind: None, object: None, limit: super::PAGE, after: None }
    }
}

/// How many events stand where: the rows' side of the ledger of G-05.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EventSums {
    /// Taken, not yet decided.
    pub in_work: u64,
    /// Waiting for a retry or for evidence.
    pub waiting: u64,
    /// Read and applied.
    pub applied: u64,
    /// Answered by a later read.
    pub superseded: u64,
    /// Out of scope.
    pub ignored: u64,
    /// Kept back by the brake.
    pub held: u64,
    /// Not readable.
    pub parked: u64,
    /// Given up.
    pub failed: u64,
}

impl EventSums {
    /// Every event there is: what was answered 202, less what is still queued.
    pub const fn total(&self) -> u64 {
        self.in_work
            + self.waiting
            + self.applied
            + self.superseded
            + self.ignored
            + self.held
            + self.parked
            + self.failed
    }

    fn count(&mut self, status: EventStatus, events: u64) {
        let sum = match status {
            EventStatus::InWork => &mut self.in_work,
            EventStatus::Waiting => &mut self.waiting,
            EventStatus::Applied => &mut self.applied,
            EventStatus::Superseded => &mut self.superseded,
            EventStatus::Ignored => &mut self.ignored,
            EventStatus::Held => &mut self.held,
            EventStatus::Parked => &mut self.parked,
            EventStatus::Failed => &mut self.failed,
        };
        *sum += events;
    }
}

const EVENTS: &str = "SELECT e.id, e.replay_of, c.name AS connection, e.kind, e.object_id, e.claim, e.status, e.attempts, \
     e.reason, e.received_at, e.settled_at FROM event e LEFT JOIN connection c ON c.id = e.connection_id WHERE TRUE";

const CHAIN: &str = " UNION SELECT e.id, e.replay_of FROM event e JOIN before b ON e.id = b.replay_of),
    chain (id) AS (SELECT id FROM before UNION SELECT e.id FROM event e JOIN chain c ON e.replay_of = c.id) ";

// Of those that had their time only the count is kept: a status may come twice.
const SUMS: &str = "SELECT status, count(*) AS events FROM event WHERE connection_id = $1 GROUP BY status
    UNION ALL SELECT status, events FROM event_swept WHERE connection_id = $1";

impl EventView {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: EventId(row.get("id")?),
            replay_of: row.get::<Option<Uuid>>("replay_of")?.map(EventId),
            connection: row.get("connection")?,
            kind: row.word("event", "kind", meaning)?,
            object_id: row.get::<Option<Uuid>>("object_id")?.map(ObjectId),
            claim: row.get("claim")?,
            status: row.word("event", "status", meaning)?,
            attempts: row.get::<i64>("attempts")?.try_into().map_err(|_| row.impossible("event", "attempts"))?,
            reason: row.get("reason")?,
            received_at: row.at("received_at")?,
            settled_at: row.maybe_at("settled_at")?,
        })
    }
}

impl Store {
    /// Events, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_events(&self, filter: &EventFilter<'_>) -> Result<Vec<EventView>, StoreError> {
        let mut query = sql(EVENTS)
            .and("c.name = ", filter.connection)
            .and("e.status = ", filter.status.map(word))
            .and("e.kind = ", filter.kind.map(word))
            .and("e.id < ", filter.after);
        if let Some(object) = filter.object {
            query = query
                .push(" AND (e.object_id = ")
                .value(object)
                .push(" OR EXISTS (SELECT 1 FROM event_object o WHERE o.event_id = e.id AND o.object_id = ")
                .value(object)
                .push("))");
        }
        let rows = self.shown("listing events", query.page(" ORDER BY e.id DESC", filter.limit)).await?;
        rows.iter().map(EventView::from_row).collect()
    }

    /// One event.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_event(&self, id: EventId) -> Result<Option<EventView>, StoreError> {
        let row = self.shown_one("looking up an event", sql(EVENTS).and("e.id = ", Some(id))).await?;
        row.as_ref().map(EventView::from_row).transpose()
    }

    /// These events, as far as there are such, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_events(&self, ids: &[EventId]) -> Result<Vec<EventView>, StoreError> {
        let mut events = Vec::new();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let query = sql(EVENTS).push(" AND e.id IN ").list(chunk.iter().copied()).push(" ORDER BY e.id");
            let rows = self.shown("looking up events", query).await?;
            events.extend(rows.iter().map(EventView::from_row).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(events)
    }

    /// An event with everything it replays and everything it was replayed as, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn replay_chain(&self, id: EventId) -> Result<Vec<EventView>, StoreError> {
        let query = sql("WITH RECURSIVE ")
            .push("before (id, replay_of) AS (SELECT id, replay_of FROM event WHERE id = ")
            .value(id);
        let query = query.push(CHAIN).push(EVENTS).push(" AND e.id IN (SELECT id FROM chain) ORDER BY e.id");
        self.shown("looking up the replays of an event", query).await?.iter().map(EventView::from_row).collect()
    }

    /// How many of a connection's events stand where (G-05).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn ledger(&self, connection: ConnectionId) -> Result<EventSums, StoreError> {
        let mut sums = EventSums::default();
        for row in self.shown("summing up events", sql(SUMS).bind(connection)).await? {
            let status = row.word("event", "status", meaning)?;
            let events: i64 = row.get("events")?;
            sums.count(status, events.unsigned_abs());
        }
        Ok(sums)
    }
}
