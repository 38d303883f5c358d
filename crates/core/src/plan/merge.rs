//! Two records of one person (M3): an admin says that the record with the person's new address is theirs too. It keeps its id
//! and all that refers to it, and is linked; the one they have is archived in the same step. Never two live logins (G-20).

use std::collections::BTreeSet;

use crate::id::{ObjectId, RecordId};
use crate::matching::{Candidate, doubts_about, email_key};
use crate::plan::entry::match_context;
use crate::plan::kind_change::{Archive, carried};
use crate::plan::{Observed, PlanContext};
use crate::profile::Profile;
use crate::record::{Reason, Record};
use crate::review::{Answer, Choice, Doubt, ReviewKind, latest};

/// Both halves of a merge: one transaction, in this order. Then read the record and plan again, as after a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merge {
    /// What becomes of the record the person has.
    pub archive: Archive,
    /// The other record: theirs from now on.
    pub record: RecordId,
    /// Whoever that one is linked to until then: a directory user who is disabled or deleted.
    pub from: Option<ObjectId>,
    /// Added to its reasons: `by_hand` is carried over, as by a change of kind. Nothing else is.
    pub carried: BTreeSet<Reason>,
}

/// What an admin must be shown who may merge; `None` where nobody may: two people who are there never share a record.
pub(super) fn doubts(
    profile: &Profile,
    holder: &Candidate,
    observed: &Observed<'_>,
    cx: &PlanContext<'_>,
) -> Option<BTreeSet<Doubt>> {
    let mut doubts = doubts_about(profile, holder, &match_context(observed, cx));
    let possible = holder.may_lose_address() && doubts.iter().all(|doubt| doubt.is_overrulable());
    doubts.insert(Doubt::NotAsked);
    possible.then_some(doubts)
}

/// The merge that was asked for, as long as it is the one that was shown.
pub(super) fn asked_for<'a>(
    observed: &Observed<'a>,
    record: &Record,
    cx: &PlanContext<'_>,
) -> Option<(&'a Answer, Merge)> {
    let answer = latest(observed.answers, ReviewKind::AddressTaken)
        .filter(|answer| answer.choice == Choice::Merge && !answer.applied)?;
    let profile = observed.user.profile.present()?;
    let key = email_key(profile)?;
    let holder = observed.candidates.iter().find(|other| other.email_key.as_ref() == Some(&key))?;
    let stands = answer.record == Some(holder.id) && answer.is_to(&key, &[holder.id]);
    let overruled = doubts(profile, holder, observed, cx).is_some_and(|doubts| answer.overrules(&doubts));
    let basis = observed.kind_basis.filter(|_| stands && overruled && !record.root)?;
    let archive = Archive::of(record, &basis.taken);
    Some((answer, Merge { archive, record: holder.id, from: holder.entra_id, carried: carried(record) }))
}
