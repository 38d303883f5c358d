//! The log of changes that delta queries read.

use std::collections::VecDeque;

use uuid::Uuid;

use super::schema::Kind;

/// How long a change is kept for delta tokens (graph-contract.md section 5: 7 days). Microseconds.
pub(crate) const TOKEN_LIFETIME: i64 = 7 * 24 * 3600 * 1_000_000;

/// One change of one object.
pub(crate) struct Change {
    pub at: i64,
    pub kind: Kind,
    pub id: Uuid,
    pub what: What,
}

/// What changed.
pub(crate) enum What {
    /// Created, deleted, restored or purged.
    Life,
    /// These properties.
    Properties(Vec<String>),
    /// The membership of this object, one way or the other.
    Member(Uuid),
    /// The user's manager; who it was before.
    Manager(Option<Uuid>),
}

/// All changes of the last days, numbered from 1 without gaps.
#[derive(Default)]
pub(crate) struct ChangeLog {
    changes: VecDeque<Change>,
    forgotten: u64,
}

impl ChangeLog {
    /// Adds the newest change: none may be older than those before it.
    pub fn push(&mut self, change: Change) {
        let now = change.at;
        while self.changes.front().is_some_and(|oldest| oldest.at < now - TOKEN_LIFETIME) {
            self.changes.pop_front();
            self.forgotten += 1;
        }
        self.changes.push_back(change);
    }

    /// The number of the last change, as a replica of that instant knew it.
    pub fn head(&self, instant: Option<i64>) -> u64 {
        let unseen =
            instant.map_or(0, |instant| self.changes.iter().rev().take_while(|change| change.at > instant).count());
        self.forgotten + (self.changes.len() - unseen) as u64
    }

    /// When the change of this number was made; `None` if it is forgotten or there is none.
    pub fn made_at(&self, number: u64) -> Option<i64> {
        let index = number.checked_sub(self.forgotten + 1)?;
        self.changes.get(usize::try_from(index).ok()?).map(|change| change.at)
    }

    /// Changes `from` (exclusive) to `to` (inclusive).
    pub fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &Change> {
        let skip = from.saturating_sub(self.forgotten);
        let take = to.saturating_sub(from.max(self.forgotten));
        self.changes.iter().skip(skip as usize).take(take as usize)
    }
}
