//! Somebody answers a review: the answer is a row, and the person is due. What it changes is decided by the worker's next
//! read, like everything else.

use lockstep_core::review::{Choice, NotAChoice, ReviewKind, Settlement, settlement};
use lockstep_core::{ConnectionId, ObjectId, RecordId, ReviewId};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Actor, AuditEntry};
use crate::by_hand::Admin;
use crate::db::{Store, Tx};
use crate::due::mark::MarkDue;
use crate::due::{DueKind, DueReason};
use crate::error::StoreError;
use crate::sql::{Row, lock, sql};
use crate::view::meaning;
use crate::view::review::{ReviewState, open_choices};

const REVIEW: &str =
    "SELECT id, connection_id, kind, entra_id, candidates, choices, state, choice, record_id, applied_at
    FROM review WHERE id = ";
const SETTLE: &str = "UPDATE review SET state = 'settled', choice = $2, record_id = $3, username = $4, reason = $5,
    settled_by = $6, settled_at = $7, applied_at = NULL WHERE id = $1";
const IS_LINKED: &str =
    "SELECT id FROM record WHERE id = $1 AND connection_id = $2 AND entra_id = $3 AND status <> 'archived'";

/// What somebody chose for a review.
#[derive(Clone, Copy)]
pub struct Chosen<'a> {
    /// The choice.
    pub choice: Choice,
    /// The record, where several are concerned.
    pub record: Option<RecordId>,
    /// The username, for the choice of a name.
    pub username: Option<&'a str>,
    /// Who chose it, and why they say they did.
    pub by: &'a Admin,
}

/// Why an answer was not taken; nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSettled {
    /// No such review.
    #[error("there is no such review; `lockstep review list` shows them")]
    Unknown,
    /// It answered itself, or what it asks has changed: then there is another one.
    #[error("the question is not asked any more; if it is another one now, `lockstep review list` shows it")]
    Obsolete,
    /// Somebody answered it.
    #[error("it is settled already; only a link that was made can be undone, with the choice `unlink`")]
    Settled,
    /// The link to be undone is not there any more.
    #[error("the record is not linked to this person any more")]
    NotLinked,
    /// Not one of its choices.
    #[error(transparent)]
    Choice(#[from] NotAChoice),
}

/// A review as far as answering it needs.
struct Asked {
    id: ReviewId,
    connection: ConnectionId,
    kind: ReviewKind,
    user: ObjectId,
    candidates: Vec<RecordId>,
    choices: Vec<Choice>,
    state: ReviewState,
    record: Option<RecordId>,
}

impl Asked {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        const T: &str = "review";
        let state = row.word(T, "state", meaning)?;
        Ok(Self {
            id: ReviewId(row.get("id")?),
            connection: ConnectionId(row.get("connection_id")?),
            kind: row.word(T, "kind", meaning)?,
            user: ObjectId(row.get("entra_id")?),
            candidates: row.json(T, "candidates")?,
            choices: open_choices(row, state)?,
            state,
            record: row.get::<Option<Uuid>>("record_id")?.map(RecordId),
        })
    }

    fn settlement(&self, chosen: &Chosen<'_>) -> Result<Settlement, NotSettled> {
        match (self.state, chosen.choice) {
            (ReviewState::Open, _) => {
                let Chosen { choice, record, username, .. } = *chosen;
                Ok(settlement(&self.choices, &self.candidates, choice, record, username)?)
            }
            (ReviewState::Settled, Choice::Unlink) if self.choices.contains(&Choice::Unlink) => {
                Ok(Settlement { choice: Choice::Unlink, record: self.record, username: None })
            }
            (ReviewState::Settled, _) => Err(NotSettled::Settled),
            (ReviewState::Obsolete, _) => Err(NotSettled::Obsolete),
        }
    }
}

impl Store {
    /// Takes an answer to a review and makes the person due.
    ///
    /// # Errors
    /// When the database cannot be written. An answer that is none is the inner error; then nothing was written.
    pub async fn settle_review(
        &self,
        id: ReviewId,
        chosen: &Chosen<'_>,
    ) -> Result<Result<Settlement, NotSettled>, StoreError> {
        let mut tx = self.begin_everywhere("settle_review").await?;
        let Some(row) = tx.one(sql(REVIEW).value(id).on_postgres(lock::ROWS)).await? else {
            return Ok(Err(NotSettled::Unknown));
        };
        let asked = Asked::from_row(&row)?;
        let settlement = match asked.settlement(chosen) {
            Ok(settlement) => settlement,
            Err(refused) => return Ok(Err(refused)),
        };
        if settlement.choice == Choice::Unlink && !tx.is_linked(&asked).await? {
            return Ok(Err(NotSettled::NotLinked));
        }
        tx.write_answer(&asked, &settlement, chosen.by).await?;
        tx.commit().await?;
        Ok(Ok(settlement))
    }
}

impl Tx {
    async fn is_linked(&mut self, asked: &Asked) -> Result<bool, StoreError> {
        let linked = sql(IS_LINKED).bind(asked.record).bind(asked.connection).bind(asked.user);
        Ok(self.one(linked).await?.is_some())
    }

    async fn write_answer(&mut self, asked: &Asked, settlement: &Settlement, by: &Admin) -> Result<(), StoreError> {
        let now = self.now();
        let Settlement { choice, record, username } = settlement;
        let settle = sql(SETTLE).bind(asked.id).bind(crate::view::word(choice)).bind(*record).bind(username.clone());
        self.run(settle.bind(by.reason.clone()).bind(by.name.as_str()).bind(now)).await?;
        let due = MarkDue {
            object: asked.user,
            kind: DueKind::User,
            at: now,
            urgent: true,
            read_profile: true,
            read_membership: true,
            reason: DueReason::OnDemand,
        };
        self.mark_due(asked.connection, &[due]).await?;
        self.audit(AuditEntry {
            connection: Some(asked.connection),
            actor: Actor::Cli,
            action: "review.settle",
            object_kind: "review",
            object_id: asked.id.to_string(),
            detail: json!({
                "kind": asked.kind,
                "entra_id": asked.user,
                "choice": choice,
                "record": record,
                "by": by.name,
                "reason": by.reason,
            }),
        })
        .await
    }
}
