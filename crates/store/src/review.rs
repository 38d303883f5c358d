//! Reviews: one open question per person and kind; it goes when the next full decision does not ask it any more.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::review::ReviewKind;
use lockstep_core::{ObjectId, ReviewId};
use uuid::Uuid;

use crate::apply::Decided;
use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, sql};

const INSERT: &str =
    "INSERT INTO review (id, connection_id, kind, entra_id, candidates, choices, why, state, opened_at) VALUES ";
const OBSOLETE: &str = "UPDATE review SET state = 'obsolete', settled_at = ";

impl Tx {
    /// Opens the questions of these decisions and closes those that nobody asks any more. Gives how many are new.
    pub(crate) async fn write_reviews(
        &mut self,
        connection: &Connection,
        decided: &[Decided<'_>],
    ) -> Result<u64, StoreError> {
        let open = self.open_reviews(connection, decided).await?;
        let now = self.now();
        let mut rows: BTreeMap<(ObjectId, ReviewKind), Vec<Bind>> = BTreeMap::new();
        for one in decided {
            let user = one.person.user.id;
            for review in one.plan.reviews.iter().filter(|review| !open.contains_key(&(user, kind_word(review.kind)))) {
                rows.entry((user, review.kind)).or_insert_with(|| {
                    vec![
                        Uuid::now_v7().into(),
                        connection.id.into(),
                        kind_word(review.kind).into(),
                        user.into(),
                        Bind::json(&review.candidates),
                        Bind::json(&review.choices),
                        review.why.as_str().into(),
                        "open".into(),
                        now.into(),
                    ]
                });
            }
        }
        let rows: Vec<_> = rows.into_values().collect();
        let mut opened = 0;
        for chunk in rows.chunks(ROWS_PER_STATEMENT) {
            opened += self.run(sql(INSERT).rows(chunk.iter().cloned()).push(" ON CONFLICT DO NOTHING")).await?;
        }
        self.close_reviews(&open, decided).await?;
        Ok(opened)
    }

    async fn open_reviews(
        &mut self,
        connection: &Connection,
        decided: &[Decided<'_>],
    ) -> Result<BTreeMap<(ObjectId, &'static str), ReviewId>, StoreError> {
        let mut open = BTreeMap::new();
        for chunk in decided.chunks(IDS_PER_STATEMENT) {
            let query = sql("SELECT id, entra_id, kind FROM review WHERE state = 'open' AND connection_id = ");
            let users = chunk.iter().map(|one| one.person.user.id);
            for row in self.all(query.value(connection.id).push(" AND entra_id IN ").list(users)).await? {
                let kind = row.word("review", "kind", kind_from)?;
                open.insert((ObjectId(row.get("entra_id")?), kind_word(kind)), ReviewId(row.get("id")?));
            }
        }
        Ok(open)
    }

    /// A decision that still waits for something says nothing of the questions it did not reach.
    async fn close_reviews(
        &mut self,
        open: &BTreeMap<(ObjectId, &'static str), ReviewId>,
        decided: &[Decided<'_>],
    ) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        let whole = |one: &&Decided<'_>| {
            one.plan.wait.is_none() && one.plan.ask_address.is_none() && one.plan.desired.unknown.is_none()
        };
        for one in decided.iter().filter(whole) {
            let user = one.person.user.id;
            let asked: BTreeSet<_> = one.plan.reviews.iter().map(|review| kind_word(review.kind)).collect();
            let unasked = open
                .range((user, "")..)
                .take_while(|((of, _), _)| *of == user)
                .filter(|((_, kind), _)| !asked.contains(kind));
            gone.extend(unasked.map(|(_, id)| *id));
        }
        let now = self.now();
        for chunk in gone.chunks(IDS_PER_STATEMENT) {
            self.run(sql(OBSOLETE).value(now).push(" WHERE id IN ").list(chunk.iter().copied())).await?;
        }
        Ok(())
    }
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

fn kind_from(word: &str) -> Option<ReviewKind> {
    [ReviewKind::Link, ReviewKind::AddressTaken, ReviewKind::UsernameTaken, ReviewKind::KindChange]
        .into_iter()
        .find(|kind| kind_word(*kind) == word)
}
