//! The installation in figures, for metrics: kept counts where there are any, else counts over what is open only, so that
//! what was done long ago costs nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_core::{ConnectionId, Timestamp};

use crate::connection::{ConnectionState, is_stale};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, sql};

const CONNECTIONS: &str =
    "SELECT c.id, c.state, c.first_sync_at, c.last_delta_at, c.last_notification_at, c.next_try_at, c.credential_expires_at,
    coalesce(p.active, 0) AS active, coalesce(p.inactive, 0) AS inactive,
    (SELECT count(*) FROM event e WHERE e.connection_id = c.id AND e.status = 'in_work') AS in_work,
    (SELECT count(*) FROM event e WHERE e.connection_id = c.id AND e.status = 'waiting') AS waiting,
    (SELECT count(*) FROM event e WHERE e.connection_id = c.id AND e.status = 'held') AS held,
    (SELECT count(*) FROM event e WHERE e.connection_id = c.id AND e.status = 'parked') AS parked,
    (SELECT count(*) FROM event e WHERE e.connection_id = c.id AND e.status = 'failed') AS failed,
    (SELECT count(*) FROM hold_person h WHERE h.connection_id = c.id AND h.state = 'held') AS people_held,
    (SELECT count(*) FROM hold_person h WHERE h.connection_id = c.id AND h.state = 'kept') AS people_kept,
    (SELECT count(*) FROM hold h WHERE h.connection_id = c.id AND h.state = 'open') AS holds,
    (SELECT min(h.opened_at) FROM hold h WHERE h.connection_id = c.id AND h.state = 'open') AS oldest_hold,
    (SELECT count(*) FROM review v WHERE v.connection_id = c.id AND v.state = 'open') AS reviews,
    (SELECT count(*) FROM due d WHERE d.connection_id = c.id AND d.due_at <= $1) AS due,
    (SELECT min(d.due_at) FROM due d WHERE d.connection_id = c.id) AS oldest_due,
    (SELECT count(*) FROM subscription s WHERE s.connection_id = c.id AND s.status = 'active') AS subscriptions,
    (SELECT min(s.expires_at) FROM subscription s WHERE s.connection_id = c.id AND s.status = 'active') AS first_end
    FROM connection c LEFT JOIN people_count p ON p.connection_id = c.id ORDER BY c.id";
const TASKS: &str = "SELECT kind, count(*) AS due, min(due_at) AS oldest FROM task
    WHERE state = 'due' AND due_at <= $1 GROUP BY kind ORDER BY kind";
const NAMELESS: &str = "SELECT count(*) AS parked FROM event WHERE status = 'parked' AND connection_id IS NULL";

/// Everything at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// When.
    pub at: Timestamp,
    /// One for each connection.
    pub connections: Vec<ConnectionFigures>,
    /// Longer work that is due, by kind.
    pub tasks: Vec<TaskFigures>,
    /// Parked events that name no connection we know.
    pub parked_nameless: i64,
    /// Entries in the audit chain.
    pub audit_entries: i64,
}

/// One connection.
#[derive(Clone, Debug)]
pub struct ConnectionFigures {
    /// Ours.
    pub id: ConnectionId,
    /// As stored.
    pub state: ConnectionState,
    /// Its last complete delta round is older than `t_missed` (G-21).
    pub stale: bool,
    /// Since its last complete delta round.
    pub delta_age: Option<Duration>,
    /// Since its last authentic notification.
    pub notification_age: Option<Duration>,
    /// How long nothing is tried; zero: it is.
    pub next_try: Duration,
    /// Until its credential runs out, zero if it has.
    pub credential_left: Option<Duration>,
    /// Records active.
    pub active: i64,
    /// Records inactive.
    pub inactive: i64,
    /// Events that are not done, by status.
    pub events: [(&'static str, i64); 5],
    /// People whose loss of access is held back.
    pub people_held: i64,
    /// People who stay by a no although Microsoft shows them as out.
    pub people_kept: i64,
    /// Holds that wait for a person.
    pub holds: i64,
    /// How long the oldest of them has been waiting.
    pub oldest_hold: Option<Duration>,
    /// How many people may lose access before the next one is held: for lost scope, then for verified revocations.
    pub brake_room: [u32; 2],
    /// Questions that wait for a person.
    pub reviews: i64,
    /// Objects to look at now.
    pub due: i64,
    /// How long the oldest of them has been due.
    pub oldest_due: Duration,
    /// Subscriptions alive.
    pub subscriptions: i64,
    /// Until the first of them ends.
    pub subscription_left: Option<Duration>,
}

/// Longer work of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFigures {
    /// As stored.
    pub kind: String,
    /// How many are due now.
    pub due: i64,
    /// How long the oldest of them has been due.
    pub oldest: Duration,
}

impl Store {
    /// Counts what is open, and reads off what is kept.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn figures(&self) -> Result<Figures, StoreError> {
        let at = self.now();
        let t_missed = self.timing().t_missed;
        let connections = self.all("figures", sql(CONNECTIONS).bind(at).everywhere()).await?;
        let room = self.brake_room().await?;
        let tasks = self.all("figures", sql(TASKS).bind(at)).await?;
        let nameless = self.one("figures", sql(NAMELESS)).await?;
        Ok(Figures {
            at,
            connections: connections
                .iter()
                .map(|row| ConnectionFigures::from_row(row, &room, at, t_missed))
                .collect::<Result<_, _>>()?,
            tasks: tasks.iter().map(|row| TaskFigures::from_row(row, at)).collect::<Result<_, _>>()?,
            parked_nameless: nameless.map_or(Ok(0), |row| row.get("parked"))?,
            audit_entries: self.audit_head().await?.map_or(0, |head| head.entries),
        })
    }
}

impl ConnectionFigures {
    fn from_row(
        row: &Row,
        room: &BTreeMap<ConnectionId, [u32; 2]>,
        now: Timestamp,
        t_missed: Duration,
    ) -> Result<Self, StoreError> {
        let age = |column| row.maybe_at(column).map(|at| at.map(|at| now.since(at)));
        let left = |column| row.maybe_at(column).map(|at| at.map(|at| at.since(now)));
        let id = ConnectionId(row.get("id")?);
        let state = row.word("connection", "state", ConnectionState::parse)?;
        let stale = is_stale(row.maybe_at("first_sync_at")?, row.maybe_at("last_delta_at")?, now, t_missed);
        let mut events = ["in_work", "waiting", "held", "parked", "failed"].map(|status| (status, 0));
        for (status, count) in &mut events {
            *count = row.get(status)?;
        }
        Ok(Self {
            id,
            state,
            stale: stale && state != ConnectionState::Paused,
            delta_age: age("last_delta_at")?,
            notification_age: age("last_notification_at")?,
            next_try: left("next_try_at")?.unwrap_or_default(),
            credential_left: left("credential_expires_at")?,
            active: row.get("active")?,
            inactive: row.get("inactive")?,
            events,
            people_held: row.get("people_held")?,
            people_kept: row.get("people_kept")?,
            holds: row.get("holds")?,
            oldest_hold: age("oldest_hold")?,
            brake_room: room.get(&id).copied().unwrap_or_default(),
            reviews: row.get("reviews")?,
            due: row.get("due")?,
            oldest_due: age("oldest_due")?.unwrap_or_default(),
            subscriptions: row.get("subscriptions")?,
            subscription_left: left("first_end")?,
        })
    }
}

impl TaskFigures {
    fn from_row(row: &Row, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self { kind: row.get("kind")?, due: row.get("due")?, oldest: now.since(row.at("oldest")?) })
    }
}
