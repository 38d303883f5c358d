//! Replay (R2, G-06): an event is a hint, so replaying it means reading now and converging. What was notified is never
//! applied again.
//!
//! A replay is an event of its own that names the one it replays; that one keeps its status, reason and attempts until
//! the replay is applied. What runs again by itself stays the same event: see `event/rerun.rs`.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::hint::{HintMessage, Subject, decode};
use lockstep_core::{ConnectionId, EventId, ObjectId, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Actor, AuditEntry};
use crate::connection::health::mark_gap_statement;
use crate::db::{Store, Tx};
use crate::due::mark::MarkDue;
use crate::due::{DueClaim, DueKind, DueReason};
use crate::error::StoreError;
use crate::event::NewEvent;
use crate::sql::{IDS_PER_STATEMENT, Row, Sql, lock, sql};

/// Events in one transaction: each writes about three rows, and nobody waits long behind it.
pub(crate) const EVENTS_PER_TRANSACTION: usize = 60;

const ASKED: &str = "SELECT e.id, e.connection_id, e.kind, e.object_id, e.claim, e.status, c.id AS known, p.body
    FROM event e LEFT JOIN connection c ON c.id = e.connection_id LEFT JOIN parked_body p ON p.event_id = e.id
    WHERE e.id IN ";
const NAMED: &str = "SELECT event_id, object_id FROM event_object WHERE event_id IN ";
// By what they replay: with an index on the bare status SQLite would walk everything that is in work (T14).
const UNDER_WAY: &str = "SELECT id, replay_of FROM event WHERE coalesce(status, '') IN ('in_work', 'waiting', 'held')
    AND replay_of IN ";
const KNOWN_CONNECTION: &str = "SELECT id FROM connection WHERE id = $1";
const CHAIN: &str =
    "WITH RECURSIVE replayed (id) AS (SELECT replay_of FROM event WHERE replay_of IS NOT NULL AND id IN ";
const CHAIN_GOES_ON: &str = " UNION SELECT e.replay_of FROM event e JOIN replayed r ON e.id = r.id
    WHERE e.replay_of IS NOT NULL) SELECT id FROM replayed ORDER BY id";
// By their ids alone: in one statement with the chain PostgreSQL would walk everything that has failed (T14).
const SUPERSEDE: &str =
    "UPDATE event SET status = 'superseded' WHERE coalesce(status, '') IN ('failed', 'parked') AND id IN ";
// Of a chain of replays only the last one: it stands for the others.
pub(crate) const FAILED: &str =
    "SELECT e.id FROM event e JOIN connection c ON c.id = e.connection_id WHERE e.status = 'failed'
    AND NOT EXISTS (SELECT 1 FROM event r WHERE r.replay_of = e.id)";

/// What came of asking for one replay (BI-58).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// A new event, in work.
    Begun(EventId),
    /// It was asked for before, and that replay is not decided yet.
    UnderWay(EventId),
    /// Nothing was written.
    Refused(NoReplay),
}

/// Why an event is not replayed, and what a person can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReplay {
    /// No event has this id.
    #[error("there is no such event; `lockstep event list` shows them")]
    Unknown,
    /// It will be decided without a replay.
    #[error("it is not decided yet and goes on by itself; `lockstep event show` tells why it waits")]
    Undecided,
    /// A person decides about it.
    #[error("the safety brake keeps it back; `lockstep hold list` shows the hold")]
    Held,
    /// It belongs to no connection that there is.
    #[error(
        "its connection is not there (any more): there is nobody to ask; `lockstep connection list` shows which are"
    )]
    NoConnection,
    /// Parked, and still not readable.
    #[error(
        "its message still cannot be read: if a newer Lockstep wrote it, upgrade and replay it; \
         otherwise `lockstep connection sync NAME` looks at everybody"
    )]
    Unreadable,
}

/// Which failed events to replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct FailedFilter<'a> {
    /// Of the connection of this name.
    pub connection: Option<&'a str>,
    /// With these words in their reason.
    pub reason: Option<&'a str>,
}

/// An event somebody wants replayed.
struct Asked {
    id: EventId,
    connection: Option<ConnectionId>,
    connection_known: bool,
    kind: String,
    object: Option<ObjectId>,
    claim: Option<&'static str>,
    status: String,
    body: Option<Vec<u8>>,
    named: Vec<ObjectId>,
}

/// A replay to write.
struct NewReplay {
    connection: ConnectionId,
    event: NewEvent,
    objects: BTreeMap<ObjectId, DueKind>,
    /// Nothing can be named: the connection is caught up instead.
    gap: bool,
}

impl Store {
    /// Replays these events, in short transactions; the answers are in the order of the events. Few asked for by hand
    /// are urgent: somebody waits for them.
    ///
    /// # Errors
    /// When the database cannot be written; what was begun so far stays.
    pub async fn replay_events(&self, events: &[EventId]) -> Result<Vec<Replay>, StoreError> {
        let mut answers = Vec::new();
        for chunk in events.chunks(EVENTS_PER_TRANSACTION) {
            answers.extend(self.replay_chunk(chunk, true).await?);
        }
        Ok(answers)
    }

    /// Replays every failed event that the filter lets through, in short transactions and behind what is urgent. Of an
    /// event and its own failed replays the last one is replayed.
    ///
    /// # Errors
    /// When the database cannot be written; what was begun so far stays.
    pub async fn replay_failed(&self, filter: &FailedFilter<'_>) -> Result<Vec<EventId>, StoreError> {
        let mut begun = Vec::new();
        let mut after = EventId(Uuid::nil());
        loop {
            let failed = self.failed_after(filter, after).await?;
            let Some(last) = failed.last() else {
                return Ok(begun);
            };
            after = *last;
            for answer in self.replay_chunk(&failed, false).await? {
                if let Replay::Begun(id) = answer {
                    begun.push(id);
                }
            }
        }
    }

    async fn failed_after(&self, filter: &FailedFilter<'_>, after: EventId) -> Result<Vec<EventId>, StoreError> {
        let mut query = sql(FAILED).push(" AND e.id > ").value(after);
        if let Some(name) = filter.connection {
            query = query.push(" AND c.name = ").value(name);
        }
        if let Some(reason) = filter.reason {
            let words = reason.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            query = query.push(" AND lower(e.reason) LIKE ").value(format!("%{words}%")).push(" ESCAPE '\\'");
        }
        let page = i64::try_from(EVENTS_PER_TRANSACTION).unwrap_or(i64::MAX);
        let query = query.push(" ORDER BY e.id LIMIT ").value(page).everywhere();
        self.all("replay_failed", query).await?.iter().map(|row| row.get("id").map(EventId)).collect()
    }

    async fn replay_chunk(&self, events: &[EventId], urgent: bool) -> Result<Vec<Replay>, StoreError> {
        let mut tx = self.begin_everywhere("replay_events").await?;
        let asked = tx.asked(events).await?;
        let mut under_way = tx.under_way(events).await?;
        let mut answers = Vec::new();
        let mut replays = Vec::new();
        for id in events {
            let answer = match (asked.get(id), under_way.get(id)) {
                (None, _) => Replay::Refused(NoReplay::Unknown),
                (Some(_), Some(replay)) => Replay::UnderWay(*replay),
                (Some(asked), None) => match tx.replay_of(asked).await? {
                    Err(why) => Replay::Refused(why),
                    Ok(replay) => {
                        let begun = replay.event.id;
                        under_way.insert(*id, begun);
                        replays.push(replay);
                        Replay::Begun(begun)
                    }
                },
            };
            answers.push(answer);
        }
        tx.write_replays(replays, urgent).await?;
        tx.commit().await?;
        Ok(answers)
    }
}

impl Tx {
    async fn asked(&mut self, events: &[EventId]) -> Result<BTreeMap<EventId, Asked>, StoreError> {
        let mut asked = BTreeMap::new();
        // Locked: two who ask for the same replay begin one.
        let query = sql(ASKED).list(events.iter().copied()).push(" ORDER BY e.id").on_postgres(lock::EVENTS);
        for row in self.all(query).await? {
            let event = asked_from(&row)?;
            asked.insert(event.id, event);
        }
        for row in self.all(sql(NAMED).list(events.iter().copied())).await? {
            if let Some(event) = asked.get_mut(&EventId(row.get("event_id")?)) {
                event.named.push(ObjectId(row.get("object_id")?));
            }
        }
        Ok(asked)
    }

    /// By the event they replay.
    async fn under_way(&mut self, events: &[EventId]) -> Result<BTreeMap<EventId, EventId>, StoreError> {
        let rows = self.all(under_way(events)).await?;
        rows.iter().map(|row| Ok((EventId(row.get("replay_of")?), EventId(row.get("id")?)))).collect()
    }

    async fn replay_of(&mut self, asked: &Asked) -> Result<Result<NewReplay, NoReplay>, StoreError> {
        match asked.status.as_str() {
            "in_work" | "waiting" => return Ok(Err(NoReplay::Undecided)),
            "held" => return Ok(Err(NoReplay::Held)),
            "parked" => return self.replay_of_parked(asked).await,
            _ => {}
        }
        let Some(connection) = asked.connection.filter(|_| asked.connection_known) else {
            return Ok(Err(NoReplay::NoConnection));
        };
        let kinds = asked.named.iter().chain(&asked.object).map(|id| (*id, kind_of(&asked.kind, asked.object, *id)));
        // Members stand for what their group's event said; without them the group's listing is compared.
        let members_only = asked.named.iter().any(|id| Some(*id) != asked.object);
        let objects = kinds.filter(|(id, _)| !members_only || Some(*id) != asked.object).collect();
        Ok(Ok(self.new_replay(asked, connection, objects)))
    }

    /// The body was kept so that a later version can read it, or a later connection claim it (FA-27).
    async fn replay_of_parked(&mut self, asked: &Asked) -> Result<Result<NewReplay, NoReplay>, StoreError> {
        let Some(message) = asked.body.as_deref().and_then(|body| decode(body).ok()) else {
            return Ok(Err(NoReplay::Unreadable));
        };
        if self.one(sql(KNOWN_CONNECTION).bind(message.connection)).await?.is_none() {
            return Ok(Err(NoReplay::NoConnection));
        }
        let mut replay = self.new_replay(asked, message.connection, objects_of(&message));
        replay.gap |=
            message.items.iter().any(|hint| matches!(hint.subject, Subject::Lifecycle { .. } | Subject::Unclear));
        Ok(Ok(replay))
    }

    fn new_replay(&self, asked: &Asked, connection: ConnectionId, objects: BTreeMap<ObjectId, DueKind>) -> NewReplay {
        let gap = objects.is_empty();
        let only = if objects.len() == 1 { objects.keys().next().copied() } else { None };
        let kind = match asked.kind.as_str() {
            _ if gap => "catch_up",
            "user" => "user",
            "on_demand" => "on_demand",
            "group" => "group",
            _ if objects.values().all(|kind| *kind == DueKind::User) => "user",
            _ => "group",
        };
        let event = NewEvent {
            id: EventId(Uuid::now_v7()),
            replay_of: Some(asked.id),
            connection: Some(connection),
            kind,
            object: asked.object.or(only),
            claim: asked.claim,
            // Waits for the delta run that closes the gap.
            status: if gap { "waiting" } else { "in_work" },
            reason: None,
            message: None,
            received_at: self.now(),
            settled: false,
        };
        NewReplay { connection, event, objects, gap }
    }

    async fn write_replays(&mut self, replays: Vec<NewReplay>, urgent: bool) -> Result<(), StoreError> {
        let now = self.now();
        let mut named = Vec::new();
        let mut marks: BTreeMap<ConnectionId, Vec<MarkDue>> = BTreeMap::new();
        let mut audited = Vec::new();
        let mut gaps = BTreeSet::new();
        for replay in &replays {
            named.extend(replay.objects.keys().map(|object| (replay.event.id, replay.connection, *object)));
            let due = replay.objects.iter().map(|(object, kind)| look(*object, *kind, now, urgent, DueReason::Replay));
            marks.entry(replay.connection).or_default().extend(due);
            if replay.gap {
                gaps.insert(replay.connection);
            }
            audited.push(replay.audited());
        }
        let events: Vec<NewEvent> = replays.into_iter().map(|replay| replay.event).collect();
        self.insert_events(&events).await?;
        self.name_objects(&named).await?;
        for (connection, marks) in marks {
            self.mark_due(connection, &marks).await?;
        }
        for connection in gaps {
            self.run(mark_gap_statement(connection, now)).await?;
        }
        self.audit_all(&audited).await
    }

    /// A replay was applied: what it replayed, and what that replayed, is answered by it. Their reasons stay.
    pub(crate) async fn supersede_replayed(&mut self, applied: &[EventId]) -> Result<(), StoreError> {
        for chunk in applied.chunks(IDS_PER_STATEMENT) {
            let chain = sql(CHAIN).list(chunk.iter().copied()).push(CHAIN_GOES_ON);
            let replayed = self.all(chain).await?;
            let replayed: Vec<Uuid> = replayed.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?;
            for chunk in replayed.chunks(IDS_PER_STATEMENT) {
                self.run(sql(SUPERSEDE).list(chunk.iter().copied())).await?;
            }
        }
        Ok(())
    }
}

impl NewReplay {
    fn audited(&self) -> AuditEntry {
        AuditEntry {
            connection: Some(self.connection),
            actor: Actor::Cli,
            action: "event_replayed",
            object_kind: "event",
            object_id: self.event.id.0.to_string(),
            detail: json!({ "replay_of": self.event.replay_of }),
        }
    }
}

pub(crate) fn under_way(events: &[EventId]) -> Sql {
    sql(UNDER_WAY).list(events.iter().copied())
}

fn asked_from(row: &Row) -> Result<Asked, StoreError> {
    let claim = row.get::<Option<String>>("claim")?;
    Ok(Asked {
        id: EventId(row.get("id")?),
        connection: row.get::<Option<Uuid>>("connection_id")?.map(ConnectionId),
        connection_known: row.get::<Option<Uuid>>("known")?.is_some(),
        kind: row.get("kind")?,
        object: row.get::<Option<Uuid>>("object_id")?.map(ObjectId),
        claim: claim.as_deref().and_then(DueClaim::parse).map(DueClaim::as_str),
        status: row.get("status")?,
        body: row.get("body")?,
        named: Vec::new(),
    })
}

/// Whoever a group's event names beside the group is a member, of a kind that only Graph can tell.
pub(crate) fn kind_of(event_kind: &str, subject: Option<ObjectId>, object: ObjectId) -> DueKind {
    match event_kind {
        "user" | "on_demand" => DueKind::User,
        "group" if subject == Some(object) => DueKind::Group,
        _ => DueKind::Unknown,
    }
}

fn objects_of(message: &HintMessage) -> BTreeMap<ObjectId, DueKind> {
    let mut objects = BTreeMap::new();
    for hint in &message.items {
        match &hint.subject {
            Subject::User { id, .. } => drop(objects.insert(*id, DueKind::User)),
            Subject::Group { id, members, truncated, .. } if *truncated || members.is_empty() => {
                objects.insert(*id, DueKind::Group);
            }
            Subject::Group { members, .. } => {
                for member in members {
                    objects.entry(member.id).or_insert(DueKind::Unknown);
                }
            }
            Subject::Lifecycle { .. } | Subject::Unclear => {}
        }
    }
    objects
}

/// Both facets, whatever the scope.
pub(crate) fn look(object: ObjectId, kind: DueKind, at: Timestamp, urgent: bool, reason: DueReason) -> MarkDue {
    MarkDue { object, kind, at, urgent, read_profile: true, read_membership: true, reason }
}
