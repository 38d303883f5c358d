//! Bringing the mirror up to date: load, let the core merge, write what changed. A handful of statements for any
//! number of people.

pub(crate) mod group;
pub(crate) mod kind_basis;
pub(crate) mod known;
pub(crate) mod listing;
pub(crate) mod load;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use lockstep_core::brake::{HeldAs, HoldAnswer};
use lockstep_core::matching::Candidate;
use lockstep_core::mirror::{MembershipRead, Merged, MirroredUser, PersonRead};
use lockstep_core::plan::Observed;
use lockstep_core::plan::kind_change::KindBasis;
use lockstep_core::record::Record;
use lockstep_core::review::Answer;
use lockstep_core::{ConnectionId, ObjectId, RecordId, Ticket};

use crate::connection::Connection;
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::mirror::load::MirrorRow;
use crate::record::{Linked, Reader};
use crate::sql::{IDS_PER_STATEMENT, Row, sql};

const HELD: &str = "SELECT record_id, class, cause, state, answered_at, standing FROM hold_person
    WHERE state IN ('held', 'approved', 'kept') AND record_id IN ";

const NOT_LISTED: &str =
    " AND (decided_version IS NULL OR decided_version <> ? OR NOT EXISTS (SELECT 1 FROM membership m
    WHERE m.connection_id = u.connection_id AND m.user_id = u.user_id AND m.present AND m.ticket >= ?))";
/// People in one query that names few of them.
const LOOKED_AT_AT_ONCE: i64 = 10_000;

/// A person as the decision needs them: the mirror, the record, and who else stands in the way.
#[derive(Clone, Debug)]
pub struct MirroredPerson {
    /// The directory user after the reads.
    pub user: MirroredUser,
    /// The live record linked to them.
    pub record: Option<Record>,
    /// Other records of the realm that hold an address or a username this person would take.
    pub candidates: Vec<Candidate>,
    /// What was answered to reviews about them, the oldest first.
    pub answers: Vec<Answer>,
    /// A review about them may be open: of whoever has no record nothing was told yet.
    pub may_be_asked: bool,
    /// What a change of kind needs to know; `None` for whoever does not wait for one.
    pub kind_basis: Option<KindBasis>,
    /// What became of the reads; all `false` when nothing was read.
    pub merged: Merged,
    /// The hold that names this person, with its answer.
    pub open_hold: Option<HeldAs>,
    /// The rules version of the last decision that read this person; `None`: never decided. What was decided under older
    /// rules is redone by the re-evaluation that came with the new ones, which reads nobody and leaves this as it is.
    pub decided_version: Option<i64>,
    /// The group whose rule gave the record its access last.
    pub rule_group: Option<ObjectId>,
    /// On the confirmed plan of the rules in force (G-10 e).
    pub confirmed: bool,
}

impl MirroredPerson {
    /// The person as `core` sees them; Graph was asked nothing.
    pub fn observed(&self) -> Observed<'_> {
        Observed {
            user: &self.user,
            record: self.record.as_ref(),
            candidates: &self.candidates,
            address_owners: None,
            answers: &self.answers,
            confirmed: self.confirmed,
            kind_basis: self.kind_basis.as_ref(),
        }
    }
}

/// The mirror after some reads, and what became of them.
pub(crate) struct MergedReads {
    rows: Vec<MirrorRow>,
    pub(crate) merged: BTreeMap<ObjectId, Merged>,
}

/// People whom a listing did not show, among some that were looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotListed {
    /// By id.
    pub people: Vec<ObjectId>,
    /// The last one that was looked at.
    pub last: ObjectId,
}

/// Which people to load.
#[derive(Clone, Copy, Debug)]
pub enum People<'a> {
    /// The next so many by id, after this one.
    After(Option<ObjectId>, usize),
    /// These.
    Ids(&'a [ObjectId]),
}

impl Tx {
    /// Applies these reads to the mirror by their tickets (G-08) and gives the people back in the order of `reads`,
    /// with everything a decision needs. Several reads of one person are merged one after the other.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of it stays unless the transaction is committed.
    pub async fn mirror(
        &mut self,
        connection: &Connection,
        reads: &[PersonRead],
    ) -> Result<Vec<MirroredPerson>, StoreError> {
        let MergedReads { rows, mut merged } = self.merge_reads(connection, reads).await?;
        let mut people = Reader::Tx(self).complete(connection, rows).await?;
        for person in &mut people {
            person.merged = merged.remove(&person.user.id).unwrap_or_default();
        }
        Ok(in_order(people, reads.iter().map(|read| read.user)))
    }

    /// Only the mirror's own part of [`Tx::mirror`].
    pub(crate) async fn merge_reads(
        &mut self,
        connection: &Connection,
        reads: &[PersonRead],
    ) -> Result<MergedReads, StoreError> {
        let ids: Vec<ObjectId> = reads.iter().map(|read| read.user).collect::<BTreeSet<_>>().into_iter().collect();
        self.expect_realm(connection);
        let (before, entered) = self.locked_rows(connection, &ids, reads).await?;
        let in_scope = match reads.iter().any(|read| read.membership.is_some()) {
            true => self.group_ids(connection.id).await?,
            false => HashSet::new(),
        };
        let mut after = before.clone();
        let mut merged: BTreeMap<ObjectId, Merged> = BTreeMap::new();
        for read in reads {
            let row = after.entry(read.user).or_insert_with(|| MirrorRow::unknown(read.user));
            let outcome = row.user.merge(&of_scope(read, &in_scope));
            add(merged.entry(read.user).or_default(), outcome);
        }
        self.write_mirror(connection.id, &before, &after).await?;
        self.forget_unkept(connection.id, &entered, &after).await?;
        Ok(MergedReads { rows: after.into_values().collect(), merged })
    }

    /// What the mirror knows of these people, locked; and who was entered only for that. Somebody alone is out of nobody's
    /// order, and mostly there already.
    async fn locked_rows(
        &mut self,
        connection: &Connection,
        ids: &[ObjectId],
        reads: &[PersonRead],
    ) -> Result<(BTreeMap<ObjectId, MirrorRow>, BTreeSet<ObjectId>), StoreError> {
        if ids.len() == 1 {
            let row = Reader::Tx(self).mirror_rows_beside(connection.id, ids, reads).await?;
            if !row.is_empty() {
                return Ok((row, BTreeSet::new()));
            }
        }
        let entered = self.lock_people(connection.id, ids).await?;
        let mut rows = Reader::Tx(self).mirror_rows_beside(connection.id, ids, reads).await?;
        rows.retain(|id, _| !entered.contains(id));
        Ok((rows, entered))
    }

    /// The same people once more, after [`Tx::apply`] changed their records: what a record that was just linked still needs
    /// depends on what it holds. What this task read stays fresh.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn look_again(
        &mut self,
        connection: &Connection,
        people: &[&MirroredPerson],
    ) -> Result<Vec<MirroredPerson>, StoreError> {
        let ids: Vec<ObjectId> = people.iter().map(|person| person.user.id).collect();
        let rows = Reader::Tx(self).mirror_rows(connection.id, &ids).await?;
        let mut again = Reader::Tx(self).complete(connection, rows.into_values().collect()).await?;
        let before: BTreeMap<ObjectId, &&MirroredPerson> =
            people.iter().map(|person| (person.user.id, person)).collect();
        for person in &mut again {
            if let Some(before) = before.get(&person.user.id) {
                (person.user.fresh, person.merged) = (before.user.fresh, before.merged);
            }
        }
        Ok(in_order(again, ids.into_iter()))
    }

    /// The mapped groups and the groups nested in them: only edges to these are kept.
    pub(crate) async fn group_ids(&mut self, connection: ConnectionId) -> Result<HashSet<ObjectId>, StoreError> {
        let query = sql("SELECT group_id FROM directory_group WHERE connection_id = ").value(connection);
        self.all(query).await?.iter().map(|row| row.get("group_id").map(ObjectId)).collect()
    }
}

impl Store {
    /// People as the mirror knows them, by id; nothing is written. Ids the mirror does not know are left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load_people(
        &self,
        connection: &Connection,
        which: People<'_>,
    ) -> Result<Vec<MirroredPerson>, StoreError> {
        let mut look = self.begin_reading("load_people", connection.id);
        let mut reader = Reader::looking(self, &mut look);
        let rows = reader.rows_of(connection.id, which).await?;
        reader.complete(connection, rows.into_values().collect()).await
    }
}

impl Store {
    /// People as the mirror would know them after these reads; nothing is written. Of [`People::Ids`] those the mirror does
    /// not know begin as unknown.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn foresee_people(
        &self,
        connection: &Connection,
        which: People<'_>,
        reads: &BTreeMap<ObjectId, PersonRead>,
    ) -> Result<Vec<MirroredPerson>, StoreError> {
        let mut look = self.begin_reading("foresee_people", connection.id);
        let mut reader = Reader::looking(self, &mut look);
        let mut rows = reader.rows_of(connection.id, which).await?;
        if let People::Ids(ids) = which {
            for id in ids {
                rows.entry(*id).or_insert_with(|| MirrorRow::unknown(*id));
            }
        }
        for row in rows.values_mut() {
            if let Some(read) = reads.get(&row.user.id) {
                row.user.merge(read);
            }
        }
        reader.complete(connection, rows.into_values().collect()).await
    }

    /// Of the next people in the mirror, after this one: who was on no page of a listing that began with `since`, or was
    /// never decided by these rules. `None`: nobody is left to look at.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn people_not_listed(
        &self,
        connection: ConnectionId,
        after: Option<ObjectId>,
        since: Ticket,
        rules_version: i64,
    ) -> Result<Option<NotListed>, StoreError> {
        let mut reader = Reader::Store(self);
        let Some(last) = reader.last_of_next(connection, after, LOOKED_AT_AT_ONCE).await? else { return Ok(None) };
        let query = sql("SELECT user_id FROM directory_user u WHERE connection_id = ").value(connection);
        let query = query.push(" AND user_id <= ").value(last);
        let query = match after {
            Some(after) => query.push(" AND user_id > ").value(after),
            None => query,
        };
        let query = query.push(NOT_LISTED).bind(rules_version).bind(since);
        let rows = reader.all(query.push(" ORDER BY user_id")).await?;
        let people = rows.iter().map(|row| row.get("user_id").map(ObjectId)).collect::<Result<_, _>>()?;
        Ok(Some(NotListed { people, last }))
    }

    /// The ids of the next so many people in the mirror, after this one.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn people_after(
        &self,
        connection: ConnectionId,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<ObjectId>, StoreError> {
        Reader::Store(self).ids_after(connection, after, limit).await
    }
}

/// A read tells of all groups of a person; we keep those in scope.
fn of_scope(read: &PersonRead, in_scope: &HashSet<ObjectId>) -> PersonRead {
    let membership = read.membership.as_ref().map(|membership| MembershipRead {
        groups: membership
            .groups
            .iter()
            .filter(|(id, _)| in_scope.contains(id))
            .map(|(id, direct)| (*id, *direct))
            .collect(),
        ..*membership
    });
    PersonRead { user: read.user, profile: read.profile.clone(), membership }
}

/// Several reads of one person: what any of them did.
fn add(sum: &mut Merged, next: Merged) {
    sum.profile_applied |= next.profile_applied;
    sum.membership_applied |= next.membership_applied;
    sum.returned |= next.returned;
    sum.lost_and_differs |= next.lost_and_differs;
}

fn in_order(people: Vec<MirroredPerson>, order: impl Iterator<Item = ObjectId>) -> Vec<MirroredPerson> {
    let mut by_id: BTreeMap<ObjectId, MirroredPerson> =
        people.into_iter().map(|person| (person.user.id, person)).collect();
    let order: Vec<ObjectId> = order.collect();
    let mut asked: BTreeMap<ObjectId, usize> = BTreeMap::new();
    order.iter().for_each(|id| *asked.entry(*id).or_default() += 1);
    let person = |id: &ObjectId| match asked.get_mut(id) {
        Some(more) if *more > 1 => {
            *more -= 1;
            by_id.get(id).cloned()
        }
        _ => by_id.remove(id),
    };
    order.iter().filter_map(person).collect()
}

impl Reader<'_> {
    async fn rows_of(
        &mut self,
        connection: ConnectionId,
        which: People<'_>,
    ) -> Result<BTreeMap<ObjectId, MirrorRow>, StoreError> {
        match which {
            People::Ids(ids) => self.mirror_rows(connection, ids).await,
            People::After(after, limit) => {
                let ids = self.ids_after(connection, after, limit).await?;
                self.mirror_rows(connection, &ids).await
            }
        }
    }

    /// Which of these records stand on the confirmed plan of the rules in force.
    async fn confirmed_among(
        &mut self,
        connection: &Connection,
        records: &[RecordId],
    ) -> Result<BTreeSet<RecordId>, StoreError> {
        let mut confirmed = BTreeSet::new();
        for chunk in records.chunks(IDS_PER_STATEMENT) {
            let query = sql("SELECT record_id FROM exemption WHERE connection_id = ").value(connection.id);
            let query = query.push(" AND rules_version = ").value(connection.rules_version);
            for row in self.all(query.push(" AND record_id IN ").list(chunk.iter().copied())).await? {
                confirmed.insert(RecordId(row.get("record_id")?));
            }
        }
        Ok(confirmed)
    }

    async fn last_of_next(
        &mut self,
        connection: ConnectionId,
        after: Option<ObjectId>,
        limit: i64,
    ) -> Result<Option<ObjectId>, StoreError> {
        let query = sql("SELECT user_id FROM (SELECT user_id FROM directory_user WHERE connection_id = ");
        let query = query.value(connection);
        let query = match after {
            Some(after) => query.push(" AND user_id > ").value(after),
            None => query,
        };
        let query = query.push(" ORDER BY user_id LIMIT ").value(limit).push(") AS next ORDER BY user_id DESC LIMIT 1");
        self.all(query).await?.first().map(|row| row.get("user_id").map(ObjectId)).transpose()
    }

    async fn ids_after(
        &mut self,
        connection: ConnectionId,
        after: Option<ObjectId>,
        limit: usize,
    ) -> Result<Vec<ObjectId>, StoreError> {
        let query = sql("SELECT user_id FROM directory_user WHERE connection_id = ").value(connection);
        let query = match after {
            Some(after) => query.push(" AND user_id > ").value(after),
            None => query,
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.all(query.push(" ORDER BY user_id LIMIT ").value(limit)).await?;
        rows.iter().map(|row| row.get("user_id").map(ObjectId)).collect()
    }

    /// Everything that stands beside the mirror: records, candidates, holds.
    async fn complete(
        &mut self,
        connection: &Connection,
        rows: Vec<MirrorRow>,
    ) -> Result<Vec<MirroredPerson>, StoreError> {
        let ids: Vec<ObjectId> = rows.iter().map(|row| row.user.id).collect();
        let mut records = self.linked_records(connection.id, &ids).await?;
        let those = |which: fn(&Linked) -> bool| -> Vec<RecordId> {
            records.values().filter(|linked| which(linked)).map(|linked| linked.record.id).collect()
        };
        let holds = self.open_holds(connection.id, &those(|linked| linked.held)).await?;
        let confirmed = self.confirmed_among(connection, &those(|linked| linked.confirmed)).await?;
        // Of a user without a record nothing was told yet.
        let is_answered = |user: &ObjectId| records.get(user).is_none_or(|linked| linked.answered);
        let answered: Vec<ObjectId> = ids.iter().copied().filter(is_answered).collect();
        let mut answers = self.answers(connection.id, &answered).await?;
        let not_asked: HashSet<ObjectId> =
            records.iter().filter(|(_, linked)| !linked.asked).map(|(user, _)| *user).collect();
        let mut rule_groups = BTreeMap::new();
        let rows: Vec<_> = rows
            .into_iter()
            .map(|row| {
                let linked = records.remove(&row.user.id);
                rule_groups.insert(row.user.id, linked.as_ref().and_then(|linked| linked.rule_group));
                (row, linked.map(|linked| linked.record))
            })
            .collect();
        let mut candidates = self.candidates(connection, &rows, &answers).await?;
        let mut kind_bases = self.kind_bases(connection, &rows, &answers).await?;
        Ok(rows
            .into_iter()
            .map(|(row, record)| MirroredPerson {
                candidates: candidates.remove(&row.user.id).unwrap_or_default(),
                answers: answers.remove(&row.user.id).unwrap_or_default(),
                may_be_asked: !not_asked.contains(&row.user.id),
                kind_basis: kind_bases.remove(&row.user.id),
                open_hold: record.as_ref().and_then(|record| holds.get(&record.id).cloned()),
                decided_version: row.decided_version,
                rule_group: rule_groups.get(&row.user.id).copied().flatten(),
                confirmed: record.as_ref().is_some_and(|record| confirmed.contains(&record.id)),
                merged: Merged::default(),
                user: row.user,
                record,
            })
            .collect())
    }

    async fn open_holds(
        &mut self,
        connection: ConnectionId,
        records: &[RecordId],
    ) -> Result<BTreeMap<RecordId, HeldAs>, StoreError> {
        let mut holds = BTreeMap::new();
        for chunk in records.chunks(IDS_PER_STATEMENT) {
            // Of two the later stands.
            let query = sql(HELD).list(chunk.iter().copied()).push(" ORDER BY held_at, hold_id");
            for row in self.all(query.within([connection])).await? {
                holds.insert(RecordId(row.get("record_id")?), held_from(&row)?);
            }
        }
        Ok(holds)
    }
}

fn held_from(row: &Row) -> Result<HeldAs, StoreError> {
    const T: &str = "hold_person";
    let answer = match row.get::<String>("state")?.as_str() {
        "held" => HoldAnswer::Awaited,
        "approved" => HoldAnswer::Approved(row.at("answered_at")?),
        "kept" => HoldAnswer::Rejected(row.json(T, "standing")?),
        _ => return Err(row.impossible(T, "state")),
    };
    Ok(HeldAs { class: row.word(T, "class", crate::brake::class_from)?, cause: row.json(T, "cause")?, answer })
}
