//! Events: one per notification item and on-demand request; none ever disappears (G-05).

mod rerun;
pub(crate) mod settle;

use lockstep_core::{ConnectionId, EventId, ObjectId, Ticket, Timestamp};
use uuid::Uuid;

use crate::connection::health::mark_gap_statement;
use crate::db::{Store, Tx};
use crate::due::mark::MarkDue;
use crate::due::{Due, DueClaim, DueKind, DueReason};
use crate::error::StoreError;
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, sql};

const INSERT_EVENTS: &str =
    "INSERT INTO event (id, replay_of, connection_id, kind, object_id, claim, status, reason, message_id,
    message_item, taken_ticket, received_at, settled_at) VALUES ";
const TICKET: &str = "SELECT value FROM ticket WHERE id = 1";
const PARK_BODY: &str = "INSERT INTO parked_body (event_id, body) VALUES ($1, $2)";
const KNOWN_CONNECTION: &str = "SELECT id FROM connection WHERE id = $1";
const NOTE_FAILED: &str =
    "UPDATE event SET reason = $3, attempts = $4, settled_at = $5 WHERE status = 'failed' AND id IN
    (SELECT event_id FROM event_object WHERE connection_id = $1 AND object_id = $2 AND outcome = 'failed')";
const NOTE_OPEN: &str = "UPDATE event SET status = $3, reason = $4, attempts = $5, settled_at = $6 WHERE id IN
    (SELECT event_id FROM event_object WHERE connection_id = $1 AND object_id = $2 AND outcome IS NULL)";
const OPEN_ABOUT: &str = " WHERE status IN ('in_work', 'waiting') AND id IN
    (SELECT event_id FROM event_object WHERE outcome IS NULL AND connection_id = ";
const CLOSE_OPEN: &str = "UPDATE event_object SET outcome = $3, reason = $4
    WHERE connection_id = $1 AND object_id = $2 AND outcome IS NULL";

/// How much of a body that could not be read is kept (BI-45).
const PARKED_BYTES: usize = 64 * 1024;

/// What came of looking at an object, for the events that named it. Worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventStatus {
    /// A read that began after a later event was taken answers this one too.
    Superseded,
    /// The record agrees with what was read.
    Applied,
    /// Something must be read again first.
    Waiting,
    /// The brake keeps it back.
    Held,
    /// Read, tried, gave up.
    Failed,
}

impl EventStatus {
    /// As shown and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::Applied => "applied",
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::Superseded, Self::Applied, Self::Waiting, Self::Held, Self::Failed]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// A status with its reason in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOutcome {
    /// The status.
    pub status: EventStatus,
    /// Why, in plain words, without names or addresses.
    pub reason: Option<String>,
}

impl EventOutcome {
    /// The record agrees with what was read.
    pub const fn applied() -> Self {
        Self { status: EventStatus::Applied, reason: None }
    }

    /// Something must be read again first.
    pub fn waiting(reason: impl Into<String>) -> Self {
        Self { status: EventStatus::Waiting, reason: Some(reason.into()) }
    }

    /// The brake keeps it back.
    pub fn held(reason: impl Into<String>) -> Self {
        Self { status: EventStatus::Held, reason: Some(reason.into()) }
    }

    /// Gave up.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { status: EventStatus::Failed, reason: Some(reason.into()) }
    }
}

/// An event to insert.
pub(crate) struct NewEvent {
    pub(crate) id: EventId,
    pub(crate) replay_of: Option<EventId>,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) kind: &'static str,
    pub(crate) object: Option<ObjectId>,
    pub(crate) claim: Option<&'static str>,
    pub(crate) status: &'static str,
    pub(crate) reason: Option<String>,
    pub(crate) message: Option<(Uuid, i64)>,
    pub(crate) received_at: Timestamp,
    pub(crate) settled: bool,
}

impl NewEvent {
    pub(crate) fn row(&self, taken: Ticket, now: Timestamp) -> Vec<Bind> {
        vec![
            self.id.into(),
            self.replay_of.into(),
            self.connection.into(),
            self.kind.into(),
            self.object.into(),
            self.claim.into(),
            self.status.into(),
            self.reason.clone().into(),
            self.message.map(|(id, _)| id).into(),
            self.message.map(|(_, item)| item).into(),
            taken.into(),
            self.received_at.into(),
            self.settled.then_some(now).into(),
        ]
    }
}

impl Store {
    /// Keeps what could not be read, with as much of its body as is allowed, and marks the connection, if it is known,
    /// for a delta run (BI-45).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn park(&self, connection: Option<ConnectionId>, body: &[u8], why: &str) -> Result<EventId, StoreError> {
        let mut tx = self.begin("park").await?;
        let now = tx.now();
        let known = match connection {
            Some(id) => tx.one(sql(KNOWN_CONNECTION).bind(id)).await?.map(|_| id),
            None => None,
        };
        let id = EventId(Uuid::now_v7());
        let event = NewEvent {
            id,
            replay_of: None,
            connection: known,
            kind: "catch_up",
            object: None,
            claim: None,
            status: "parked",
            reason: Some(why.to_owned()),
            message: None,
            received_at: now,
            settled: true,
        };
        tx.insert_events(&[event]).await?;
        tx.run(sql(PARK_BODY).bind(id).bind(&body[..body.len().min(PARKED_BYTES)])).await?;
        if let Some(connection) = known {
            tx.run(mark_gap_statement(connection, now)).await?;
        }
        tx.commit().await?;
        Ok(id)
    }

    /// Somebody wants this user looked at now: both facets, whatever the scope.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn request_on_demand(&self, connection: ConnectionId, user: ObjectId) -> Result<EventId, StoreError> {
        let mut tx = self.begin("request_on_demand").await?;
        let id = tx.request_on_demand(connection, user).await?;
        tx.commit().await?;
        Ok(id)
    }
}

impl Tx {
    /// See [`Store::request_on_demand`]; with what is asked for in the same transaction.
    pub(crate) async fn request_on_demand(
        &mut self,
        connection: ConnectionId,
        user: ObjectId,
    ) -> Result<EventId, StoreError> {
        let now = self.now();
        let id = EventId(Uuid::now_v7());
        let event = NewEvent {
            id,
            replay_of: None,
            connection: Some(connection),
            kind: "on_demand",
            object: Some(user),
            claim: None,
            status: "in_work",
            reason: None,
            message: None,
            received_at: now,
            settled: false,
        };
        self.insert_events(&[event]).await?;
        self.name_objects(&[(id, connection, user)]).await?;
        self.mark_due(
            connection,
            &[MarkDue {
                object: user,
                kind: DueKind::User,
                at: now,
                urgent: true,
                read_profile: true,
                read_membership: true,
                reason: DueReason::OnDemand,
            }],
        )
        .await?;
        Ok(id)
    }

    /// The events of an object that is tried again later, or given up. What fails without one (a settle, a delta row)
    /// becomes one.
    pub(crate) async fn note_open_events(&mut self, due: &Due, outcome: &EventOutcome) -> Result<(), StoreError> {
        let given_up = outcome.status == EventStatus::Failed;
        let note = sql(NOTE_OPEN)
            .bind(due.connection)
            .bind(due.object)
            .bind(outcome.status.as_str())
            .bind(outcome.reason.clone())
            .bind(due.attempts)
            .bind(given_up.then_some(self.now()));
        let noted = self.run(note).await?;
        if !given_up {
            return Ok(());
        }
        if noted == 0 {
            self.note_failure(due, outcome).await?;
        }
        let close = sql(CLOSE_OPEN).bind(due.connection).bind(due.object).bind(outcome.status.as_str());
        self.run(close.bind(outcome.reason.clone())).await?;
        Ok(())
    }

    /// A failure that no open event tells of: the event that told of the last one, or a new one.
    async fn note_failure(&mut self, due: &Due, outcome: &EventOutcome) -> Result<(), StoreError> {
        let now = self.now();
        let known = sql(NOTE_FAILED).bind(due.connection).bind(due.object).bind(outcome.reason.clone());
        if self.run(known.bind(due.attempts).bind(now)).await? > 0 {
            return Ok(());
        }
        let event = NewEvent {
            id: EventId(Uuid::now_v7()),
            replay_of: None,
            connection: Some(due.connection),
            kind: if due.kind == DueKind::Group { "group" } else { "user" },
            object: Some(due.object),
            claim: due.claim.map(DueClaim::as_str),
            status: outcome.status.as_str(),
            reason: outcome.reason.clone(),
            message: None,
            received_at: due.hinted_at.unwrap_or(due.due_at),
            settled: true,
        };
        let named = [(event.id, due.connection, due.object)];
        self.insert_events(&[event]).await?;
        self.name_objects(&named).await
    }

    /// What a fault of the connection keeps from being looked at waits, and says for what.
    pub(crate) async fn note_waiting(
        &mut self,
        connection: ConnectionId,
        objects: &[ObjectId],
        reason: &str,
    ) -> Result<(), StoreError> {
        for chunk in objects.chunks(IDS_PER_STATEMENT) {
            let wait = sql("UPDATE event SET status = 'waiting', reason = ").value(reason).push(OPEN_ABOUT);
            let wait = wait.value(connection).push(" AND object_id IN ").list(chunk.iter().copied());
            self.run(wait.push(")")).await?;
        }
        Ok(())
    }

    pub(crate) async fn insert_events(&mut self, events: &[NewEvent]) -> Result<(), StoreError> {
        // Later than every ticket drawn so far, earlier than every ticket to come.
        let taken = Ticket(self.only(sql(TICKET)).await?.get("value")?);
        self.insert_events_taken(events, taken).await
    }

    /// The same, taken after this ticket was drawn.
    pub(crate) async fn insert_events_taken(&mut self, events: &[NewEvent], taken: Ticket) -> Result<(), StoreError> {
        let now = self.now();
        for chunk in events.chunks(ROWS_PER_STATEMENT) {
            self.run(sql(INSERT_EVENTS).rows(chunk.iter().map(|event| event.row(taken, now)))).await?;
        }
        Ok(())
    }

    pub(crate) async fn name_objects(&mut self, named: &[(EventId, ConnectionId, ObjectId)]) -> Result<(), StoreError> {
        for chunk in named.chunks(ROWS_PER_STATEMENT) {
            let rows = chunk
                .iter()
                .map(|(event, connection, object)| vec![(*event).into(), (*connection).into(), (*object).into()]);
            let insert = sql("INSERT INTO event_object (event_id, connection_id, object_id) VALUES ").rows(rows);
            self.run(insert.push(" ON CONFLICT (event_id, object_id) DO NOTHING")).await?;
        }
        Ok(())
    }
}
