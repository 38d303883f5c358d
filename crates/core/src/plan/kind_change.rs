//! From employee to contact and back (M7, M8): the old record is archived and one of the new kind takes its place, in one
//! step that is either taken as a whole or held as a whole.

use std::collections::BTreeSet;

use crate::brake::CauseClass;
use crate::desired::{Desired, Grant};
use crate::error::ErrorClass;
use crate::field::FailedField;
use crate::id::RecordId;
use crate::matching::Candidate;
use crate::mirror::{KindSeen, MirroredUser, ProfileFacet};
use crate::plan::{Changes, NewRecord, Observed, Plan, PlanContext, Step, WaitReason, attributes};
use crate::profile::{Profile, address_key};
use crate::record::{Reason, Record, Status};
use crate::review::NewReview;
use crate::rule::RuleSet;
use crate::timestamp::Timestamp;

mod archived_name;

pub use archived_name::{TakenKeys, archived_key, archived_name, original_name};

/// What a kind change looks at besides the person's live record. Only whoever waits for the second read needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KindBasis {
    /// Archived records of this person.
    pub former: Vec<Record>,
    /// Keys that records of the realm have among the names of [`names_concerned`] and their archived forms.
    pub taken: TakenKeys,
}

/// What to do about a person's kind now.
#[derive(Clone, Debug, PartialEq)]
pub enum KindDecision {
    /// The record is of the right kind, or it is not the time to change it: what was seen is forgotten.
    Keep,
    /// Both facets must be read by id in one task; what was seen is kept.
    ReadBoth,
    /// A read that must agree with it is still to come.
    Wait {
        /// To be kept.
        seen: KindSeen,
        /// When the second read is due.
        at: Timestamp,
    },
    /// Do it, unless the brake holds it.
    Change(Box<KindChange>),
}

/// Both halves of a kind change: one transaction, in this order.
#[derive(Clone, Debug, PartialEq)]
pub struct KindChange {
    /// What becomes of the live record.
    pub archive: Archive,
    /// What takes its place.
    pub next: Next,
    /// The class under which the brake counts the whole; `None` when nobody loses access by it.
    pub brake: Option<CauseClass>,
    /// Fields of the next record whose value could not be used.
    pub failed: Vec<FailedField>,
    /// Questions about the next record's username or address.
    pub reviews: Vec<NewReview>,
}

/// The live record ends: archived, its sessions ended, its names free for the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The record.
    pub record: RecordId,
    /// Its username from now on.
    pub username: Option<String>,
    /// Its e-mail address from now on.
    pub email: Option<String>,
    /// All its reasons from now on.
    pub reasons: BTreeSet<Reason>,
}

/// The record of the new kind. It is active exactly when `reasons` is empty: `by_hand` is carried over, nothing else.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// A record of its own, linked to the person.
    Create {
        /// What it starts with.
        record: NewRecord,
        /// Why it is not active from the start.
        reasons: BTreeSet<Reason>,
    },
    /// The person's archived record of that kind comes back, with its id and all that refers to it.
    BringBack {
        /// The record.
        record: RecordId,
        /// Of the winning rule.
        role: Option<String>,
        /// Of the winning rule.
        permissions: Vec<String>,
        /// Its own names again, and what Entra has now.
        attributes: Changes,
        /// In place of all the reasons it was archived with.
        reasons: BTreeSet<Reason>,
    },
}

/// Whether this person's record must give way to one of another kind. Two reads of both facets by id, at least
/// `reenable_agree` (30 s) apart, must agree: a change of kind also gives access, and needs no less than that.
pub fn decide(observed: &Observed<'_>, desired: &Desired, rules: &RuleSet, cx: &PlanContext<'_>) -> KindDecision {
    let user = observed.user;
    let Some(record) = observed.record.filter(|record| !record.root && record.status != Status::Archived) else {
        return KindDecision::Keep;
    };
    let ProfileFacet::Present { profile, read_at, .. } = &user.profile else { return KindDecision::Keep };
    // Whoever should be out leaves by their own record; the kind is looked at again when they come back.
    let wanted_in = desired.reasons.is_empty() && desired.unknown.is_none();
    let Some(grant) = desired.grant.as_ref().filter(|grant| wanted_in && grant.kind != record.kind) else {
        return KindDecision::Keep;
    };
    let Some(complete) = user.membership.complete.filter(|_| is_proven(user)) else { return KindDecision::ReadBoth };
    let now = KindSeen { kind: grant.kind, read_at: complete.read_at.min(*read_at), rules_version: rules.version };
    let first = user.agreements.kind.filter(|seen| (seen.kind, seen.rules_version) == (now.kind, now.rules_version));
    let seen = first.unwrap_or(now);
    let at = seen.read_at + cx.timing.reenable_agree;
    match observed.kind_basis {
        Some(basis) if now.read_at >= at => {
            let changing = Changing { basis, observed, old: record, profile, grant, cx };
            KindDecision::Change(Box::new(changing.change(Plan::nothing(desired.clone(), user.agreements))))
        }
        // The basis is shown to whoever waits: it is there at the next look.
        _ => KindDecision::Wait { seen, at: at.max(cx.now) },
    }
}

/// Puts the decision on the plan. True: the record gives way, and nothing else is to be done about its access.
pub(super) fn follow(plan: &mut Plan, observed: &Observed<'_>, rules: &RuleSet, cx: &PlanContext<'_>) -> bool {
    let user = observed.user;
    match decide(observed, &plan.desired, rules, cx) {
        KindDecision::Keep => plan.agreements.kind = None,
        KindDecision::ReadBoth => ask_for_both(plan, user, cx),
        KindDecision::Wait { seen, at } => {
            plan.agreements.kind = Some(seen);
            plan.look_again(at, WaitReason::KindAgree);
        }
        // What was seen is kept: whoever is held by the brake changes by the next read once they are let go.
        KindDecision::Change(change) => {
            plan.agreements.regain_at = None;
            plan.take_on(change);
            return true;
        }
    }
    false
}

/// Reading at once is of no use before the second read is due, nor if a listing came in between two reads just made.
fn ask_for_both(plan: &mut Plan, user: &MirroredUser, cx: &PlanContext<'_>) {
    let agree_at = plan.agreements.kind.map(|first| first.read_at + cx.timing.reenable_agree);
    let in_vain = (user.fresh.profile && user.fresh.membership).then_some(cx.now + cx.timing.coalesce);
    match agree_at.max(in_vain).filter(|at| *at > cx.now) {
        Some(at) => plan.look_again(at, WaitReason::KindAgree),
        None => plan.needs_both_facets(user, cx),
    }
}

/// Both facets were read by id in this task, and no listing has shown anything since.
fn is_proven(user: &MirroredUser) -> bool {
    let floor = user.membership.complete.map(|complete| complete.ticket);
    let later = user.membership.edges.values().any(|edge| Some(edge.ticket) > floor);
    user.fresh.profile && user.fresh.membership && !later
}

impl Archive {
    /// `taken` holds the names of the realm around the record's own.
    pub(super) fn of(record: &Record, taken: &TakenKeys) -> Self {
        let mut reasons = record.reasons.clone();
        reasons.insert(Reason::KindChanged);
        Self {
            record: record.id,
            username: record.username.as_deref().map(|name| archived_name(name, &taken.usernames)),
            email: record.email.as_deref().map(|address| archived_name(address, &taken.emails)),
            reasons,
        }
    }
}

/// The reasons that go with the person from record to record: what an admin switched off by hand stays off.
pub(super) fn carried(old: &Record) -> BTreeSet<Reason> {
    let carried = |reason: &&Reason| **reason == Reason::ByHand && !old.by_hand_lifted;
    old.reasons.iter().filter(carried).copied().collect()
}

struct Changing<'a> {
    basis: &'a KindBasis,
    observed: &'a Observed<'a>,
    old: &'a Record,
    profile: &'a Profile,
    grant: &'a Grant,
    cx: &'a PlanContext<'a>,
}

impl Changing<'_> {
    /// Reviews and failures of the attributes are collected in `plan`, which has no other use here.
    fn change(&self, mut plan: Plan) -> KindChange {
        let former = self.former();
        let next = match former {
            Some(former) => self.bring_back(&mut plan, former),
            None => self.create(&mut plan),
        };
        let brake = (self.old.status == Status::Active).then_some(CauseClass::LostScope);
        KindChange { archive: self.archive(former), next, brake, failed: plan.failed, reviews: plan.reviews }
    }

    /// The archived name of the record that comes back is free again in the same step.
    fn archive(&self, former: Option<&Record>) -> Archive {
        let mut taken = self.basis.taken.clone();
        if let Some(former) = former {
            taken.usernames.retain(|key| former.username.as_deref().map(address_key).as_ref() != Some(key));
            taken.emails.retain(|key| former.email.as_deref().map(address_key).as_ref() != Some(key));
        }
        Archive::of(self.old, &taken)
    }

    fn create(&self, plan: &mut Plan) -> Next {
        let others = self.others(&[self.old.id]);
        let observed = Observed { candidates: &others, ..*self.observed };
        let mut attributes = attributes::initial(plan, self.profile, self.grant.kind, &observed, self.cx);
        // A blank, unusable or contested name: the person goes on under the one they have.
        attributes.username.get_or_insert_with(|| self.old.username.clone());
        attributes.email.get_or_insert_with(|| self.old.email.clone());
        let (kind, role, permissions) = (self.grant.kind, self.grant.role.clone(), self.grant.permissions.clone());
        let sessions_valid_from = self.profile.sessions_valid_from;
        let record = NewRecord { kind, role, permissions, attributes, sessions_valid_from };
        Next::Create { record, reasons: carried(self.old) }
    }

    /// The latest archived record of that kind; one in use keeps its archived name for ever and so never comes back (M8).
    fn former(&self) -> Option<&Record> {
        let fits = |record: &&Record| {
            record.status == Status::Archived
                && record.kind == self.grant.kind
                && record.connection == self.old.connection
                && !record.in_use
                && !record.root
        };
        let former = self.basis.former.iter().filter(fits);
        former.max_by_key(|record| (record.inactive_since, record.id))
    }

    fn bring_back(&self, plan: &mut Plan, former: &Record) -> Next {
        let others = self.others(&[self.old.id, former.id]);
        let observed = Observed { candidates: &others, ..*self.observed };
        attributes::update(plan, self.profile, former, &observed, self.cx);
        let update = plan.steps.drain(..).find_map(|step| match step {
            Step::Update(changes) => Some(changes),
            _ => None,
        });
        let mut attributes = update.unwrap_or_default();
        let freed = self.archive_frees();
        if attributes.username.is_none() {
            attributes.username = restored(former.username.as_deref(), &self.basis.taken.usernames, &freed);
        }
        if attributes.email.is_none() {
            attributes.email = restored(former.email.as_deref(), &self.basis.taken.emails, &freed);
        }
        let (role, permissions) = (self.grant.role.clone(), self.grant.permissions.clone());
        Next::BringBack { record: former.id, role, permissions, attributes, reasons: carried(self.old) }
    }

    /// Names that the archived record gives up in the same step.
    fn archive_frees(&self) -> BTreeSet<String> {
        [&self.old.username, &self.old.email].into_iter().flatten().map(|name| address_key(name)).collect()
    }

    /// The records that may stand in the way: not those of this change.
    fn others(&self, own: &[RecordId]) -> Vec<Candidate> {
        let candidates = self.observed.candidates.iter();
        candidates.filter(|candidate| !own.contains(&candidate.id)).cloned().collect()
    }
}

/// The name it had before it was archived, where Entra has nothing to say of it; none if it belongs to another now.
fn restored(archived: Option<&str>, taken: &BTreeSet<String>, freed: &BTreeSet<String>) -> Option<Option<String>> {
    let archived = archived?;
    let name = original_name(archived);
    let key = address_key(name);
    if name == archived {
        return None;
    }
    Some(Some(name.to_owned()).filter(|_| freed.contains(&key) || !taken.contains(&key)))
}

/// The names with which records begin that the store must show in [`TakenKeys`], in key form.
pub fn names_concerned(live: &Record, former: &[Record]) -> TakenKeys {
    let records = || std::iter::once(live).chain(former);
    let keys = |name: fn(&Record) -> &Option<String>| {
        records().filter_map(|record| name(record).as_deref()).map(original_name).map(address_key).collect()
    };
    TakenKeys { usernames: keys(|record| &record.username), emails: keys(|record| &record.email) }
}

/// Whether a record may get another name or be deleted by anybody: an archived one that other data refers to may not (M8),
/// and root is nobody's to change (G-24). The archiving itself writes the archived name, once.
///
/// # Errors
/// Why not, and what a person can do.
pub fn may_rename_or_delete(record: &Record) -> Result<(), RecordProtected> {
    match record {
        Record { root: true, id, .. } => Err(RecordProtected::Root { record: *id }),
        Record { status: Status::Archived, in_use: true, id, .. } => Err(RecordProtected::InUse { record: *id }),
        _ => Ok(()),
    }
}

/// A record that can be neither renamed nor deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordProtected {
    /// M8.
    #[error("renaming or deleting record {record}: it is archived and other data refers to it; change that data first")]
    InUse {
        /// The record.
        record: RecordId,
    },
    /// G-24.
    #[error("renaming or deleting record {record}: it is the root user; choose another root first")]
    Root {
        /// The record.
        record: RecordId,
    },
}

impl RecordProtected {
    /// A person must act.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::InUse { .. } | Self::Root { .. } => ErrorClass::Permanent,
        }
    }
}
