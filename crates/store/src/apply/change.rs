//! From a decision to the record it leaves behind. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::brake::{CauseClass, HoldAnswer, Judgement};
use lockstep_core::plan::kind_change::{Archive, KindChange, Next};
use lockstep_core::plan::{Changes, Merge, NewRecord, Step};
use lockstep_core::record::{Reason, Record, Status};
use lockstep_core::{ObjectId, RecordId, Timestamp};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::apply::{Decided, Effect};
use crate::connection::Connection;
use crate::session::SessionEnd;

/// One person's record before and after.
pub(crate) struct Change<'a> {
    pub(crate) decided: &'a Decided<'a>,
    /// As stored; `None` when it is to be created, or when there is none.
    pub(crate) before: Option<Record>,
    /// `None`: there is no record and none is made.
    pub(crate) after: Option<Record>,
    /// The live record that gives way to `after` (M7).
    pub(crate) archived: Option<Archived>,
    /// The removal that the brake keeps back.
    pub(crate) hold: Option<Held>,
    /// Microsoft ended this person's sign-ins (D5).
    revoked: bool,
    /// The record is not the person's own: it gives something up for them.
    pub(crate) beside: bool,
    /// A removal that is not made by a person's no.
    pub(crate) kept: bool,
}

/// Records that steps name beside the people's own.
pub(crate) struct Beside {
    /// As they are now, locked.
    pub(crate) named: BTreeMap<RecordId, Record>,
    /// Those whose link is undone, as they were before it.
    pub(crate) former: BTreeMap<RecordId, Record>,
}

/// A record that is archived.
pub(crate) struct Archived {
    pub(crate) before: Record,
    pub(crate) after: Record,
}

/// A removal kept back.
pub(crate) struct Held {
    pub(crate) class: CauseClass,
    pub(crate) reasons: BTreeSet<Reason>,
    /// `None`: the hold that names them already.
    pub(crate) limit: Option<String>,
}

/// What becomes of a removal.
enum Removal {
    Made,
    Held(Option<String>),
    Kept,
}

impl<'a> Change<'a> {
    /// `None`: a record to link, or to bring back, is not free any more.
    pub(crate) fn of(
        connection: &Connection,
        decided: &'a Decided<'a>,
        beside: &Beside,
        exempt: &BTreeSet<RecordId>,
        now: Timestamp,
    ) -> Option<Self> {
        let own = decided.person.record.clone();
        let exempt = own.as_ref().is_some_and(|own| exempt.contains(&own.id));
        let mut change = Self {
            decided,
            before: own.clone(),
            after: own,
            archived: None,
            hold: None,
            kept: false,
            beside: false,
            revoked: false,
        };
        for step in &decided.plan.steps {
            change.take(step, connection, beside, exempt, now)?;
        }
        Some(change)
    }

    fn take(
        &mut self,
        step: &Step,
        connection: &Connection,
        beside: &Beside,
        exempt: bool,
        now: Timestamp,
    ) -> Option<()> {
        let user = self.decided.person.user.id;
        match step {
            Step::Create(new) => self.after = Some(created(new, connection, user)),
            Step::Link { record } => {
                let free = beside.named.get(record).filter(|record| record.entra_id.is_none() && !record.root)?;
                self.link(free, connection, user);
            }
            Step::Rehire { record, from } => {
                let held =
                    |record: &&Record| record.entra_id == Some(*from) && record.connection == Some(connection.id);
                let inactive = |record: &&Record| record.status == Status::Inactive && !record.root;
                let former = beside.named.get(record).filter(held).filter(inactive)?;
                self.link(former, connection, user);
            }
            Step::Unlink { record } => self.after = Some(beside.former.get(record)?.clone()),
            Step::Merge(merge) => self.merge(merge, connection, beside, now)?,
            // Another record's change: see [`release_addresses`].
            Step::ReleaseAddress { .. } => {}
            Step::Deactivate { reasons } => match self.removal(CauseClass::of(reasons), exempt) {
                Removal::Made => self.amend(reasons, &BTreeSet::new(), now),
                Removal::Held(limit) => {
                    self.hold = Some(Held { class: CauseClass::of(reasons), reasons: reasons.clone(), limit });
                }
                Removal::Kept => self.kept = true,
            },
            Step::Reactivate { reasons } => self.amend(&BTreeSet::new(), reasons, now),
            Step::AmendReasons { add, remove } => self.amend(add, remove, now),
            Step::NoteSessions { valid_from, end } => {
                if let Some(after) = &mut self.after {
                    after.sessions_valid_from = Some(*valid_from);
                    self.revoked |= end;
                }
            }
            Step::ChangeKind(change) => match change.brake.map(|class| (class, self.removal(class, exempt))) {
                None | Some((_, Removal::Made)) => self.change_kind(change, connection, now)?,
                Some((class, Removal::Held(limit))) => {
                    self.hold = Some(Held { class, reasons: BTreeSet::from([Reason::KindChanged]), limit });
                }
                Some((_, Removal::Kept)) => self.kept = true,
            },
            Step::Update(changes) => {
                if let Some(after) = &mut self.after {
                    write_attributes(after, changes);
                }
            }
            Step::SetAccess { role, permissions } => {
                if let Some(after) = &mut self.after {
                    (after.role, after.permissions) = (role.clone(), permissions.clone());
                }
            }
        }
        Some(())
    }

    fn link(&mut self, record: &Record, connection: &Connection, user: ObjectId) {
        self.before = Some(record.clone());
        // Another person's sign-ins say nothing of this one's.
        let (connection, entra_id, sessions_valid_from) = (Some(connection.id), Some(user), None);
        self.after = Some(Record { connection, entra_id, sessions_valid_from, ..record.clone() });
    }

    /// Whoever is signed in as one of [`Change::records`] is out by this change.
    pub(crate) fn session_end(&self, before: Option<&Record>, after: &Record) -> Option<SessionEnd> {
        SessionEnd::of(before, after, self.revoked)
    }

    /// `None`: one of the two is not what it was when the answer was given.
    fn merge(&mut self, merge: &Merge, connection: &Connection, beside: &Beside, now: Timestamp) -> Option<()> {
        let own = self.decided.person.record.as_ref().filter(|own| own.id == merge.archive.record && !own.root)?;
        let reached = |other: &&Record| other.connection.is_none_or(|of| of == connection.id);
        let free = |other: &&Record| !other.root && other.status != Status::Archived && other.entra_id == merge.from;
        let gone = |other: &&Record| other.entra_id.is_none() || other.status == Status::Inactive;
        let other = beside.named.get(&merge.record).filter(reached).filter(free).filter(gone)?;
        self.archived = Some(Archived { before: own.clone(), after: archived(own, &merge.archive, now) });
        self.link(other, connection, self.decided.person.user.id);
        self.amend(&merge.carried, &BTreeSet::new(), now);
        Some(())
    }

    /// Both halves. What the steps before wrote was for the case that this one is held.
    fn change_kind(&mut self, change: &KindChange, connection: &Connection, now: Timestamp) -> Option<()> {
        let person = self.decided.person;
        let own = person.record.as_ref().filter(|own| own.id == change.archive.record && !own.root)?;
        let archived = archived(own, &change.archive, now);
        let (before, next, reasons) = match &change.next {
            Next::Create { record, reasons } => (None, created(record, connection, person.user.id), reasons),
            Next::BringBack { record, role, permissions, attributes, reasons } => {
                let former = person.kind_basis.as_ref()?.former.iter().find(|former| former.id == *record)?;
                let mut next = Record { role: role.clone(), permissions: permissions.clone(), ..former.clone() };
                write_attributes(&mut next, attributes);
                (Some(former.clone()), next, reasons)
            }
        };
        let status = if reasons.is_empty() { Status::Active } else { Status::Inactive };
        let inactive_since = (status == Status::Inactive).then(|| own.inactive_since.unwrap_or(now));
        let sessions_valid_from = next.sessions_valid_from.max(own.sessions_valid_from);
        let (reasons, by_hand_lifted) = (reasons.clone(), false);
        self.before = before;
        self.after = Some(Record { status, reasons, inactive_since, sessions_valid_from, by_hand_lifted, ..next });
        self.archived = Some(Archived { before: own.clone(), after: archived });
        Some(())
    }

    /// A change of kind is taken as a whole or not at all.
    pub(crate) fn leave_kind(&mut self) -> bool {
        let Some(Archived { before, .. }) = self.archived.take() else { return false };
        (self.before, self.after) = (Some(before.clone()), Some(before));
        true
    }

    /// Every record concerned, before and after; one that is archived comes first.
    pub(crate) fn records(&self) -> impl Iterator<Item = (Option<&Record>, &Record)> {
        let archived = self.archived.iter().map(|archived| (Some(&archived.before), &archived.after));
        archived.chain(self.after.iter().map(|after| (self.before.as_ref(), after)))
    }

    /// The record, as it is now, whose access ends here.
    pub(crate) fn removed(&self) -> Option<&Record> {
        self.effect().filter(|effect| matches!(effect, Effect::Deactivated | Effect::KindChanged))?;
        self.records()
            .find(|(before, after)| {
                before.is_some_and(|before| before.status == Status::Active) && after.status != Status::Active
            })
            .map(|(_, after)| after)
    }

    /// The person's live record as it was stored.
    pub(crate) fn own(&self) -> Option<&Record> {
        self.archived.as_ref().map(|archived| &archived.before).or(self.before.as_ref())
    }

    /// Time and attribute changes let nobody out of a hold, whoever judged without looking at it.
    fn removal(&self, class: CauseClass, exempt: bool) -> Removal {
        let held = self.decided.person.open_hold.as_ref();
        match &self.decided.judgement {
            Judgement::Hold { limit } => Removal::Held(Some(limit.clone())),
            Judgement::Stay => Removal::Held(None),
            Judgement::Keep => Removal::Kept,
            Judgement::Approved => Removal::Made,
            Judgement::Go => match held {
                Some(held) if held.class == class && held.answer == HoldAnswer::Awaited && !exempt => {
                    Removal::Held(None)
                }
                _ => Removal::Made,
            },
        }
    }

    /// The status follows from the reasons, but for archived records.
    fn amend(&mut self, add: &BTreeSet<Reason>, remove: &BTreeSet<Reason>, now: Timestamp) {
        let Some(after) = self.after.as_mut().filter(|after| after.status != Status::Archived && !after.root) else {
            return;
        };
        after.reasons.extend(add.iter().copied());
        after.reasons.retain(|reason| !remove.contains(reason));
        after.by_hand_lifted &= after.reasons.contains(&Reason::ByHand);
        let was = after.status;
        after.status = if after.reasons.is_empty() { Status::Active } else { Status::Inactive };
        match (was, after.status) {
            (Status::Active, Status::Inactive) => after.inactive_since = Some(now),
            (_, Status::Active) => after.inactive_since = None,
            _ => {}
        }
    }
}

/// The records that lose their address to somebody in the batch: changes of their own, after those of the people. `None`:
/// one may not lose it any more.
pub(crate) fn release_addresses<'a>(
    connection: &Connection,
    decided: &'a [Decided<'a>],
    beside: &Beside,
    changes: &mut Vec<Change<'a>>,
) -> Option<()> {
    for one in decided {
        for step in &one.plan.steps {
            let Step::ReleaseAddress { record } = step else { continue };
            let holder = beside.named.get(record)?;
            let reached = holder.connection.is_none_or(|of| of == connection.id) && holder.realm == connection.realm;
            if holder.root || holder.status == Status::Archived || !reached {
                return None;
            }
            let own = changes.iter_mut().find(|change| change.own().map(|it| it.id) == Some(*record));
            match own {
                // It loses the address with its name.
                Some(Change { archived: Some(_), .. }) => {}
                Some(Change { after: Some(after), .. }) if after.email == holder.email => after.email = None,
                Some(_) => {}
                None => {
                    let after = Some(Record { email: None, ..holder.clone() });
                    let before = Some(holder.clone());
                    changes.push(Change {
                        decided: one,
                        before,
                        after,
                        archived: None,
                        hold: None,
                        kept: false,
                        beside: true,
                        revoked: false,
                    });
                }
            }
        }
    }
    Some(())
}

fn archived(own: &Record, archive: &Archive, now: Timestamp) -> Record {
    Record {
        status: Status::Archived,
        reasons: archive.reasons.clone(),
        username: archive.username.clone(),
        email: archive.email.clone(),
        inactive_since: Some(now),
        ..own.clone()
    }
}

fn created(new: &NewRecord, connection: &Connection, user: ObjectId) -> Record {
    let mut record = Record {
        id: RecordId(Uuid::now_v7()),
        connection: Some(connection.id),
        realm: connection.realm.clone(),
        kind: new.kind,
        status: Status::Active,
        reasons: BTreeSet::new(),
        role: new.role.clone(),
        permissions: new.permissions.clone(),
        email: None,
        username: None,
        display_name: None,
        fields: Map::new(),
        entra_id: Some(user),
        root: false,
        privileged: false,
        in_use: false,
        inactive_since: None,
        edits: BTreeMap::new(),
        by_hand_lifted: false,
        sessions_valid_from: new.sessions_valid_from,
    };
    write_attributes(&mut record, &new.attributes);
    record
}

fn write_attributes(record: &mut Record, changes: &Changes) {
    record.edits.retain(|field, _| !changes.overwritten.contains(field));
    let set = |target: &mut Option<String>, value: &Option<Option<String>>| {
        if let Some(value) = value {
            target.clone_from(value);
        }
    };
    set(&mut record.email, &changes.email);
    set(&mut record.username, &changes.username);
    set(&mut record.display_name, &changes.display_name);
    for (name, value) in &changes.fields {
        if value == &Value::Null {
            record.fields.remove(name);
        } else {
            record.fields.insert(name.clone(), value.clone());
        }
    }
}
