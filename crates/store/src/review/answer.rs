//! Answers as the plan sees them, and what an answer about one person settles for another.

use std::collections::BTreeMap;

use lockstep_core::profile::address_key;
use lockstep_core::record::Record;
use lockstep_core::review::{Answer, Choice, ReviewKind};
use lockstep_core::{ConnectionId, ObjectId, RecordId, ReviewId};
use serde_json::json;
use uuid::Uuid;

use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::record::Reader;
use crate::review::{INSERT_SETTLED, kind_word};
use crate::sql::{Bind, IDS_PER_STATEMENT, Row, sql};
use crate::view::{meaning, word};

const ANSWERS: &str = "SELECT id, entra_id, kind, choice, record_id, username, about, candidates, doubts, applied_at
    FROM review WHERE state = 'settled' AND choice IS NOT NULL AND connection_id = ";

impl Reader<'_> {
    /// By person: what was answered about them, the oldest first.
    pub(crate) async fn answers(
        &mut self,
        connection: ConnectionId,
        users: &[ObjectId],
    ) -> Result<BTreeMap<ObjectId, Vec<Answer>>, StoreError> {
        let mut answers: BTreeMap<ObjectId, Vec<Answer>> = BTreeMap::new();
        for chunk in users.chunks(IDS_PER_STATEMENT) {
            let query = sql(ANSWERS).value(connection).push(" AND entra_id IN ").list(chunk.iter().copied());
            for row in self.all(query.push(" ORDER BY settled_at, id")).await? {
                answers.entry(ObjectId(row.get("entra_id")?)).or_default().push(answer_from(&row)?);
            }
        }
        Ok(answers)
    }
}

fn answer_from(row: &Row) -> Result<Answer, StoreError> {
    const T: &str = "review";
    Ok(Answer {
        review: ReviewId(row.get("id")?),
        kind: row.word(T, "kind", meaning)?,
        choice: row.word(T, "choice", meaning)?,
        record: row.get::<Option<Uuid>>("record_id")?.map(RecordId),
        username: row.get("username")?,
        about: row.get("about")?,
        candidates: row.json(T, "candidates")?,
        doubts: row.json(T, "doubts")?,
        applied: row.maybe_at("applied_at")?.is_some(),
    })
}

impl Tx {
    /// Whoever gave up an address to somebody is not asked whether they want it back, however often Microsoft says so.
    pub(crate) async fn remember_given_up(
        &mut self,
        connection: &Connection,
        user: ObjectId,
        gave: &Record,
        to: RecordId,
    ) -> Result<(), StoreError> {
        let now = self.now();
        let row: Vec<Bind> = vec![
            Uuid::now_v7().into(),
            connection.id.into(),
            kind_word(ReviewKind::AddressTaken).into(),
            user.into(),
            Bind::json(&[to]),
            Bind::json(&[Choice::Keep]),
            "the address was given to another record".into(),
            gave.email.as_deref().map(address_key).into(),
            Bind::json(&json!([])),
            "settled".into(),
            now.into(),
            word(Choice::Keep).into(),
            Bind::Id(None),
            "cli".into(),
            now.into(),
            now.into(),
        ];
        self.run(sql(INSERT_SETTLED).rows([row])).await.map(drop)
    }
}
