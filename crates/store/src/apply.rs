//! Applying decisions: record, history, audit, holds, questions and counts of many people in one transaction (G-13).
//!
//! Everything here may run twice: the second time there is nothing left to change, and nothing is written (G-14).

pub(crate) mod change;
pub(crate) mod keys;
pub(crate) mod trace;
mod undo;
pub(crate) mod write;

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::brake::Judgement;
use lockstep_core::mirror::ProfileFacet;
use lockstep_core::plan::{Plan, Step};
use lockstep_core::record::Status;
use lockstep_core::{RecordId, Ticket, Timestamp};

use crate::apply::change::{Beside, Change};
use crate::connection::Connection;
use crate::db::Tx;
use crate::due::mark::MarkDue;
use crate::due::{DueKind, DueReason};
use crate::error::StoreError;
use crate::mirror::MirroredPerson;
use crate::rule::rules_lock;
use crate::session::SessionEnd;
use crate::sql::sql;

const RULES_VERSION: &str = "SELECT rules_version FROM connection WHERE id = $1";

/// A decision about one person, with what it rests on.
pub struct Decided<'a> {
    /// As [`Tx::mirror`] gave them in this same transaction.
    pub person: &'a MirroredPerson,
    /// What is to be done.
    pub plan: &'a Plan,
    /// The brake's word on its `Deactivate` or `ChangeKind` step; `Go` if it has none. Whoever is held already for a cause of
    /// the same class stays held even so (semantics, the brake): such people need not be judged, and must not be counted.
    pub judgement: Judgement,
    /// Order of the decisive read.
    pub ticket: Ticket,
    /// When that read began.
    pub read_at: Timestamp,
    /// What led to it, for the history.
    pub trigger: Trigger,
    /// The rules it was decided by.
    pub rules_version: i64,
    /// Decided by what is remembered: nothing was read, so nothing is confirmed by it.
    pub remembered: bool,
}

/// What led to a decision; for the history, never for the logic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A notification.
    Hint,
    /// A full sync or a listing.
    Sync,
    /// Somebody asked.
    OnDemand,
    /// A re-read.
    Settle,
    /// New rules.
    Rule,
}

impl Trigger {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Sync => "sync",
            Self::OnDemand => "on_demand",
            Self::Settle => "settle",
            Self::Rule => "rule",
        }
    }
}

/// What came of the decisions: numbers of people, and one outcome each in the order given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// Records created.
    pub created: u64,
    /// Records linked.
    pub linked: u64,
    /// Records changed in other ways than below, changes of kind among them.
    pub updated: u64,
    /// People who lost access.
    pub deactivated: u64,
    /// People who got it back.
    pub reactivated: u64,
    /// People newly held by the brake.
    pub held: u64,
    /// Questions newly opened.
    pub reviews: u64,
    /// People for whom nothing changed.
    pub unchanged: u64,
    /// One per decision.
    pub per_person: Vec<PersonOutcome>,
}

/// What came of one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonOutcome {
    /// The record changed.
    Applied,
    /// It was right already.
    Unchanged,
    /// Something must be read again first.
    Waiting,
    /// The brake keeps it back.
    Held,
    /// They stay by a person's no to a hold.
    Kept,
}

impl Decided<'_> {
    /// The winning rule gives the kind that the record has.
    pub(crate) fn keeps_kind(&self) -> bool {
        let kind = self.person.record.as_ref().map(|record| record.kind);
        self.plan.desired.grant.as_ref().map(|grant| grant.kind) == kind
    }
}

impl Tx {
    /// Applies these decisions. Two people of the batch who want one address or username do not meet: the later one
    /// keeps what they had and is due again, when the other's record can be seen.
    ///
    /// # Errors
    /// `Conflict` when the rules changed meanwhile, a read is older than `work_timeout`, or a unique key was taken: the
    /// task runs again.
    pub async fn apply(&mut self, connection: &Connection, decided: &[Decided<'_>]) -> Result<Applied, StoreError> {
        self.refuse_stale(connection, decided).await?;
        let beside = self.records_beside(connection, decided).await?;
        let exempt = self.exempt_among_held(connection, decided).await?;
        let now = self.now();
        let mut changes = Vec::with_capacity(decided.len());
        for one in decided {
            changes.push(
                Change::of(connection, one, &beside, &exempt, now)
                    .ok_or_else(|| self.conflict("the record was linked or brought back"))?,
            );
        }
        change::release_addresses(connection, decided, &beside, &mut changes)
            .ok_or_else(|| self.conflict("the record with the address may not lose it"))?;
        let contested = self.settle_keys(connection, &mut changes).await?;
        self.write_records(connection, &changes).await?;
        let ends = |change: &Change<'_>| -> Vec<SessionEnd> {
            change.records().filter_map(|(before, after)| change.session_end(before, after)).collect()
        };
        let ends: Vec<SessionEnd> = changes.iter().flat_map(ends).collect();
        self.end_sessions(&ends).await?;
        self.write_trace(connection, &changes).await?;
        let own = &changes[..decided.len()];
        self.write_removals(connection, own).await?;
        self.end_exemptions(connection, decided).await?;
        let held = self.write_holds(connection, own).await?;
        let reviews = self.write_reviews(connection, decided, &contested).await?;
        self.write_decisions(connection, decided).await?;
        let again: Vec<MarkDue> =
            contested.iter().map(|place| look_again(&decided[*place], now + self.timing().coalesce)).collect();
        self.mark_due(connection.id, &again).await?;
        self.tell_who_gave_up(connection, decided, &beside).await?;
        let mut applied = sum_up(own, &contested);
        (applied.held, applied.reviews) = (held, reviews);
        Ok(applied)
    }

    async fn refuse_stale(&mut self, connection: &Connection, decided: &[Decided<'_>]) -> Result<(), StoreError> {
        self.share_name(rules_lock(connection.id)).await?;
        let row = self.one(sql(RULES_VERSION).bind(connection.id)).await?;
        let version: Option<i64> = row.map(|row| row.get("rules_version")).transpose()?;
        if decided.iter().any(|one| version != Some(one.rules_version)) {
            return Err(self.conflict("the rules changed"));
        }
        let (now, longest) = (self.now(), self.timing().work_timeout);
        if decided.iter().any(|one| now.since(one.read_at) > longest) {
            return Err(self.conflict("a read is too old"));
        }
        Ok(())
    }

    /// The records that these decisions name beside the people's own, locked; and those of links to be undone as they
    /// were before.
    async fn records_beside(&mut self, connection: &Connection, decided: &[Decided<'_>]) -> Result<Beside, StoreError> {
        let steps = decided.iter().flat_map(|one| &one.plan.steps);
        let ids: Vec<RecordId> = steps
            .filter_map(|step| match step {
                Step::Merge(merge) => Some(merge.record),
                Step::Link { record } | Step::Rehire { record, .. } | Step::ReleaseAddress { record } => Some(*record),
                _ => None,
            })
            .collect();
        let named = self.records_by_id(&ids).await?;
        let mut former = BTreeMap::new();
        for one in decided.iter().filter(|one| one.plan.steps.iter().any(|step| matches!(step, Step::Unlink { .. }))) {
            if let Some(record) = &one.person.record {
                former.insert(record.id, self.before_link(connection, record).await?);
            }
        }
        Ok(Beside { named, former })
    }

    /// Whoever lost an address to somebody is looked at again, and is not asked for it back.
    async fn tell_who_gave_up(
        &mut self,
        connection: &Connection,
        decided: &[Decided<'_>],
        beside: &Beside,
    ) -> Result<(), StoreError> {
        let now = self.now();
        for one in decided {
            let released = one.plan.steps.iter().find_map(|step| match step {
                Step::ReleaseAddress { record } => beside.named.get(record),
                _ => None,
            });
            let Some(gave) = released.filter(|gave| gave.connection == Some(connection.id)) else { continue };
            if let (Some(user), Some(to)) = (gave.entra_id, &one.person.record) {
                self.remember_given_up(connection, user, gave, to.id).await?;
                self.mark_due(connection.id, &[MarkDue { object: user, ..look_again(one, now) }]).await?;
            }
        }
        Ok(())
    }

    /// A confirmed plan lets even those go who are held.
    async fn exempt_among_held(
        &mut self,
        connection: &Connection,
        decided: &[Decided<'_>],
    ) -> Result<BTreeSet<RecordId>, StoreError> {
        match decided.iter().any(|one| one.person.open_hold.is_some()) {
            true => self.exempt(connection).await,
            false => Ok(BTreeSet::new()),
        }
    }

    fn conflict(&self, why: &'static str) -> StoreError {
        StoreError::Conflict { operation: self.name(), why }
    }
}

fn look_again(one: &Decided<'_>, at: Timestamp) -> MarkDue {
    MarkDue {
        object: one.person.user.id,
        kind: DueKind::User,
        at,
        urgent: false,
        read_profile: true,
        read_membership: true,
        reason: DueReason::LostRead,
    }
}

fn sum_up(changes: &[Change<'_>], contested: &[usize]) -> Applied {
    let mut applied = Applied::default();
    for (place, change) in changes.iter().enumerate() {
        let counter = match change.effect() {
            Some(Effect::Created) => &mut applied.created,
            Some(Effect::Linked) => &mut applied.linked,
            Some(Effect::Deactivated) => &mut applied.deactivated,
            Some(Effect::Reactivated) => &mut applied.reactivated,
            Some(Effect::Unlinked | Effect::KindChanged | Effect::Merged | Effect::Updated) => &mut applied.updated,
            None => &mut applied.unchanged,
        };
        *counter += 1;
        applied.per_person.push(match change.effect() {
            _ if change.hold.is_some() => PersonOutcome::Held,
            _ if change.kept => PersonOutcome::Kept,
            _ if change.decided.plan.wait.is_some() || contested.contains(&place) => PersonOutcome::Waiting,
            Some(_) => PersonOutcome::Applied,
            None => PersonOutcome::Unchanged,
        });
    }
    applied
}

/// What a change amounts to, the weightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Created,
    Deactivated,
    Reactivated,
    Linked,
    Unlinked,
    KindChanged,
    Merged,
    Updated,
}

impl Effect {
    /// As the audit names it.
    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::Created => "record.create",
            Self::Deactivated => "record.deactivate",
            Self::Reactivated => "record.reactivate",
            Self::Linked => "record.link",
            Self::Unlinked => "record.unlink",
            Self::KindChanged => "record.kind_change",
            Self::Merged => "record.merge",
            Self::Updated => "record.update",
        }
    }
}

impl Change<'_> {
    pub(crate) fn effect(&self) -> Option<Effect> {
        let after = self.after.as_ref()?;
        if self.archived.is_some() {
            let joined = self.before.as_ref().is_some_and(|before| before.entra_id != after.entra_id);
            return Some(if joined { Effect::Merged } else { Effect::KindChanged });
        }
        let Some(before) = &self.before else { return Some(Effect::Created) };
        let effect = match (before.status, after.status) {
            _ if before.entra_id.is_some() && after.entra_id.is_none() => Effect::Unlinked,
            (Status::Active, Status::Inactive) => Effect::Deactivated,
            (Status::Inactive, Status::Active) => Effect::Reactivated,
            _ if before.entra_id != after.entra_id => Effect::Linked,
            _ => Effect::Updated,
        };
        (before != after).then_some(effect)
    }

    /// `after` is a record that was not there before.
    pub(crate) fn creates(&self) -> bool {
        self.before.is_none() && self.after.is_some()
    }
}

/// Both facets are known: what was read confirms the record.
pub(crate) fn confirms(person: &MirroredPerson) -> bool {
    !matches!(person.user.profile, ProfileFacet::Unknown)
        && (person.user.membership.complete.is_some() || !person.user.membership.edges.is_empty())
}
