//! Answers to holds: a person says yes or no to this list. Writes rows only: whoever is to go is read again first.

use std::collections::BTreeMap;

use lockstep_core::brake::Standing;
use lockstep_core::mirror::MirroredUser;
use lockstep_core::{ConnectionId, HoldId, ObjectId, RecordId};
use serde_json::json;

use super::{CLOSE, holds_lock};
use crate::audit::{Actor, AuditEntry};
use crate::db::{Store, Tx};
use crate::due::mark::MarkDue;
use crate::due::{DueKind, DueReason};
use crate::error::StoreError;
use crate::record::Reader;
use crate::sql::{Bind, ROWS_PER_STATEMENT, Row, sql};

const HOLD: &str = "SELECT connection_id FROM hold WHERE id = $1";
const PEOPLE: &str = "SELECT record_id, user_id, state, answer FROM hold_person WHERE hold_id = ";
const ANSWERS: &str = "WITH answered (record_id, standing) AS (VALUES ";
const ANSWERED: &str = ") UPDATE hold_person SET standing = answered.standing, state = ";
const OF_HOLD: &str = " FROM answered WHERE hold_person.record_id = answered.record_id AND hold_person.state = 'held' AND hold_person.hold_id = ";

/// What somebody says to a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldDecision {
    /// Yes: they lose access if they still should by what is read now.
    Approve,
    /// No: they stay as they are.
    Reject,
}

/// What an answer came to, in people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// Answered now.
    pub now: u64,
    /// Had this answer before.
    pub before: u64,
    /// Had the opposite answer from somebody else; nobody after them was answered now.
    pub contested: u64,
    /// Had left the hold by themselves.
    pub left: u64,
}

/// Somebody on the hold.
struct Person {
    record: RecordId,
    user: ObjectId,
    state: String,
    answer: Option<String>,
}

impl HoldDecision {
    /// As stored.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Reject => "rejected",
        }
    }

    const fn state(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Reject => "kept",
        }
    }

    const fn action(self) -> &'static str {
        match self {
            Self::Approve => "hold.approve",
            Self::Reject => "hold.reject",
        }
    }
}

impl Store {
    /// Answers a hold for these people, in short transactions; whoever does not wait for an answer is passed over. Of two
    /// who answer differently at the same time one wins, and the other's work ends where they met. Approved people are
    /// read again at once; what a rejected person looks like now is kept, so that nobody is asked about it again.
    ///
    /// # Errors
    /// `NotFound` when there is no such hold; what was answered before an error stays answered.
    pub async fn answer_hold(
        &self,
        hold: HoldId,
        answer: HoldDecision,
        people: &[RecordId],
        reason: &str,
    ) -> Result<Answered, StoreError> {
        let row = self.one("answer_hold", sql(HOLD).bind(hold).everywhere()).await?;
        let Some(row) = row else { return Err(StoreError::NotFound { what: "hold", id: hold.to_string() }) };
        let connection = ConnectionId(row.get("connection_id")?);
        let mut people = people.to_vec();
        // In one order, so that of two who answer at once the second never overtakes the first.
        people.sort_unstable();
        people.dedup();
        let mut sum = Answered::default();
        for chunk in people.chunks(ROWS_PER_STATEMENT) {
            let mut tx = self.begin("answer_hold").await?;
            let answered = tx.answer_some(connection, hold, answer, chunk, reason).await?;
            tx.commit().await?;
            sum.add(answered);
            if sum.contested > 0 {
                break;
            }
        }
        Ok(sum)
    }
}

impl Answered {
    fn add(&mut self, more: Self) {
        self.now += more.now;
        self.before += more.before;
        self.contested += more.contested;
        self.left += more.left;
    }
}

impl Tx {
    async fn answer_some(
        &mut self,
        connection: ConnectionId,
        hold: HoldId,
        answer: HoldDecision,
        records: &[RecordId],
        reason: &str,
    ) -> Result<Answered, StoreError> {
        // Users before holds, as whoever settles people has it.
        let users: Vec<ObjectId> =
            self.people_on(connection, hold, records).await?.iter().map(|person| person.user).collect();
        let standings = match answer {
            HoldDecision::Approve => BTreeMap::new(),
            HoldDecision::Reject => self.standings(connection, &users).await?,
        };
        self.lock_name(holds_lock(connection)).await?;
        let people = self.people_on(connection, hold, records).await?;
        let (waiting, others): (Vec<_>, Vec<_>) = people.into_iter().partition(|person| person.state == "held");
        let given =
            |wanted: HoldDecision| others.iter().filter(|one| one.answer.as_deref() == Some(wanted.as_str())).count();
        let (before, contested) = match answer {
            HoldDecision::Approve => (given(HoldDecision::Approve), given(HoldDecision::Reject)),
            HoldDecision::Reject => (given(HoldDecision::Reject), given(HoldDecision::Approve)),
        };
        let left = others.len() - before - contested;
        let now = if contested > 0 { Vec::new() } else { waiting };
        if !now.is_empty() {
            self.write_answers(hold, answer, &now, &standings, reason).await?;
            self.run(sql(CLOSE).bind(connection)).await?;
            self.follow_up(connection, answer, &now).await?;
            self.audit_answer(connection, hold, answer, &now, reason).await?;
        }
        let count = |people: usize| people as u64;
        Ok(Answered { now: count(now.len()), before: count(before), contested: count(contested), left: count(left) })
    }

    async fn people_on(
        &mut self,
        connection: ConnectionId,
        hold: HoldId,
        records: &[RecordId],
    ) -> Result<Vec<Person>, StoreError> {
        let query = sql(PEOPLE).value(hold).push(" AND record_id IN ").list(records.iter().copied());
        let rows = self.all(query.push(" ORDER BY record_id").within([connection])).await?;
        rows.iter().map(Person::from_row).collect()
    }

    /// What these people look like now, their rows locked.
    async fn standings(
        &mut self,
        connection: ConnectionId,
        users: &[ObjectId],
    ) -> Result<BTreeMap<ObjectId, Standing>, StoreError> {
        let mut users = users.to_vec();
        users.sort_unstable();
        let rows = Reader::Tx(self).mirror_rows(connection, &users).await?;
        let rules = self.rules_in_force(connection).await?;
        let standing = |user: &ObjectId| match rows.get(user) {
            Some(row) => Standing::of(&row.user, &rules),
            None => Standing::of(&MirroredUser::unknown(*user), &rules),
        };
        Ok(users.iter().map(|user| (*user, standing(user))).collect())
    }

    async fn write_answers(
        &mut self,
        hold: HoldId,
        answer: HoldDecision,
        people: &[Person],
        standings: &BTreeMap<ObjectId, Standing>,
        reason: &str,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let rows = people.iter().map(|person| {
            let standing = standings.get(&person.user).map_or(Bind::Json(None), Bind::json);
            vec![person.record.into(), standing]
        });
        let update = sql(ANSWERS).rows(rows).push(ANSWERED).value(answer.state());
        let update = update.push(", answer = ").value(answer.as_str()).push(", answered_at = ").value(now);
        let update = update.push(", answer_reason = ").value(reason);
        self.run(update.push(OF_HOLD).value(hold)).await?;
        Ok(())
    }

    /// Whoever may go is read first, both facets by id (G-19). Whoever stays is kept back no longer, and neither are the
    /// events that named them.
    async fn follow_up(
        &mut self,
        connection: ConnectionId,
        answer: HoldDecision,
        people: &[Person],
    ) -> Result<(), StoreError> {
        let users: Vec<ObjectId> = people.iter().map(|person| person.user).collect();
        if answer == HoldDecision::Reject {
            return self.free_held_events(connection, &users).await;
        }
        let at = self.now();
        let due = users.into_iter().map(|object| MarkDue {
            object,
            kind: DueKind::User,
            at,
            urgent: true,
            read_profile: true,
            read_membership: true,
            reason: DueReason::OnDemand,
        });
        self.mark_due(connection, &due.collect::<Vec<_>>()).await
    }

    async fn audit_answer(
        &mut self,
        connection: ConnectionId,
        hold: HoldId,
        answer: HoldDecision,
        people: &[Person],
        reason: &str,
    ) -> Result<(), StoreError> {
        let people: Vec<RecordId> = people.iter().map(|person| person.record).collect();
        self.audit(AuditEntry {
            connection: Some(connection),
            actor: Actor::Cli,
            action: answer.action(),
            object_kind: "hold",
            object_id: hold.to_string(),
            detail: json!({ "people": people, "reason": reason }),
        })
        .await
    }
}

impl Person {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            record: RecordId(row.get("record_id")?),
            user: ObjectId(row.get("user_id")?),
            state: row.get("state")?,
            answer: row.get("answer")?,
        })
    }
}
