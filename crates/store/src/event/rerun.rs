//! Failed events run again by themselves: at each recovery of their connection, and daily (guarantees.md, `attempts`).

use std::collections::BTreeMap;

use lockstep_core::{ConnectionId, EventId, ObjectId, Timestamp};
use uuid::Uuid;

use crate::db::{Store, Tx};
use crate::due::DueReason;
use crate::due::mark::MarkDue;
use crate::error::StoreError;
use crate::replay::{EVENTS_PER_TRANSACTION, FAILED, kind_of, look};
use crate::sql::{lock, sql};

/// Most events that run again at a time; the rest comes with the next time.
const RERUN_AT_ONCE: usize = 1_000;

const FAILED_OBJECTS: &str = "SELECT o.event_id, o.connection_id, o.object_id, e.kind, e.object_id AS subject
    FROM event_object o JOIN event e ON e.id = o.event_id WHERE o.outcome = 'failed' AND o.event_id IN ";

const RERUNNABLE: &str = " AND c.state <> 'paused' AND EXISTS (SELECT 1 FROM event_object o
    WHERE o.event_id = e.id AND o.outcome = 'failed') AND e.settled_at <= ";

impl Store {
    /// Makes failed events run again that failed before this instant: their objects are due, and the events wait with
    /// the reason of their failure. Bounded; how many.
    ///
    /// # Errors
    /// When the database cannot be written; what was made due so far stays.
    pub async fn rerun_failed(
        &self,
        connection: Option<ConnectionId>,
        failed_before: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut count = 0;
        while count < RERUN_AT_ONCE {
            let mut tx = self.begin_everywhere("rerun_failed").await?;
            let events = tx.failed_before(connection, failed_before).await?;
            if events.is_empty() {
                break;
            }
            tx.run_again(&events).await?;
            tx.commit().await?;
            count += events.len();
        }
        Ok(count)
    }
}

impl Tx {
    async fn failed_before(
        &mut self,
        connection: Option<ConnectionId>,
        failed_before: Timestamp,
    ) -> Result<Vec<EventId>, StoreError> {
        let mut query = sql(FAILED).push(RERUNNABLE).value(failed_before);
        if let Some(connection) = connection {
            query = query.push(" AND e.connection_id = ").value(connection);
        }
        let page = i64::try_from(EVENTS_PER_TRANSACTION).unwrap_or(i64::MAX);
        let rows = self.all(query.push(" ORDER BY e.id LIMIT ").value(page).on_postgres(lock::FREE_EVENTS)).await?;
        rows.iter().map(|row| row.get("id").map(EventId)).collect()
    }

    async fn run_again(&mut self, events: &[EventId]) -> Result<(), StoreError> {
        let now = self.now();
        let mut marks: BTreeMap<ConnectionId, Vec<MarkDue>> = BTreeMap::new();
        for row in self.all(sql(FAILED_OBJECTS).list(events.iter().copied())).await? {
            let object = ObjectId(row.get("object_id")?);
            let subject = row.get::<Option<Uuid>>("subject")?.map(ObjectId);
            let kind = kind_of(&row.get::<String>("kind")?, subject, object);
            let mark = look(object, kind, now, false, DueReason::Replay);
            marks.entry(ConnectionId(row.get("connection_id")?)).or_default().push(mark);
        }
        for (connection, marks) in marks {
            self.mark_due(connection, &marks).await?;
        }
        let reopen =
            sql("UPDATE event_object SET outcome = NULL, reason = NULL WHERE outcome = 'failed' AND event_id IN ");
        self.run(reopen.list(events.iter().copied())).await?;
        let wait = sql("UPDATE event SET status = 'waiting', settled_at = NULL WHERE id IN ");
        self.run(wait.list(events.iter().copied())).await?;
        Ok(())
    }
}
