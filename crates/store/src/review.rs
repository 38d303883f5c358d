//! Reviews: one open question per person and kind; it goes when the next full decision does not ask it any more, and
//! gives way to another one when what it asks has changed.

pub(crate) mod answer;
pub(crate) mod settle;

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::plan::Step;
use lockstep_core::review::{Choice, Doubt, NewReview, ReviewKind};
use lockstep_core::{ObjectId, RecordId, ReviewId};
use serde_json::json;
use uuid::Uuid;

use crate::apply::Decided;
use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, Row, sql};
use crate::view::{meaning, word};

const INSERT: &str =
    "INSERT INTO review (id, connection_id, kind, entra_id, candidates, choices, why, about, doubts, state,
    opened_at) VALUES ";
const INSERT_SETTLED: &str =
    "INSERT INTO review (id, connection_id, kind, entra_id, candidates, choices, why, about, doubts,
    state, opened_at, choice, record_id, settled_by, settled_at, applied_at) VALUES ";
const OPEN: &str = "SELECT id, entra_id, kind, about, candidates, choices, doubts FROM review WHERE state = 'open' AND connection_id = ";
const OBSOLETE: &str = "UPDATE review SET state = 'obsolete', settled_at = ";
const APPLIED: &str = "UPDATE review SET applied_at = ";

/// The open questions about some people.
type Open = BTreeMap<(ObjectId, ReviewKind), OpenReview>;

/// A question as it was put.
struct OpenReview {
    id: ReviewId,
    about: Option<String>,
    candidates: BTreeSet<RecordId>,
    choices: Vec<String>,
    doubts: BTreeSet<Doubt>,
}

impl OpenReview {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: ReviewId(row.get("id")?),
            about: row.get("about")?,
            candidates: row.json("review", "candidates")?,
            choices: row.json("review", "choices")?,
            doubts: row.json("review", "doubts")?,
        })
    }

    /// Whoever answers it answers what is asked now.
    fn asks(&self, review: &NewReview) -> bool {
        let choices: Vec<String> = review.choices.iter().map(word).collect();
        let candidates: BTreeSet<RecordId> = review.candidates.iter().copied().collect();
        (&self.about, &self.candidates, &self.choices, &self.doubts)
            == (&review.about, &candidates, &choices, &review.doubts)
    }
}

impl Tx {
    /// Opens the questions of these decisions, closes those that nobody asks any more, and notes which answers were
    /// carried out. Gives how many questions are new.
    pub(crate) async fn write_reviews(
        &mut self,
        connection: &Connection,
        decided: &[Decided<'_>],
        contested: &[usize],
    ) -> Result<u64, StoreError> {
        let open = self.open_reviews(connection, decided).await?;
        let mut gone = unasked(&open, decided);
        let mut rows: BTreeMap<(ObjectId, ReviewKind), Vec<Bind>> = BTreeMap::new();
        for one in decided {
            let user = one.person.user.id;
            for review in &one.plan.reviews {
                let asked = open.get(&(user, review.kind));
                if asked.is_some_and(|asked| asked.asks(review)) {
                    continue;
                }
                gone.extend(asked.map(|asked| asked.id));
                gone.extend(overtaken(one, review.kind));
                let row = self.question(connection, user, review);
                rows.entry((user, review.kind)).or_insert(row);
            }
        }
        self.close_reviews(gone).await?;
        let rows: Vec<_> = rows.into_values().collect();
        let mut opened = 0;
        for chunk in rows.chunks(ROWS_PER_STATEMENT) {
            opened += self.run(sql(INSERT).rows(chunk.iter().cloned()).push(" ON CONFLICT DO NOTHING")).await?;
        }
        self.note_applied(decided, contested).await?;
        self.announce_links(connection, decided).await?;
        Ok(opened)
    }

    fn question(&self, connection: &Connection, user: ObjectId, review: &NewReview) -> Vec<Bind> {
        vec![
            Uuid::now_v7().into(),
            connection.id.into(),
            kind_word(review.kind).into(),
            user.into(),
            Bind::json(&review.candidates),
            Bind::json(&review.choices),
            review.why.as_str().into(),
            review.about.clone().into(),
            Bind::json(&review.doubts),
            "open".into(),
            self.now().into(),
        ]
    }

    async fn open_reviews(&mut self, connection: &Connection, decided: &[Decided<'_>]) -> Result<Open, StoreError> {
        let mut open = BTreeMap::new();
        let asked = decided.iter().filter(|one| one.person.may_be_asked);
        let asked: Vec<ObjectId> = asked.map(|one| one.person.user.id).collect();
        for chunk in asked.chunks(IDS_PER_STATEMENT) {
            let query = sql(OPEN).value(connection.id).push(" AND entra_id IN ").list(chunk.iter().copied());
            for row in self.all(query).await? {
                let kind = row.word("review", "kind", meaning)?;
                open.insert((ObjectId(row.get("entra_id")?), kind), OpenReview::from_row(&row)?);
            }
        }
        Ok(open)
    }

    async fn close_reviews(&mut self, gone: Vec<ReviewId>) -> Result<(), StoreError> {
        let now = self.now();
        for chunk in gone.chunks(IDS_PER_STATEMENT) {
            self.run(sql(OBSOLETE).value(now).push(" WHERE id IN ").list(chunk.iter().copied())).await?;
        }
        Ok(())
    }

    /// A merge is taken as a whole or not at all: that of somebody contested was not carried out, and is tried again.
    async fn note_applied(&mut self, decided: &[Decided<'_>], contested: &[usize]) -> Result<(), StoreError> {
        let merges = |one: &Decided<'_>| one.plan.steps.iter().any(|step| matches!(step, Step::Merge(_)));
        let done = decided.iter().enumerate().filter(|(place, one)| !(contested.contains(place) && merges(one)));
        let answered: Vec<ReviewId> = done.flat_map(|(_, one)| one.plan.answered.iter().copied()).collect();
        let now = self.now();
        for chunk in answered.chunks(IDS_PER_STATEMENT) {
            let ids = chunk.iter().copied();
            self.run(sql(APPLIED).value(now).push(" WHERE applied_at IS NULL AND id IN ").list(ids)).await?;
        }
        Ok(())
    }

    /// Every link can be found and undone (TH-09): one that left no doubt stands there as a question that settled itself.
    async fn announce_links(&mut self, connection: &Connection, decided: &[Decided<'_>]) -> Result<(), StoreError> {
        let now = self.now();
        let by_itself = decided.iter().filter(|one| one.plan.answered.is_empty());
        let row = |one: &Decided<'_>| {
            let record = one.plan.steps.iter().find_map(|step| match step {
                Step::Link { record } => Some(*record),
                _ => None,
            })?;
            Some(vec![
                Uuid::now_v7().into(),
                connection.id.into(),
                kind_word(ReviewKind::Link).into(),
                one.person.user.id.into(),
                Bind::json(&[record]),
                Bind::json(&[Choice::Link]),
                "every condition held".into(),
                Bind::Text(None),
                Bind::json(&json!([])),
                "settled".into(),
                now.into(),
                word(Choice::Link).into(),
                record.into(),
                "sync".into(),
                now.into(),
                now.into(),
            ])
        };
        let rows: Vec<Vec<Bind>> = by_itself.filter_map(row).collect();
        for chunk in rows.chunks(ROWS_PER_STATEMENT) {
            self.run(sql(INSERT_SETTLED).rows(chunk.iter().cloned())).await?;
        }
        Ok(())
    }
}

/// A decision that still waits for something says nothing of the questions it did not reach.
fn unasked(open: &Open, decided: &[Decided<'_>]) -> Vec<ReviewId> {
    let whole = |one: &&Decided<'_>| {
        one.plan.wait.is_none() && one.plan.ask_address.is_none() && one.plan.desired.unknown.is_none()
    };
    let of = |one: &Decided<'_>| {
        let user = one.person.user.id;
        let asked: BTreeSet<ReviewKind> = one.plan.reviews.iter().map(|review| review.kind).collect();
        let about = open.iter().filter(move |((of, kind), _)| *of == user && !asked.contains(kind));
        about.map(|(_, review)| review.id).collect::<Vec<_>>()
    };
    decided.iter().filter(whole).flat_map(of).collect()
}

/// An answer to a question that is another one now was not carried out, and never will be.
fn overtaken(one: &Decided<'_>, kind: ReviewKind) -> Vec<ReviewId> {
    let answers = one.person.answers.iter();
    let pending = answers.filter(|answer| answer.kind == kind && !answer.applied);
    pending.map(|answer| answer.review).filter(|review| !one.plan.answered.contains(review)).collect()
}

/// As stored.
pub(crate) const fn kind_word(kind: ReviewKind) -> &'static str {
    match kind {
        ReviewKind::Link => "link",
        ReviewKind::AddressTaken => "address_taken",
        ReviewKind::UsernameTaken => "username_taken",
        ReviewKind::KindChange => "kind_change",
    }
}
