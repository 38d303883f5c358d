//! When to look at a person again although nothing new was said: Graph's replicas lag (FA-15).

use crate::id::ObjectId;
use crate::mirror::{MirroredUser, ProfileFacet};
use crate::plan::Wait;
use crate::timestamp::Timestamp;
use crate::timing::Timing;

/// What a hint claimed about one person; compared with what was read, never acted on (G-07).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintClaim {
    /// Something about the user changed: says nothing that a read could contradict.
    Changed,
    /// The user was deleted for good.
    Deleted,
    /// The user came into this mapped group.
    MemberAdded(ObjectId),
    /// The user left this mapped group.
    MemberRemoved(ObjectId),
}

/// Whether the mirror, after the read, says the opposite of the hint: one of the two is late.
pub fn contradicts(claim: HintClaim, user: &MirroredUser) -> bool {
    let gone = matches!(user.profile, ProfileFacet::Missing { .. });
    match claim {
        HintClaim::Changed => false,
        HintClaim::Deleted => matches!(user.profile, ProfileFacet::Present { .. }),
        HintClaim::MemberAdded(group) => !gone && !user.membership.is_present(group),
        // Known to be in through a group inside: leaving the group itself is then no contradiction.
        HintClaim::MemberRemoved(group) => {
            let edge = user.membership.edges.get(&group).filter(|edge| edge.present);
            !gone && edge.is_some_and(|edge| edge.direct != Some(false))
        }
    }
}

/// The next settle read after a read at `now`: once after `settle`, or 1, 5 and 15 min after the hint while the read
/// contradicts it. `None`: settled, or, if still contradicted, time for the alarm.
pub fn after_hint(hint_at: Timestamp, contradicted: bool, now: Timestamp, timing: &Timing) -> Option<Timestamp> {
    if contradicted {
        return timing.contradicted.iter().map(|span| hint_at + *span).find(|at| *at > now);
    }
    Some(hint_at + timing.settle).filter(|at| *at > now)
}

/// Read again this long after access was given back: a stale replica may have shown an enabled user (`reenable_agree`).
pub fn after_reactivate(now: Timestamp, timing: &Timing) -> Timestamp {
    now + timing.reenable_recheck
}

/// When this person is due next; never in the past.
pub fn next_look(wait: Option<Wait>, settle_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let at = [wait.map(|wait| wait.at), settle_at].into_iter().flatten().min()?;
    Some(at.max(now))
}
