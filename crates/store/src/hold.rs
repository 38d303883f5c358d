//! Holds: removals that the brake keeps back until a person decides.

pub(crate) mod alarm;
pub(crate) mod answer;

use std::collections::BTreeMap;

use lockstep_core::brake::{FIRST_SYNC, HeldAs, HoldAnswer, Judgement};
use lockstep_core::plan::Step;
use lockstep_core::record::{Record, Status};
use lockstep_core::{ConnectionId, HoldId, ObjectId, RecordId};
use serde_json::json;
use uuid::Uuid;

use crate::apply::Decided;
use crate::apply::change::{Change, Held};
use crate::audit::{Actor, AuditEntry};
use crate::brake::class_word;
use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, sql};

const OPEN: &str =
    "SELECT id FROM hold WHERE connection_id = $1 AND state = 'open' AND limit_reached = $2 AND cause = $3";
const INSERT: &str =
    "INSERT INTO hold (id, connection_id, opened_at, limit_reached, cause, state) VALUES ($1, $2, $3, $4, $5, 'open')";
const PEOPLE: &str =
    "INSERT INTO hold_person (hold_id, connection_id, record_id, user_id, cause, class, state, held_at) VALUES ";
// Somebody may come back to a hold that they left before.
const AGAIN: &str = " ON CONFLICT (hold_id, record_id) DO UPDATE SET cause = excluded.cause, class = excluded.class,
    state = excluded.state, held_at = excluded.held_at, answer = NULL, answered_at = NULL, answer_reason = NULL,
    standing = NULL";
const LEAVING: &str = " WHERE state IN ('held', 'approved', 'kept') AND record_id IN ";
// Nobody waits for an answer any more: what the answers were is what became of the hold.
const CLOSE: &str = "UPDATE hold SET alarmed_at = NULL, state = CASE
        WHEN EXISTS (SELECT 1 FROM hold_person p WHERE p.hold_id = hold.id AND p.answer = 'approved')
            AND EXISTS (SELECT 1 FROM hold_person p WHERE p.hold_id = hold.id AND p.answer = 'rejected')
            THEN 'partly_approved'
        WHEN EXISTS (SELECT 1 FROM hold_person p WHERE p.hold_id = hold.id AND p.answer = 'approved') THEN 'approved'
        WHEN EXISTS (SELECT 1 FROM hold_person p WHERE p.hold_id = hold.id AND p.answer = 'rejected') THEN 'rejected'
        ELSE 'emptied' END
    WHERE connection_id = $1 AND state = 'open'
    AND NOT EXISTS (SELECT 1 FROM hold_person p WHERE p.hold_id = hold.id AND p.state = 'held')";

/// What the hold of a first sync names as its cause: all of its removals are one hold, whatever takes the access.
const MIXED: &str = "mixed";

impl Tx {
    /// Writes who is held, and who leaves a hold. Gives how many are newly held.
    pub(crate) async fn write_holds(
        &mut self,
        connection: &Connection,
        changes: &[Change<'_>],
    ) -> Result<u64, StoreError> {
        let mut left: BTreeMap<&'static str, Vec<RecordId>> = BTreeMap::new();
        let mut freed: Vec<ObjectId> = Vec::new();
        let mut held: BTreeMap<(&str, &'static str), Vec<&Change<'_>>> = BTreeMap::new();
        for change in changes.iter().filter(|change| !change.beside) {
            let Some(record) = change.own().or(change.after.as_ref()) else { continue };
            let known = change.decided.person.open_hold.as_ref();
            if let Some(hold) = &change.hold {
                let Some(limit) = newly_held(hold, known) else { continue };
                if known.is_some() {
                    left.entry("overtaken").or_default().push(record.id);
                }
                held.entry((limit, cause_word(hold, limit))).or_default().push(change);
            } else if let Some(state) = known.and_then(|known| left_as(change, known)) {
                left.entry(state).or_default().push(record.id);
                freed.push(change.decided.person.user.id);
            }
        }
        let newly: u64 = held.values().map(|people| people.len() as u64).sum();
        self.leave_holds(connection, left).await?;
        self.free_held_events(connection.id, &freed).await?;
        for ((limit, cause), people) in held {
            self.hold_people(connection, limit, cause, &people).await?;
        }
        Ok(newly)
    }

    /// An admin's act on one record takes it out of its hold.
    pub(crate) async fn leave_hold(
        &mut self,
        connection: &Connection,
        record: RecordId,
        user: ObjectId,
        state: &'static str,
    ) -> Result<(), StoreError> {
        self.leave_holds(connection, BTreeMap::from([(state, vec![record])])).await?;
        self.free_held_events(connection.id, &[user]).await
    }

    async fn leave_holds(
        &mut self,
        connection: &Connection,
        left: BTreeMap<&'static str, Vec<RecordId>>,
    ) -> Result<(), StoreError> {
        if left.is_empty() {
            return Ok(());
        }
        self.lock_name(holds_lock(connection.id)).await?;
        for (state, records) in left {
            for chunk in records.chunks(IDS_PER_STATEMENT) {
                let leave = sql("UPDATE hold_person SET state = ").value(state).push(LEAVING);
                self.run(leave.list(chunk.iter().copied())).await?;
            }
        }
        self.run(sql(CLOSE).bind(connection.id)).await?;
        Ok(())
    }

    async fn hold_people(
        &mut self,
        connection: &Connection,
        limit: &str,
        cause: &'static str,
        people: &[&Change<'_>],
    ) -> Result<(), StoreError> {
        self.lock_name(holds_lock(connection.id)).await?;
        let hold = self.open_hold(connection, limit, cause).await?;
        let now = self.now();
        let row = |change: &&Change<'_>| -> Option<Vec<Bind>> {
            let Held { class, reasons, .. } = change.hold.as_ref()?;
            let record = change.before.as_ref().or(change.after.as_ref())?;
            Some(vec![
                hold.into(),
                connection.id.into(),
                record.id.into(),
                change.decided.person.user.id.into(),
                Bind::json(reasons),
                class_word(*class).into(),
                "held".into(),
                now.into(),
            ])
        };
        for chunk in people.chunks(ROWS_PER_STATEMENT) {
            self.run(sql(PEOPLE).rows(chunk.iter().filter_map(row)).push(AGAIN)).await?;
        }
        Ok(())
    }

    /// The hold that collects the excess over one limit, opened with the first person.
    async fn open_hold(
        &mut self,
        connection: &Connection,
        limit: &str,
        cause: &'static str,
    ) -> Result<HoldId, StoreError> {
        if let Some(row) = self.one(sql(OPEN).bind(connection.id).bind(limit).bind(cause)).await? {
            return row.get("id").map(HoldId);
        }
        let id = HoldId(Uuid::now_v7());
        let now = self.now();
        self.run(sql(INSERT).bind(id).bind(connection.id).bind(now).bind(limit).bind(cause)).await?;
        self.audit(AuditEntry {
            connection: Some(connection.id),
            actor: Actor::Sync,
            action: "hold.open",
            object_kind: "hold",
            object_id: id.to_string(),
            detail: json!({ "limit": limit, "cause": cause }),
        })
        .await?;
        Ok(id)
    }
}

/// Taken by whoever puts people into holds, answers for them or lets them out: nobody closes a hold that somebody enters.
fn holds_lock(connection: ConnectionId) -> String {
    format!("holds of {connection}")
}

/// The limit of the hold to enter; `None`: they are on one already that waits for an answer, or for the read after it.
fn newly_held<'h>(hold: &'h Held, known: Option<&HeldAs>) -> Option<&'h str> {
    let waits = known.is_some_and(|known| known.class == hold.class && known.answer == HoldAnswer::Awaited);
    hold.limit.as_deref().filter(|_| !waits)
}

fn cause_word(hold: &Held, limit: &str) -> &'static str {
    if limit == FIRST_SYNC { MIXED } else { class_word(hold.class) }
}

/// How somebody leaves the hold that names them; `None`: they stay on it.
fn left_as(change: &Change<'_>, known: &HeldAs) -> Option<&'static str> {
    // An unlinked record is nobody's in Microsoft any more.
    let left = |after: &Record| after.status != Status::Active || after.entra_id.is_none();
    let out = change.removed().is_some() || change.archived.is_some() || change.after.as_ref().is_some_and(left);
    let by_answer = change.decided.judgement == Judgement::Approved && matches!(known.answer, HoldAnswer::Approved(_));
    match () {
        () if out && by_answer => Some("gone"),
        () if out => Some("overtaken"),
        () if is_back(change.decided) => Some("back"),
        () => None,
    }
}

/// In scope again, and by a rule of the same kind, by what is known now: nothing takes access and nothing is still to be
/// read for it.
fn is_back(decided: &Decided<'_>) -> bool {
    let desired = &decided.plan.desired;
    let takes = |step: &Step| matches!(step, Step::Deactivate { .. } | Step::ChangeKind(_));
    !decided.plan.steps.iter().any(takes)
        && decided.keeps_kind()
        && desired.reasons.is_empty()
        && desired.unknown.is_none()
}
