//! From the desired access to steps on one record. Pure: the worker reads, the store writes.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::desired::{DecisionSettings, Desired, desired};
use crate::field::{FailedField, FieldMap};
use crate::id::{ObjectId, RecordId, ReviewId};
use crate::matching::{AddressOwners, Candidate};
use crate::mirror::{Agreements, MirroredUser, ProfileFacet, Source};
use crate::record::{Kind, Reason, Record, Status};
use crate::review::{Answer, Choice, NewReview};
use crate::rule::RuleSet;
use crate::settings::{Defaults, Settings};
use crate::timestamp::Timestamp;
use crate::timing::Timing;

mod access;
mod attributes;
mod entry;
mod evidence;
pub mod kind_change;
mod merge;
mod together;

pub use merge::Merge;
pub use together::{rival, together};

use kind_change::{KindBasis, KindChange};

/// Everything the plan for one person may look at.
#[derive(Clone, Copy)]
pub struct Observed<'a> {
    /// The directory user.
    pub user: &'a MirroredUser,
    /// The live record linked to this directory user, if any.
    pub record: Option<&'a Record>,
    /// Other records of the realm that hold an address or a username this person would take.
    pub candidates: &'a [Candidate],
    /// Graph's answer to "who has this address?", if it was asked in this task.
    pub address_owners: Option<&'a AddressOwners>,
    /// What was answered to reviews about this person, the oldest first.
    pub answers: &'a [Answer],
    /// On the plan that somebody confirmed for the rules in force: for these people it is the evidence that lost scope
    /// needs (G-10 e).
    pub confirmed: bool,
    /// What a kind change needs to know besides, if this person waits for one.
    pub kind_basis: Option<&'a KindBasis>,
}

/// Everything else the plan depends on; nothing of it is about one person.
#[derive(Clone, Copy)]
pub struct PlanContext<'a> {
    /// Store time.
    pub now: Timestamp,
    /// Waiting times.
    pub timing: &'a Timing,
    /// `[settings]` of the rules file.
    pub settings: &'a Settings,
    /// `[defaults]` of the rules file.
    pub defaults: &'a Defaults,
    /// `[fields]` of the rules file.
    pub fields: &'a FieldMap,
    /// Guests may be in.
    pub guests: bool,
    /// The connection's first sync has seen every mapped group (TH-09).
    pub first_sync_done: bool,
    /// A listing of every mapped group that goes on without a break began then: its pages count as recent, however long it
    /// takes.
    pub listing_since: Option<Timestamp>,
    /// Domains that are verified in the tenant *and* assigned to the connection (TH-09).
    pub verified_domains: &'a BTreeSet<String>,
    /// The connection's realm.
    pub realm: &'a str,
}

/// One change of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A record of its own, linked from the start.
    Create(NewRecord),
    /// Link an existing record to this directory user (M3). Then read the record and plan again in the same transaction:
    /// what else must change depends on what it holds.
    Link {
        /// The record; its id and all that refers to it stay.
        record: RecordId,
    },
    /// The record of a directory user who is disabled or deleted is this person's: an admin said so. Then as after a link.
    Rehire {
        /// The record; its id and all that refers to it stay.
        record: RecordId,
        /// Whoever it is linked to until then.
        from: ObjectId,
    },
    /// An admin undid the link: the record has again what it had before, and nobody is linked to it.
    Unlink {
        /// The record.
        record: RecordId,
    },
    /// An admin gave this person the address of another record, which loses it and is looked at again.
    ReleaseAddress {
        /// The other record.
        record: RecordId,
    },
    /// Two records were this person's: one is archived, the other one is theirs. Then as after a link.
    Merge(Box<Merge>),
    /// New values for mapped attributes.
    Update(Changes),
    /// Microsoft says from when on sign-ins hold (D5).
    NoteSessions {
        /// Later than any seen before.
        valid_from: Timestamp,
        /// It moved on an active record: whoever is signed in here is signed out. The first one seen ends nothing.
        end: bool,
    },
    /// Role and permissions of the winning rule.
    SetAccess {
        /// The role.
        role: Option<String>,
        /// The permissions.
        permissions: Vec<String>,
    },
    /// Takes access: goes through the brake.
    Deactivate {
        /// Added to the record's reasons.
        reasons: BTreeSet<Reason>,
    },
    /// Gives access back.
    Reactivate {
        /// Taken from the record's reasons; none remains.
        reasons: BTreeSet<Reason>,
    },
    /// An inactive record stays inactive, for other reasons than before.
    AmendReasons {
        /// Added.
        add: BTreeSet<Reason>,
        /// Removed.
        remove: BTreeSet<Reason>,
    },
    /// The record is archived and one of another kind takes its place (M7): one step, which goes through the brake as a
    /// whole. Comes last; the steps before it are for the record as it is while the brake holds this one.
    ChangeKind(Box<KindChange>),
}

/// What a new record starts with.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    /// Employee or contact.
    pub kind: Kind,
    /// Given by the winning rule.
    pub role: Option<String>,
    /// Given by the winning rule.
    pub permissions: Vec<String>,
    /// Mapped attributes.
    pub attributes: Changes,
    /// `signInSessionsValidFromDateTime`, from which on a later one ends sessions (D5).
    pub sessions_valid_from: Option<Timestamp>,
}

/// Attribute values to write; `None` leaves the attribute alone, `Some(None)` clears it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// E-mail address.
    pub email: Option<Option<String>>,
    /// Username.
    pub username: Option<Option<String>>,
    /// Display name.
    pub display_name: Option<Option<String>>,
    /// Mapped fields by name; `Value::Null` clears.
    pub fields: Map<String, Value>,
    /// Fields whose local edit ends: the directory user changed, and the value is Entra's again (Y4).
    pub overwritten: BTreeSet<String>,
}

/// What to do about one person now, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// Evidence is missing or must agree with a second read.
    pub wait: Option<Wait>,
    /// Graph must be asked who else has this address (key form) before this person can be linked (TH-09).
    pub ask_address: Option<String>,
    /// Questions for a person. Opened once per kind and person.
    pub reviews: Vec<NewReview>,
    /// Answers that this plan carries out, or remembers for the first time.
    pub answered: Vec<ReviewId>,
    /// Fields whose value could not be used: the old one stays, and the failure is shown (G-11).
    pub failed: Vec<FailedField>,
    /// To be kept with the directory user.
    pub agreements: Agreements,
    /// What was desired, and why.
    pub desired: Desired,
}

/// Look at this person again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When.
    pub at: Timestamp,
    /// For what.
    pub reason: WaitReason,
}

/// Why a person must be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// Both facets must be read by id in one task.
    NeedsBothFacets,
    /// The second read of `scope_agree`.
    ScopeAgree,
    /// The second 404 of G-10 (b).
    MissingAgree,
    /// The second read of `reenable_agree`.
    ReenableAgree,
    /// The second read that agrees on another kind, as long after the first.
    KindAgree,
    /// `accountEnabled` was missing: creation is staged (BI-34).
    Incomplete,
    /// The connection's first sync has not yet seen every mapped group (TH-09).
    FirstSync,
}

/// What must change so that this person's record agrees with what we know, and when to look again. Total: every input has
/// an answer, and applying the answer and asking again gives no further steps.
pub fn plan(observed: &Observed<'_>, rules: &RuleSet, cx: &PlanContext<'_>) -> Plan {
    let desired = desired(observed.user, rules, &DecisionSettings { guests: cx.guests });
    let mut plan = Plan::nothing(desired, observed.user.agreements);
    match observed.record {
        // Exempt from everything the directory says (G-24); an archived record is nobody's live login (M7).
        Some(record) if record.root || record.status == Status::Archived => {}
        Some(record) => match undoing(observed.answers, record) {
            Some(answer) => plan.unlink(record, answer, cx),
            None => match merge::asked_for(observed, record, cx) {
                Some((answer, merge)) => plan.merge(merge, answer, cx),
                None => access::bring_in_line(&mut plan, observed, record, rules, cx),
            },
        },
        None => entry::enter(&mut plan, observed, rules, cx),
    }
    plan
}

/// The link of this record is to be undone, however it came about.
fn undoing<'a>(answers: &'a [Answer], record: &Record) -> Option<&'a Answer> {
    let undoes = |answer: &&Answer| answer.choice == Choice::Unlink && answer.record == Some(record.id);
    answers.iter().rev().find(|answer| !answer.applied && undoes(answer))
}

impl Plan {
    /// Whose the record is then is another question, asked at the next look: Graph is asked for it.
    fn unlink(&mut self, record: &Record, answer: &Answer, cx: &PlanContext<'_>) {
        self.agreements = Agreements::default();
        self.steps.push(Step::Unlink { record: record.id });
        self.answered.push(answer.review);
        self.look_again(cx.now, WaitReason::NeedsBothFacets);
    }

    /// Superseded by the second plan of the same transaction, as after a link.
    fn merge(&mut self, merge: Merge, answer: &Answer, cx: &PlanContext<'_>) {
        self.agreements = Agreements::default();
        self.follow(answer);
        self.steps.push(Step::Merge(Box::new(merge)));
        self.look_again(cx.now, WaitReason::NeedsBothFacets);
    }

    /// The answer counts, and is noted when it does so for the first time.
    fn follow(&mut self, answer: &Answer) {
        if !answer.applied {
            self.answered.push(answer.review);
        }
    }

    /// Nothing is to be written, asked or read again.
    pub fn is_settled(&self, agreements: Agreements) -> bool {
        self.steps.is_empty()
            && self.reviews.is_empty()
            && self.answered.is_empty()
            && self.wait.is_none()
            && self.ask_address.is_none()
            && self.agreements == agreements
    }

    fn nothing(desired: Desired, agreements: Agreements) -> Self {
        Self {
            steps: Vec::new(),
            wait: None,
            ask_address: None,
            reviews: Vec::new(),
            answered: Vec::new(),
            failed: Vec::new(),
            agreements,
            desired,
        }
    }

    /// Of several reasons to look again the earliest counts: that look finds the others.
    fn look_again(&mut self, at: Timestamp, reason: WaitReason) {
        if self.wait.is_none_or(|wait| at < wait.at) {
            self.wait = Some(Wait { at, reason });
        }
    }

    /// A change of kind, with what it asks beyond what is asked already.
    fn take_on(&mut self, change: Box<KindChange>) {
        let asked = |review: &&NewReview| self.reviews.iter().all(|other| other.kind != review.kind);
        let reviews: Vec<NewReview> = change.reviews.iter().filter(asked).cloned().collect();
        let new = |failed: &&FailedField| self.failed.iter().all(|other| other.name != failed.name);
        let failed: Vec<FailedField> = change.failed.iter().filter(new).cloned().collect();
        self.reviews.extend(reviews);
        self.failed.extend(failed);
        self.steps.push(Step::ChangeKind(change));
    }

    /// Nothing of an answer without `accountEnabled` is taken (BI-34): creation is staged, Graph fills a user in bit by
    /// bit. A listing may simply not have asked for it.
    fn await_complete_profile(&mut self, user: &MirroredUser, cx: &PlanContext<'_>) {
        // What was not looked at cannot agree: a membership read meanwhile may have shown the opposite.
        self.agreements = Agreements::default();
        if matches!(user.profile, ProfileFacet::Present { source: Source::ById, .. }) {
            self.look_again(cx.now + cx.timing.settle, WaitReason::Incomplete);
        } else {
            self.needs_both_facets(user, cx);
        }
    }

    /// Asks for both facets by id. A task that has just read both would only ask for ever: then Graph's answer is
    /// incomplete, and it is tried again later.
    fn needs_both_facets(&mut self, user: &MirroredUser, cx: &PlanContext<'_>) {
        if user.fresh.profile && user.fresh.membership {
            self.look_again(cx.now + cx.timing.settle, WaitReason::Incomplete);
        } else {
            self.look_again(cx.now, WaitReason::NeedsBothFacets);
        }
    }
}

impl Changes {
    /// Nothing to write.
    pub fn is_empty(&self) -> bool {
        self.email.is_none()
            && self.username.is_none()
            && self.display_name.is_none()
            && self.fields.is_empty()
            && self.overwritten.is_empty()
    }
}
