//! Settling events: each by the read that decided, none by a read that could not have seen it (G-05).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use lockstep_core::{ConnectionId, EventId, ObjectId, Ticket};

use crate::db::Tx;
use crate::error::StoreError;
use crate::event::{EventOutcome, EventStatus};
use crate::sql::{IDS_PER_STATEMENT, ROWS_PER_STATEMENT, Row, lock, sql};

// Of a hint about a user nobody else is named: what is decided about them is decided about the event.
const OPEN: &str = "SELECT o.object_id, e.id, e.taken_ticket, e.kind = 'user' AND e.object_id = o.object_id AS alone,
    e.replay_of IS NOT NULL AS replays FROM event_object o JOIN event e ON e.id = o.event_id WHERE o.outcome IS NULL AND o.connection_id = ";
const HELD: &str = "SELECT o.object_id, o.event_id, e.replay_of IS NOT NULL AS replays
    FROM event_object o JOIN event e ON e.id = o.event_id WHERE o.outcome = 'held' AND o.connection_id = ";
const DECIDE: &str =
    " ON CONFLICT (event_id, object_id) DO UPDATE SET outcome = excluded.outcome, reason = excluded.reason";

/// What one object means for one event that named it.
struct Decision {
    event: EventId,
    object: ObjectId,
    /// The event named nobody else.
    alone: bool,
    /// The event is the replay of another one.
    replays: bool,
    outcome: EventOutcome,
}

/// An undecided event that named an object.
struct Open {
    event: EventId,
    taken: Ticket,
    alone: bool,
    replays: bool,
}

impl Tx {
    /// Settles the events that named these objects, each by the ticket of the read that decided: only events taken
    /// before that ticket was drawn. The newest of them gets the outcome, the older ones are superseded; an event that
    /// named several is decided when all are, with the worst of their outcomes.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn settle_events(
        &mut self,
        connection: ConnectionId,
        objects: &[(ObjectId, Ticket, EventOutcome)],
    ) -> Result<(), StoreError> {
        for chunk in objects.chunks(IDS_PER_STATEMENT) {
            let decisive: HashMap<_, _> = chunk.iter().map(|(id, ticket, outcome)| (*id, (*ticket, outcome))).collect();
            let mut decisions = Vec::new();
            for (object, events) in self.open_events(connection, decisive.keys().copied()).await? {
                if let Some((ticket, outcome)) = decisive.get(&object) {
                    decide(&mut decisions, object, &events, *ticket, outcome);
                }
            }
            self.write_outcomes(connection, &decisions).await?;
            self.sum_up_events(&decisions).await?;
        }
        Ok(())
    }

    /// Whoever left a hold by themselves is kept back no longer, and neither are the events that named them: the record
    /// agrees with what was read.
    pub(crate) async fn free_held_events(
        &mut self,
        connection: ConnectionId,
        people: &[ObjectId],
    ) -> Result<(), StoreError> {
        for chunk in people.chunks(IDS_PER_STATEMENT) {
            let query = sql(HELD).value(connection).push(" AND o.object_id IN ").list(chunk.iter().copied());
            let mut decisions = Vec::new();
            for row in self.all(query).await? {
                let (event, object) = (EventId(row.get("event_id")?), ObjectId(row.get("object_id")?));
                let (replays, outcome) = (row.get("replays")?, EventOutcome::applied());
                decisions.push(Decision { event, object, alone: false, replays, outcome });
            }
            self.write_outcomes(connection, &decisions).await?;
            self.sum_up_events(&decisions).await?;
        }
        Ok(())
    }

    /// By object, the undecided events in the order they were taken.
    async fn open_events(
        &mut self,
        connection: ConnectionId,
        objects: impl Iterator<Item = ObjectId>,
    ) -> Result<BTreeMap<ObjectId, Vec<Open>>, StoreError> {
        let query = sql(OPEN).value(connection).push(" AND o.object_id IN ").list(objects);
        // The events are locked: of two workers who settle the last two of one event's objects the later sees both.
        let query = query.push(" ORDER BY e.id").on_postgres(lock::ROWS);
        let mut open: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for row in self.all(query).await? {
            let event = EventId(row.get("id")?);
            let taken = Ticket(row.get("taken_ticket")?);
            let one = Open { event, taken, alone: row.get("alone")?, replays: row.get("replays")? };
            open.entry(ObjectId(row.get("object_id")?)).or_default().push(one);
        }
        Ok(open)
    }

    /// What waits stays undecided.
    async fn write_outcomes(&mut self, connection: ConnectionId, decisions: &[Decision]) -> Result<(), StoreError> {
        let closed: Vec<_> = decisions.iter().filter(|it| it.outcome.status != EventStatus::Waiting).collect();
        for chunk in closed.chunks(ROWS_PER_STATEMENT) {
            let rows = chunk.iter().map(|it| {
                let EventOutcome { status, reason } = &it.outcome;
                let (status, reason) = (status.as_str().into(), reason.clone().into());
                vec![it.event.into(), connection.into(), it.object.into(), status, reason]
            });
            let insert = sql("INSERT INTO event_object (event_id, connection_id, object_id, outcome, reason) VALUES ");
            self.run(insert.rows(rows).push(DECIDE)).await?;
        }
        Ok(())
    }

    /// Gives each event the status that follows from all its objects.
    async fn sum_up_events(&mut self, decisions: &[Decision]) -> Result<(), StoreError> {
        let waiting: HashMap<EventId, &EventOutcome> = decisions
            .iter()
            .filter(|it| it.outcome.status == EventStatus::Waiting)
            .map(|it| (it.event, &it.outcome))
            .collect();
        let events: BTreeSet<EventId> = decisions.iter().filter(|it| !it.alone).map(|it| it.event).collect();
        let mut groups: BTreeMap<(EventStatus, Option<String>), Vec<EventId>> = BTreeMap::new();
        for Decision { event, outcome, .. } in decisions.iter().filter(|it| it.alone) {
            groups.entry((outcome.status, outcome.reason.clone())).or_default().push(*event);
        }
        for (event, sum) in self.sums(&events).await? {
            let outcome = match sum {
                Sum::Undecided => waiting.get(&event).copied().cloned(),
                Sum::Worst(worst) => Some(worst),
            };
            if let Some(outcome) = outcome {
                groups.entry((outcome.status, outcome.reason)).or_default().push(event);
            }
        }
        let replays: HashSet<EventId> = decisions.iter().filter(|it| it.replays).map(|it| it.event).collect();
        let now = self.now();
        for ((status, reason), ids) in groups {
            let settled = (status != EventStatus::Waiting).then_some(now);
            for chunk in ids.chunks(IDS_PER_STATEMENT) {
                let update = sql("UPDATE event SET attempts = attempts + 1, status = ").value(status.as_str());
                let update = update.push(", reason = ").value(reason.clone()).push(", settled_at = ").value(settled);
                self.run(update.push(" WHERE id IN ").list(chunk.iter().copied())).await?;
                if matches!(status, EventStatus::Applied | EventStatus::Superseded) {
                    let replays: Vec<EventId> = chunk.iter().copied().filter(|id| replays.contains(id)).collect();
                    self.supersede_replayed(&replays).await?;
                }
            }
        }
        Ok(())
    }

    async fn sums(&mut self, events: &BTreeSet<EventId>) -> Result<BTreeMap<EventId, Sum>, StoreError> {
        let ids: Vec<EventId> = events.iter().copied().collect();
        let mut sums = BTreeMap::new();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let query = sql("SELECT event_id, outcome, reason FROM event_object WHERE event_id IN ");
            for row in self.all(query.list(chunk.iter().copied())).await? {
                let event = EventId(row.get("event_id")?);
                let next = outcome_from(&row)?;
                let so_far = sums.remove(&event);
                sums.insert(
                    event,
                    match so_far {
                        None => Sum::of(next),
                        Some(sum) => Sum::with(sum, next),
                    },
                );
            }
        }
        Ok(sums)
    }
}

/// The newest event that this read could have seen gets the outcome; older ones are superseded by it.
fn decide(decisions: &mut Vec<Decision>, object: ObjectId, events: &[Open], ticket: Ticket, outcome: &EventOutcome) {
    let decision = |open: &Open, outcome| {
        let Open { event, alone, replays, .. } = *open;
        Decision { event, object, alone, replays, outcome }
    };
    let mut taken_before = events.iter().rev().filter(|open| open.taken < ticket);
    let newest = taken_before.next().map(|open| decision(open, outcome.clone()));
    let superseded = EventOutcome { status: EventStatus::Superseded, reason: None };
    decisions.extend(newest);
    decisions.extend(taken_before.map(|open| decision(open, superseded.clone())));
}

/// What the objects of one event say together.
enum Sum {
    Undecided,
    Worst(EventOutcome),
}

impl Sum {
    fn of(outcome: Option<EventOutcome>) -> Self {
        outcome.map_or(Self::Undecided, Self::Worst)
    }

    fn with(self, next: Option<EventOutcome>) -> Self {
        match (self, next) {
            (Self::Worst(so_far), Some(next)) if next.status > so_far.status => Self::Worst(next),
            (Self::Worst(so_far), Some(_)) => Self::Worst(so_far),
            _ => Self::Undecided,
        }
    }
}

fn outcome_from(row: &Row) -> Result<Option<EventOutcome>, StoreError> {
    let Some(word) = row.get::<Option<String>>("outcome")? else { return Ok(None) };
    let status = EventStatus::parse(&word).ok_or_else(|| row.impossible("event_object", "outcome"))?;
    Ok(Some(EventOutcome { status, reason: row.get("reason")? }))
}
