//! Reviews as they are shown: questions only a person can answer.

use lockstep_core::review::{Choice, Doubt, ReviewKind};
use lockstep_core::{ConnectionId, ObjectId, RecordId, ReviewId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{meaning, word};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, Sql, sql};

/// A question and what can be chosen. No Debug: it names addresses (G-27).
#[derive(Clone, Serialize)]
pub struct ReviewView {
    /// Ours.
    pub id: ReviewId,
    /// Name of the connection; null when it was removed.
    pub connection: Option<String>,
    /// What it asks.
    pub kind: ReviewKind,
    /// The directory user it is about.
    pub entra_id: ObjectId,
    /// Records concerned.
    pub candidates: Vec<RecordId>,
    /// What can be chosen now.
    pub choices: Vec<Choice>,
    /// Where it stands.
    pub state: ReviewState,
    /// The address or username in question, in compared form.
    pub about: Option<String>,
    /// Why it could not be decided, in plain words.
    pub why: String,
    /// The same, one word for each: an answer overrules these and no others.
    pub doubts: Vec<Doubt>,
    /// What was chosen.
    pub choice: Option<Choice>,
    /// The record it was chosen for.
    pub record: Option<RecordId>,
    /// The username given.
    pub username: Option<String>,
    /// Why, in the words of whoever chose.
    pub reason: Option<String>,
    /// Who chose; `sync`: a link that left no doubt.
    pub settled_by: Option<String>,
    /// When it was first asked.
    pub opened_at: Timestamp,
    /// When it was answered, or went.
    pub settled_at: Option<Timestamp>,
    /// When the answer was carried out, or first remembered.
    pub applied_at: Option<Timestamp>,
}

/// Where a review stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewState {
    /// Nobody decided yet.
    Open,
    /// Somebody chose.
    Settled,
    /// The question answered itself.
    Obsolete,
}

/// Which reviews to list.
#[derive(Clone, Copy)]
pub struct ReviewFilter<'a> {
    /// Of the connection of this name.
    pub connection: Option<&'a str>,
    /// Asking this.
    pub kind: Option<ReviewKind>,
    /// In this state; the default lists the open ones.
    pub state: Option<ReviewState>,
    /// At most so many.
    pub limit: usize,
    /// Older than this one.
    pub after: Option<ReviewId>,
}

impl Default for ReviewFilter<'_> {
    fn default() -> Self {
        Self { connection: None, kind: None, state: Some(ReviewState::Open), limit: super::PAGE, after: None }
    }
}

const REVIEWS: &str = "SELECT v.id, c.name AS connection, v.kind, v.entra_id, v.candidates, v.choices, v.state, v.about, \
     v.why, v.doubts, v.choice, v.record_id, v.username, v.reason, v.settled_by, v.opened_at, v.settled_at, v.applied_at \
     FROM review v LEFT JOIN connection c ON c.id = v.connection_id WHERE TRUE";

const NEWEST: &str = " ORDER BY v.id DESC";

/// What can be chosen: of an open question as it says, of a link that was made that it is undone.
pub(crate) fn open_choices(row: &Row, state: ReviewState) -> Result<Vec<Choice>, StoreError> {
    let chosen: Option<Choice> = row.get::<Option<String>>("choice")?.and_then(|word| meaning(&word));
    let made = row.maybe_at("applied_at")?.is_some();
    Ok(match (state, chosen) {
        (ReviewState::Open, _) => {
            let words: Vec<String> = row.json("review", "choices")?;
            words.iter().filter_map(|word| meaning(word)).collect()
        }
        (ReviewState::Settled, Some(Choice::Link | Choice::Rehire | Choice::Merge)) if made => vec![Choice::Unlink],
        _ => Vec::new(),
    })
}

impl ReviewView {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let state = row.word("review", "state", meaning)?;
        Ok(Self {
            id: ReviewId(row.get("id")?),
            connection: row.get("connection")?,
            kind: row.word("review", "kind", meaning)?,
            entra_id: ObjectId(row.get("entra_id")?),
            candidates: row.json("review", "candidates")?,
            choices: open_choices(row, state)?,
            state,
            about: row.get("about")?,
            why: row.get("why")?,
            doubts: row.json("review", "doubts")?,
            choice: row.get::<Option<String>>("choice")?.and_then(|word| meaning(&word)),
            record: row.get::<Option<Uuid>>("record_id")?.map(RecordId),
            username: row.get("username")?,
            reason: row.get("reason")?,
            settled_by: row.get("settled_by")?,
            opened_at: row.at("opened_at")?,
            settled_at: row.maybe_at("settled_at")?,
            applied_at: row.maybe_at("applied_at")?,
        })
    }
}

impl Store {
    /// Reviews, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_reviews(&self, filter: &ReviewFilter<'_>) -> Result<Vec<ReviewView>, StoreError> {
        let query = sql(REVIEWS)
            .and("c.name = ", filter.connection)
            .and("v.kind = ", filter.kind.map(word))
            .and("v.state = ", filter.state.map(word))
            .and("v.id < ", filter.after)
            .page(NEWEST, filter.limit);
        self.reviews("listing reviews", query).await
    }

    /// One review, in whatever state.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_review(&self, id: ReviewId) -> Result<Option<ReviewView>, StoreError> {
        Ok(self.reviews("looking up a review", sql(REVIEWS).and("v.id = ", Some(id))).await?.pop())
    }

    /// The open questions about a directory user.
    pub(super) async fn reviews_of(
        &self,
        connection: ConnectionId,
        user: ObjectId,
    ) -> Result<Vec<ReviewView>, StoreError> {
        let query = sql(REVIEWS)
            .and("v.connection_id = ", Some(connection))
            .and("v.entra_id = ", Some(user))
            .push(" AND v.state = 'open'")
            .push(NEWEST);
        self.reviews("listing a person's reviews", query).await
    }

    async fn reviews(&self, operation: &'static str, query: Sql) -> Result<Vec<ReviewView>, StoreError> {
        self.shown(operation, query).await?.iter().map(ReviewView::from_row).collect()
    }
}
