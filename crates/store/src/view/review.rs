//! Reviews as they are shown: questions only a person can answer.

use lockstep_core::review::ReviewKind;
use lockstep_core::{ConnectionId, ObjectId, RecordId, ReviewId};
use serde::{Deserialize, Serialize};

use super::{meaning, word};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, Sql, sql};

/// A question and what can be chosen.
#[derive(Clone, Debug, Serialize)]
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
    /// What can be chosen.
    pub choices: Vec<String>,
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

const REVIEWS: &str = "SELECT v.id, c.name AS connection, v.kind, v.entra_id, v.candidates, v.choices \
     FROM review v LEFT JOIN connection c ON c.id = v.connection_id WHERE TRUE";

const NEWEST: &str = " ORDER BY v.id DESC";

impl ReviewView {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: ReviewId(row.get("id")?),
            connection: row.get("connection")?,
            kind: row.word("review", "kind", meaning)?,
            entra_id: ObjectId(row.get("entra_id")?),
            candidates: row.json("review", "candidates")?,
            choices: row.json("review", "choices")?,
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
