//! Writing records: new ones, changed ones, and what every decision leaves with the mirror.

use std::collections::BTreeMap;

use lockstep_core::brake::Judgement;
use lockstep_core::mirror::Agreements;
use lockstep_core::plan::WaitReason;
use lockstep_core::profile::address_key;
use lockstep_core::record::{Record, Status};
use lockstep_core::{ConnectionId, RecordId, Timestamp};

use crate::apply::change::Change;
use crate::apply::keys::released;
use crate::apply::{Decided, confirms};
use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::record::{KeyColumn, kind_word, status_word};
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, Sql, sql};

const INSERT: &str =
    "INSERT INTO record (id, connection_id, kind, status, reasons, role, permissions, email, email_key, username,
    username_key, display_name, fields, entra_id, inactive_since, updated_at, local_edits, by_hand_lifted,
    sessions_valid_from, verified_at, rule_group_id, realm, created_at) VALUES ";
const UPDATE: &str =
    "WITH changed (id, connection_id, kind, status, reasons, role, permissions, email, email_key, username,
    username_key, display_name, fields, entra_id, inactive_since, updated_at, local_edits, by_hand_lifted,
    sessions_valid_from, verified_at, rule_group_id) AS (VALUES ";
const SET_INDEXED: &str = "connection_id = changed.connection_id, status = changed.status, entra_id = changed.entra_id,
    email_key = changed.email_key, username_key = changed.username_key, ";
const SET_FIELDS: &str = "kind = changed.kind, reasons = changed.reasons, role = changed.role,
    permissions = changed.permissions, email = changed.email, username = changed.username,
    display_name = changed.display_name, fields = changed.fields, inactive_since = changed.inactive_since,
    updated_at = changed.updated_at, local_edits = changed.local_edits, by_hand_lifted = changed.by_hand_lifted,
    sessions_valid_from = changed.sessions_valid_from, ";
const CONFIRM: &str = "WITH changed (id, verified_at, rule_group_id) AS (VALUES ";
const SET_CONFIRMED: &str = "verified_at = CASE WHEN record.verified_at > changed.verified_at THEN record.verified_at
        ELSE coalesce(changed.verified_at, record.verified_at) END,
    rule_group_id = coalesce(changed.rule_group_id, record.rule_group_id)
    FROM changed WHERE record.id = changed.id";
const COUNT: &str = "UPDATE people_count SET active = active + $2, inactive = inactive + $3 WHERE connection_id = $1";
const REMOVALS: &str = "INSERT INTO removal (id, connection_id, record_id, class, at, exempt) VALUES ";
const USE_EXEMPTIONS: &str = "DELETE FROM exemption WHERE connection_id = ";
// The connection comes with each row: as one condition for all, SQLite would walk everybody of the connection (T8).
const DECIDED: &str =
    "WITH decided (connection_id, user_id, loss_read_at, loss_rules_version, regain_read_at, kind_seen, kind_read_at,
    kind_rules_version, version) AS (VALUES ";
const DECIDED_SET: &str = ") UPDATE directory_user SET loss_read_at = decided.loss_read_at,
    loss_rules_version = decided.loss_rules_version, regain_read_at = decided.regain_read_at,
    kind_seen = decided.kind_seen, kind_read_at = decided.kind_read_at, kind_rules_version = decided.kind_rules_version,
    decided_version = decided.version
    FROM decided WHERE directory_user.connection_id = decided.connection_id AND directory_user.user_id = decided.user_id";

impl Tx {
    /// Records, the counts of people, and what confirms them.
    pub(crate) async fn write_records(
        &mut self,
        connection: &Connection,
        changes: &[Change<'_>],
    ) -> Result<(), StoreError> {
        let now = self.now();
        // A key is free before somebody else gets it: a swap never meets its own other half.
        self.free_keys(changes, KeyColumn::Email, "UPDATE record SET email_key = NULL WHERE id IN ").await?;
        self.free_keys(changes, KeyColumn::Username, "UPDATE record SET username_key = NULL WHERE id IN ").await?;
        // Nobody has two live records at any instant (G-20): one is archived before the next is there.
        let archived = changes.iter().filter_map(|change| change.archived.as_ref());
        let archived: Vec<_> = archived.map(|archived| updated(&archived.after, now, UNCONFIRMED)).collect();
        if !archived.is_empty() {
            self.update_records(&archived, Indexed::Too).await?;
            tracing::trace!(target: "lockstep::point", "store.archived");
        }
        let created: Vec<_> = changes.iter().filter(|it| it.creates()).filter_map(|it| inserted(it, now)).collect();
        for chunk in created.chunks(ROWS_PER_STATEMENT) {
            self.run(sql(INSERT).rows(chunk.iter().cloned())).await?;
        }
        for indexed in [Indexed::Too, Indexed::Same] {
            let changed =
                changes.iter().filter(|it| it.effect().is_some() && !it.creates() && Indexed::of(it) == indexed);
            let changed: Vec<_> = changed.filter_map(|it| changed_row(it, now)).collect();
            self.update_records(&changed, indexed).await?;
        }
        let people = changes.iter().flat_map(Change::records).map(|(before, after)| (before, Some(after)));
        self.count_people(connection.id, people).await?;
        self.confirm_records(changes).await
    }

    async fn update_records(&mut self, rows: &[Vec<Bind>], indexed: Indexed) -> Result<(), StoreError> {
        for chunk in rows.chunks(ROWS_PER_STATEMENT) {
            if self.run(update(chunk.iter().cloned(), indexed, false)).await? != chunk.len() as u64 {
                return Err(StoreError::Conflict { operation: self.name(), why: "a record is gone or became root" });
            }
        }
        Ok(())
    }

    async fn free_keys(
        &mut self,
        changes: &[Change<'_>],
        column: KeyColumn,
        free: &'static str,
    ) -> Result<(), StoreError> {
        let ids: Vec<RecordId> = changes.iter().flat_map(|change| released(change, column)).collect();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            self.run(sql(free).list(chunk.iter().copied())).await?;
        }
        Ok(())
    }

    pub(crate) async fn count_people<'a>(
        &mut self,
        connection: ConnectionId,
        changes: impl IntoIterator<Item = (Option<&'a Record>, Option<&'a Record>)>,
    ) -> Result<(), StoreError> {
        let count = |record: Option<&Record>, status: Status| {
            i64::from(record.is_some_and(|record| record.status == status && record.connection == Some(connection)))
        };
        let (mut active, mut inactive) = (0, 0);
        for (before, after) in changes {
            active += count(after, Status::Active) - count(before, Status::Active);
            inactive += count(after, Status::Inactive) - count(before, Status::Inactive);
        }
        if (active, inactive) != (0, 0) {
            self.run(sql(COUNT).bind(connection).bind(active).bind(inactive)).await?;
        }
        Ok(())
    }

    /// When Graph last confirmed each record (G-21), and which rule gives it its access.
    async fn confirm_records(&mut self, changes: &[Change<'_>]) -> Result<(), StoreError> {
        // What changed was written with it.
        let unchanged = changes.iter().filter(|change| !change.beside && change.effect().is_none());
        let rows: Vec<Vec<Bind>> = unchanged
            .filter_map(|change| {
                let [verified, rule] = confirmation(change);
                Some(vec![change.after.as_ref()?.id.into(), verified, rule])
            })
            .collect();
        for chunk in rows.chunks(ROWS_PER_STATEMENT) {
            let confirm = sql(CONFIRM).rows(chunk.iter().cloned()).push(") UPDATE record SET ").push(SET_CONFIRMED);
            self.run(confirm).await?;
        }
        Ok(())
    }

    /// What the brake will count. A used exemption is used up: it was for this removal.
    pub(crate) async fn write_removals(
        &mut self,
        connection: &Connection,
        changes: &[Change<'_>],
    ) -> Result<(), StoreError> {
        let removed: Vec<_> = changes.iter().filter_map(|change| Some((change, change.removed()?))).collect();
        if removed.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let exempt = self.exempt(connection).await?;
        for chunk in removed.chunks(ROWS_PER_STATEMENT) {
            let rows: Vec<Vec<Bind>> =
                chunk.iter().map(|(change, record)| removal_row(change, record, connection.id, &exempt, now)).collect();
            self.run(sql(REMOVALS).rows(rows)).await?;
            let ids = chunk.iter().map(|(_, record)| record.id);
            let used = sql(USE_EXEMPTIONS).value(connection.id).push(" AND record_id IN ").list(ids);
            self.run(used).await?;
        }
        Ok(())
    }

    /// Whoever stands on the confirmed plan and turns out to stay is on it no longer: what takes their access later is
    /// another cause.
    pub(crate) async fn end_exemptions(
        &mut self,
        connection: &Connection,
        decided: &[Decided<'_>],
    ) -> Result<(), StoreError> {
        let stays = |one: &&Decided<'_>| {
            let desired = &one.plan.desired;
            one.person.confirmed && desired.unknown.is_none() && desired.reasons.is_empty() && one.keeps_kind()
        };
        let staying = decided.iter().filter(stays).filter_map(|one| one.person.record.as_ref());
        let ids: Vec<RecordId> = staying.map(|record| record.id).collect();
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let end = sql(USE_EXEMPTIONS).value(connection.id).push(" AND record_id IN ");
            self.run(end.list(chunk.iter().copied())).await?;
        }
        Ok(())
    }

    /// Agreements between reads, and by which rules each person was decided; only where they differ. Of the re-evaluation
    /// that new rules bring its task tells how far it is: it writes a row only for what it changes. Whoever waits for the
    /// first sync to have seen every group is not decided yet: its end comes back to them.
    pub(crate) async fn write_decisions(
        &mut self,
        connection: &Connection,
        decided: &[Decided<'_>],
    ) -> Result<(), StoreError> {
        let differ = decided.iter().filter(|one| {
            let waits = one.plan.wait.is_some_and(|wait| wait.reason == WaitReason::FirstSync);
            one.person.user.agreements != one.plan.agreements
                || (one.person.decided_version != Some(one.rules_version) && !one.remembered && !waits)
        });
        // One row each: of two decisions about one person the later stands.
        let rows: BTreeMap<_, Vec<Bind>> = differ
            .map(|one| {
                let user = one.person.user.id;
                let mut row: Vec<Bind> = vec![connection.id.into(), user.into()];
                row.extend(agreement_binds(one.plan.agreements));
                row.push(one.rules_version.into());
                (user, row)
            })
            .collect();
        let rows: Vec<_> = rows.into_values().collect();
        for chunk in rows.chunks(ROWS_PER_STATEMENT) {
            self.run(decisions(chunk)).await?;
        }
        Ok(())
    }
}

pub(crate) fn decisions(rows: &[Vec<Bind>]) -> Sql {
    sql(DECIDED).rows(rows.iter().cloned()).push(DECIDED_SET)
}

fn agreement_binds(agreements: Agreements) -> [Bind; 6] {
    let Agreements { loss, regain_at, kind } = agreements;
    [
        loss.map(|loss| loss.read_at).into(),
        loss.map(|loss| loss.rules_version).into(),
        regain_at.into(),
        kind.map(|seen| kind_word(seen.kind)).into(),
        kind.map(|seen| seen.read_at).into(),
        kind.map(|seen| seen.rules_version).into(),
    ]
}

fn removal_row(
    change: &Change<'_>,
    record: &Record,
    connection: ConnectionId,
    exempt: &std::collections::BTreeSet<RecordId>,
    now: Timestamp,
) -> Vec<Bind> {
    let class = lockstep_core::brake::CauseClass::of(&record.reasons);
    vec![
        uuid::Uuid::now_v7().into(),
        connection.into(),
        record.id.into(),
        crate::brake::class_word(class).into(),
        now.into(),
        (exempt.contains(&record.id) || change.decided.judgement == Judgement::Approved).into(),
    ]
}

/// Which columns an update writes. SQLite moves the entry in every index whose columns are written, changed or not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indexed {
    /// Those that an index holds stay as they are.
    Same,
    /// All.
    Too,
}

impl Indexed {
    fn of(change: &Change<'_>) -> Self {
        let held = |record: &Record| {
            let key = |address: &Option<String>| address.as_deref().map(address_key);
            (record.connection, record.status, record.entra_id, key(&record.email), key(&record.username))
        };
        let same = change.before.as_ref().map(held) == change.after.as_ref().map(held);
        if same { Self::Same } else { Self::Too }
    }
}

/// Writes rows of [`updated`].
pub(crate) fn update(rows: impl IntoIterator<Item = Vec<Bind>>, indexed: Indexed, root: bool) -> Sql {
    let set = sql(UPDATE).rows(rows).push(") UPDATE record SET ");
    let set = if indexed == Indexed::Too { set.push(SET_INDEXED) } else { set };
    set.push(SET_FIELDS).push(SET_CONFIRMED).push(" AND record.root = ").value(root)
}

fn changed_row(change: &Change<'_>, now: Timestamp) -> Option<Vec<Bind>> {
    let confirmed = if change.beside { UNCONFIRMED } else { confirmation(change) };
    Some(updated(change.after.as_ref()?, now, confirmed))
}

/// What no read confirmed keeps the instant and the rule it has.
pub(crate) const UNCONFIRMED: [Bind; 2] = [Bind::Int(None), Bind::Id(None)];

/// One row of [`update`]; see [`confirmation`].
pub(crate) fn updated(record: &Record, now: Timestamp, [verified_at, rule_group]: [Bind; 2]) -> Vec<Bind> {
    vec![
        record.id.into(),
        record.connection.into(),
        kind_word(record.kind).into(),
        status_word(record.status).into(),
        Bind::json(&record.reasons),
        record.role.clone().into(),
        Bind::json(&record.permissions),
        record.email.clone().into(),
        record.email.as_deref().map(address_key).into(),
        record.username.clone().into(),
        record.username.as_deref().map(address_key).into(),
        record.display_name.clone().into(),
        Bind::json(&record.fields),
        record.entra_id.into(),
        record.inactive_since.into(),
        now.into(),
        Bind::json(&record.edits),
        record.by_hand_lifted.into(),
        record.sessions_valid_from.into(),
        verified_at,
        rule_group,
    ]
}

fn inserted(change: &Change<'_>, now: Timestamp) -> Option<Vec<Bind>> {
    let record = change.after.as_ref()?;
    let mut row = updated(record, now, confirmation(change));
    row.extend([record.realm.as_str().into(), now.into()]);
    Some(row)
}

/// When Graph confirmed the person, and the rule that gives them their access.
fn confirmation(change: &Change<'_>) -> [Bind; 2] {
    // When it was read, not when it was decided: somebody may be decided because of what another one's read showed.
    let user = &change.decided.person.user;
    let read_at = user.profile.read_at().max(user.membership.complete.map(|complete| complete.read_at));
    let verified = read_at.filter(|_| confirms(change.decided.person));
    let rule = change.decided.plan.desired.grant.as_ref().map(|grant| grant.group);
    [verified.into(), rule.into()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{SET_CONFIRMED, SET_FIELDS, SET_INDEXED};
    use crate::sql::plan::in_an_empty_store;
    use crate::sql::sql;

    /// T6: a change of fields moves no entry of any index.
    #[tokio::test]
    async fn t6_what_no_index_holds_is_written_apart_from_what_one_does() {
        let indexed = sql("SELECT DISTINCT held.name AS name FROM pragma_index_list('record') AS of_record
            JOIN pragma_index_info(of_record.name) AS held WHERE held.name IS NOT NULL");
        let indexed: Vec<String> =
            in_an_empty_store(indexed).await.iter().map(|row| row.get::<String>("name").unwrap()).collect();
        assert!(indexed.iter().any(|column| column == "email_key"), "{indexed:?}");
        for column in indexed {
            let sets =
                |text: &str| text.split_whitespace().collect::<Vec<_>>().windows(2).any(|it| it == [&column, "="]);
            assert!(!sets(SET_FIELDS) && !sets(SET_CONFIRMED), "{column}");
            let never = ["id", "realm", "root", "host_id"].contains(&column.as_str());
            assert!(sets(SET_INDEXED) != never, "{column}");
        }
    }
}
