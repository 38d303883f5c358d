//! What a change of kind needs to know besides: the person's archived records, and which names are taken around theirs.
//! Read for those alone who wait for the second of two reads, or whose records are to be merged; of a page without any, nothing.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::plan::kind_change::{KindBasis, TakenKeys, archived_key, names_concerned};
use lockstep_core::record::Record;
use lockstep_core::review::{Answer, Choice};
use lockstep_core::{ConnectionId, ObjectId};

use crate::connection::Connection;
use crate::error::StoreError;
use crate::mirror::load::MirrorRow;
use crate::record::{COLUMNS, KeyColumn, Reader, record_from};
use crate::sql::{IDS_PER_STATEMENT, sql};

/// Archived forms of a name asked for at a time. The first is mostly free.
const FORMS: [usize; 2] = [1, 20];

/// By name: the forms of it that records of the realm have.
type Taken = BTreeMap<String, BTreeSet<String>>;

impl Reader<'_> {
    pub(crate) async fn kind_bases(
        &mut self,
        connection: &Connection,
        people: &[(MirrorRow, Option<Record>)],
        answers: &BTreeMap<ObjectId, Vec<Answer>>,
    ) -> Result<BTreeMap<ObjectId, KindBasis>, StoreError> {
        let merges = |answer: &Answer| answer.choice == Choice::Merge && !answer.applied;
        let waits = |(row, record): &'_ (MirrorRow, Option<Record>)| {
            let merges = answers.get(&row.user.id).is_some_and(|given| given.iter().any(merges));
            let record = record.clone().filter(|_| merges || row.user.agreements.kind.is_some())?;
            Some((row.user.id, record))
        };
        let waiting: Vec<(ObjectId, Record)> = people.iter().filter_map(waits).collect();
        if waiting.is_empty() {
            return Ok(BTreeMap::new());
        }
        let ids: Vec<ObjectId> = waiting.iter().map(|(user, _)| *user).collect();
        let mut former = self.former_records(connection.id, &ids).await?;
        let asked: Vec<_> = waiting
            .into_iter()
            .map(|(user, record)| {
                let former = former.remove(&user).unwrap_or_default();
                (user, names_concerned(&record, &former), former)
            })
            .collect();
        let usernames = asked.iter().flat_map(|(_, names, _)| names.usernames.iter().cloned());
        let usernames = self.taken_forms(connection, KeyColumn::Username, usernames.collect()).await?;
        let emails = asked.iter().flat_map(|(_, names, _)| names.emails.iter().cloned());
        let emails = self.taken_forms(connection, KeyColumn::Email, emails.collect()).await?;
        let basis = |names: TakenKeys, former| KindBasis {
            former,
            taken: TakenKeys { usernames: of(&usernames, &names.usernames), emails: of(&emails, &names.emails) },
        };
        Ok(asked.into_iter().map(|(user, names, former)| (user, basis(names, former))).collect())
    }

    async fn former_records(
        &mut self,
        connection: ConnectionId,
        users: &[ObjectId],
    ) -> Result<BTreeMap<ObjectId, Vec<Record>>, StoreError> {
        let mut former: BTreeMap<ObjectId, Vec<Record>> = BTreeMap::new();
        for chunk in users.chunks(IDS_PER_STATEMENT) {
            let query =
                sql("SELECT ").push(COLUMNS).push(" FROM record WHERE status = 'archived' AND connection_id = ");
            let query = query.value(connection).push(" AND entra_id IN ").list(chunk.iter().copied());
            let query = self.locked(query, " ORDER BY id");
            for row in self.all(query).await? {
                let record = record_from(&row)?;
                if let Some(user) = record.entra_id {
                    former.entry(user).or_default().push(record);
                }
            }
        }
        Ok(former)
    }

    /// The names themselves and their archived forms, up to one that is free.
    async fn taken_forms(
        &mut self,
        connection: &Connection,
        column: KeyColumn,
        names: BTreeSet<String>,
    ) -> Result<Taken, StoreError> {
        let plain: Vec<String> = names.iter().cloned().collect();
        let holders = self.holders(connection, column, &plain).await?;
        let mut taken: Taken = holders.into_keys().map(|key| (key.clone(), BTreeSet::from([key]))).collect();
        let (mut open, mut first, [mut width, later]) = (names, 1, FORMS);
        while !open.is_empty() {
            let forms = |name: &String| (first..first + width).map(|number| archived_key(name, number)).collect();
            let asked: BTreeMap<&String, Vec<String>> = open.iter().map(|name| (name, forms(name))).collect();
            let keys: Vec<String> = asked.values().flatten().cloned().collect();
            let holders = self.holders(connection, column, &keys).await?;
            let mut full = BTreeSet::new();
            for (name, forms) in asked {
                let held: BTreeSet<String> = forms.into_iter().filter(|form| holders.contains_key(form)).collect();
                if held.len() == width {
                    full.insert(name.clone());
                }
                taken.entry(name.clone()).or_default().extend(held);
            }
            (open, first, width) = (full, first + width, later);
        }
        Ok(taken)
    }
}

fn of(taken: &Taken, names: &BTreeSet<String>) -> BTreeSet<String> {
    names.iter().filter_map(|name| taken.get(name)).flatten().cloned().collect()
}
