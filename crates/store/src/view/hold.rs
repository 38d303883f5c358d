//! Holds as they are shown: what the brake keeps back, and whom.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::record::Reason;
use lockstep_core::{HoldId, RecordId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{meaning, word};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{IDS_PER_STATEMENT, Row, Sql, sql};

/// Changes kept back by the brake until a person decides (D6). No Debug: it holds personal data (G-27).
#[derive(Clone, Serialize)]
pub struct HoldView {
    /// Ours.
    pub id: HoldId,
    /// Name of the connection; null when it was removed.
    pub connection: Option<String>,
    /// When the limit was reached.
    pub opened_at: Timestamp,
    /// Which limit, in plain words.
    pub limit: String,
    /// What took the access in Microsoft: `revoked`, `lost_scope`, or `mixed` at a first sync.
    pub cause: String,
    /// Whoever is on it; those read back in scope, or gone for a new cause, before anybody answered are on it no longer.
    pub people: Vec<HeldPerson>,
    /// Whether somebody decided.
    pub state: HoldState,
}

/// One person on a hold. No Debug: it holds personal data (G-27).
#[derive(Clone, Serialize)]
pub struct HeldPerson {
    /// The record.
    pub record: RecordId,
    /// Their name.
    pub display_name: Option<String>,
    /// Why it would lose access.
    pub cause: BTreeSet<Reason>,
    /// What became of it.
    pub state: HeldState,
    /// When somebody decided.
    pub answered_at: Option<Timestamp>,
    /// What they gave as their reason.
    pub answer_reason: Option<String>,
}

/// Where a person on a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldState {
    /// In, until somebody decides.
    Held,
    /// In, until they are read again.
    Approved,
    /// Out by the answer.
    Gone,
    /// In by the answer.
    Kept,
    /// In by themselves: read back in scope.
    Back,
    /// Decided by a new cause.
    Overtaken,
}

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldState {
    /// Somebody on it waits for a decision.
    Open,
    /// Its people lose access, but for those who are read back in scope.
    Approved,
    /// Its people stay.
    Rejected,
    /// Some were approved, the others rejected.
    PartlyApproved,
    /// Everybody left it by themselves: read back in scope, or gone for a new cause.
    Emptied,
}

impl HoldView {
    /// How many people on it stand so.
    pub fn count(&self, state: HeldState) -> usize {
        self.people.iter().filter(|person| person.state == state).count()
    }
}

/// Which holds to list.
#[derive(Clone, Copy)]
pub struct HoldFilter<'a> {
    /// Of the connection of this name.
    pub connection: Option<&'a str>,
    /// In this state.
    pub state: Option<HoldState>,
    /// At most so many.
    pub limit: usize,
    /// Older than this one.
    pub after: Option<HoldId>,
}

impl Default for HoldFilter<'_> {
    fn default() -> Self {
        Self { connection: None, state: None, limit: super::PAGE, after: None }
    }
}

const HOLDS: &str = "SELECT h.id, c.name AS connection, h.opened_at, h.limit_reached, h.cause, h.state \
     FROM hold h LEFT JOIN connection c ON c.id = h.connection_id WHERE TRUE";

const PEOPLE: &str = "SELECT p.hold_id, p.record_id, r.display_name, p.cause, p.state, p.answered_at, p.answer_reason \
     FROM hold_person p LEFT JOIN record r ON r.id = p.record_id \
     WHERE (p.answer IS NOT NULL OR p.state NOT IN ('back', 'overtaken')) AND p.hold_id IN ";

const OF_RECORD: &str =
    "h.id IN (SELECT hold_id FROM hold_person WHERE state IN ('held', 'approved', 'kept') AND record_id = ";

const NEWEST: &str = " ORDER BY h.id DESC";

impl HoldView {
    fn from_row(row: &Row, people: &mut BTreeMap<HoldId, Vec<HeldPerson>>) -> Result<Self, StoreError> {
        let id = HoldId(row.get("id")?);
        Ok(Self {
            id,
            connection: row.get("connection")?,
            opened_at: row.at("opened_at")?,
            limit: row.get("limit_reached")?,
            cause: row.get("cause")?,
            people: people.remove(&id).unwrap_or_default(),
            state: row.word("hold", "state", meaning)?,
        })
    }
}

impl HeldPerson {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            record: RecordId(row.get("record_id")?),
            display_name: row.get("display_name")?,
            cause: row.json("hold_person", "cause")?,
            state: row.word("hold_person", "state", meaning)?,
            answered_at: row.maybe_at("answered_at")?,
            answer_reason: row.get("answer_reason")?,
        })
    }
}

impl Store {
    /// Holds with their people, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_holds(&self, filter: &HoldFilter<'_>) -> Result<Vec<HoldView>, StoreError> {
        let query = sql(HOLDS)
            .and("c.name = ", filter.connection)
            .and("h.state = ", filter.state.map(word))
            .and("h.id < ", filter.after)
            .page(NEWEST, filter.limit);
        self.holds("listing holds", query).await
    }

    /// One hold with its people.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_hold(&self, id: HoldId) -> Result<Option<HoldView>, StoreError> {
        Ok(self.holds("looking up a hold", sql(HOLDS).and("h.id = ", Some(id))).await?.pop())
    }

    /// The holds that say something of this record now.
    pub(super) async fn holds_of(&self, record: RecordId) -> Result<Vec<HoldView>, StoreError> {
        let query = sql(HOLDS).and(OF_RECORD, Some(record)).push(")").push(NEWEST);
        self.holds("listing a record's holds", query).await
    }

    async fn holds(&self, operation: &'static str, query: Sql) -> Result<Vec<HoldView>, StoreError> {
        let rows = self.shown(operation, query).await?;
        let ids = rows.iter().map(|row| row.get("id").map(HoldId)).collect::<Result<Vec<_>, _>>()?;
        let mut people = self.held_people(&ids).await?;
        rows.iter().map(|row| HoldView::from_row(row, &mut people)).collect()
    }

    async fn held_people(&self, holds: &[HoldId]) -> Result<BTreeMap<HoldId, Vec<HeldPerson>>, StoreError> {
        let mut people: BTreeMap<HoldId, Vec<HeldPerson>> = BTreeMap::new();
        for some in holds.chunks(IDS_PER_STATEMENT) {
            let query = sql(PEOPLE).list(some.iter().copied()).push(" ORDER BY p.hold_id, p.record_id");
            for row in self.shown("listing held people", query).await? {
                people.entry(HoldId(row.get("hold_id")?)).or_default().push(HeldPerson::from_row(&row)?);
            }
        }
        Ok(people)
    }
}
