//! Holds: removals that the brake keeps back until a person decides.

use std::collections::BTreeMap;

use lockstep_core::plan::Step;
use lockstep_core::{HoldId, ObjectId, RecordId};
use serde_json::json;
use uuid::Uuid;

use crate::apply::change::{Change, Held};
use crate::apply::{Decided, Effect};
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
    state = excluded.state, held_at = excluded.held_at";
const EMPTIED: &str = "UPDATE hold SET state = 'emptied' WHERE connection_id = $1 AND state = 'open'
    AND NOT EXISTS (SELECT 1 FROM hold_person p WHERE p.hold_id = hold.id AND p.state = 'held')";

impl Tx {
    /// Writes who is held, and who leaves a hold. Gives how many are newly held.
    pub(crate) async fn write_holds(
        &mut self,
        connection: &Connection,
        changes: &[Change<'_>],
    ) -> Result<u64, StoreError> {
        let mut left: BTreeMap<&'static str, Vec<RecordId>> = BTreeMap::new();
        let mut freed: Vec<ObjectId> = Vec::new();
        let mut held: BTreeMap<(String, &'static str), Vec<&Change<'_>>> = BTreeMap::new();
        for change in changes {
            let Some(record) = change.before.as_ref().or(change.after.as_ref()) else { continue };
            let known = change.decided.person.open_hold.map(|hold| hold.class);
            match (&change.hold, known) {
                (Some(hold), Some(class)) if hold.class == class => {}
                (Some(hold), known) => {
                    if known.is_some() {
                        left.entry("overtaken").or_default().push(record.id);
                    }
                    held.entry((hold.limit.clone(), class_word(hold.class))).or_default().push(change);
                }
                (None, Some(_)) if change.effect() == Some(Effect::Deactivated) => {
                    left.entry("overtaken").or_default().push(record.id);
                    freed.push(change.decided.person.user.id);
                }
                (None, Some(_)) if is_back(change.decided) => {
                    left.entry("back").or_default().push(record.id);
                    freed.push(change.decided.person.user.id);
                }
                (None, _) => {}
            }
        }
        let newly: u64 = held.values().map(|people| people.len() as u64).sum();
        self.leave_holds(connection, left).await?;
        self.free_held_events(connection.id, &freed).await?;
        for ((limit, cause), people) in held {
            self.hold_people(connection, &limit, cause, &people).await?;
        }
        Ok(newly)
    }

    async fn leave_holds(
        &mut self,
        connection: &Connection,
        left: BTreeMap<&'static str, Vec<RecordId>>,
    ) -> Result<(), StoreError> {
        if left.is_empty() {
            return Ok(());
        }
        self.lock_name(holds_lock(connection)).await?;
        for (state, records) in left {
            for chunk in records.chunks(IDS_PER_STATEMENT) {
                let leave =
                    sql("UPDATE hold_person SET state = ").value(state).push(" WHERE state = 'held' AND record_id IN ");
                self.run(leave.list(chunk.iter().copied())).await?;
            }
        }
        self.run(sql(EMPTIED).bind(connection.id)).await?;
        Ok(())
    }

    async fn hold_people(
        &mut self,
        connection: &Connection,
        limit: &str,
        cause: &'static str,
        people: &[&Change<'_>],
    ) -> Result<(), StoreError> {
        self.lock_name(holds_lock(connection)).await?;
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

/// In scope again, by what is known now: nothing takes access and nothing is still to be read for it.
/// Taken by whoever puts people into holds or lets them out: nobody closes a hold that somebody enters.
fn holds_lock(connection: &Connection) -> String {
    format!("holds of {}", connection.id)
}

fn is_back(decided: &Decided<'_>) -> bool {
    let desired = &decided.plan.desired;
    let removal = decided.plan.steps.iter().any(|step| matches!(step, Step::Deactivate { .. }));
    !removal && desired.reasons.is_empty() && desired.unknown.is_none()
}
