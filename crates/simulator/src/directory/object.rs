//! One directory object with the recent past that a lagging replica may still show.

use std::borrow::Cow;
use std::collections::BTreeSet;

use uuid::Uuid;

use super::properties::Properties;
use super::schema::Kind;

/// How far back reads may lag: older states are forgotten. Microseconds.
pub(crate) const REMEMBERED: i64 = 30 * 60 * 1_000_000;

/// Where an object is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Live,
    /// In the deleted items since this instant (microseconds); restorable.
    Deleted {
        at: i64,
    },
    Purged,
}

/// A user, group or device.
pub(crate) struct Object {
    pub kind: Kind,
    versions: Vec<Version>,
    pub members: Edges,
    pub parents: Edges,
}

/// A state and since when it holds.
#[derive(Clone)]
pub(crate) struct Version {
    pub since: i64,
    pub life: Life,
    pub properties: Properties,
}

impl Object {
    pub fn born(kind: Kind, properties: Properties, now: i64) -> Self {
        let versions = vec![Version { since: now, life: Life::Live, properties }];
        Self { kind, versions, members: Edges::default(), parents: Edges::default() }
    }

    /// An object that appears as a skeleton first; both instants may lie ahead.
    pub fn unfolding(kind: Kind, skeleton: Properties, appears: i64, properties: Properties, complete: i64) -> Self {
        let live = |since, properties| Version { since, life: Life::Live, properties };
        let versions = vec![live(appears, skeleton), live(complete, properties)];
        Self { kind, versions, members: Edges::default(), parents: Edges::default() }
    }

    pub fn current(&self) -> &Version {
        &self.versions[self.versions.len() - 1]
    }

    /// The state a replica showed at that instant; `None` before the object existed.
    pub fn at(&self, instant: Option<i64>) -> Option<&Version> {
        match instant {
            None => Some(self.current()),
            Some(instant) => self.versions.iter().rev().find(|version| version.since <= instant),
        }
    }

    pub fn change(&mut self, life: Life, properties: Properties, now: i64) {
        let forgotten = self.versions.iter().skip(1).take_while(|next| next.since < now - REMEMBERED).count();
        self.versions.drain(..forgotten);
        // A change ends the stages of creation that lie ahead.
        self.versions.retain(|version| version.since <= now);
        self.versions.push(Version { since: now, life, properties });
    }
}

/// One side of memberships: whom it leads to now, and what changed lately.
#[derive(Default)]
pub(crate) struct Edges {
    current: BTreeSet<Uuid>,
    recent: Vec<(i64, Uuid, bool)>,
}

impl Edges {
    /// Adds or removes one edge; says whether that changed anything.
    pub fn set(&mut self, to: Uuid, present: bool, now: i64) -> bool {
        let changed = if present { self.current.insert(to) } else { self.current.remove(&to) };
        if changed {
            let forgotten = self.recent.iter().take_while(|(at, ..)| *at < now - REMEMBERED).count();
            self.recent.drain(..forgotten);
            self.recent.push((now, to, present));
        }
        changed
    }

    /// Whom it led to at that instant, found by undoing what came later.
    pub fn at(&self, instant: Option<i64>) -> Cow<'_, BTreeSet<Uuid>> {
        let later = |(at, ..): &&(i64, Uuid, bool)| instant.is_some_and(|instant| *at > instant);
        let undo: Vec<_> = self.recent.iter().rev().take_while(later).collect();
        if undo.is_empty() {
            return Cow::Borrowed(&self.current);
        }
        let mut then = self.current.clone();
        for (_, to, added) in undo {
            if *added {
                then.remove(to)
            } else {
                then.insert(*to)
            };
        }
        Cow::Owned(then)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lagging_replica_shows_the_members_of_that_instant() {
        let (ada, kai) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut edges = Edges::default();
        edges.set(ada, true, 10);
        edges.set(kai, true, 20);
        edges.set(ada, false, 30);

        let at = |instant| edges.at(Some(instant)).iter().copied().collect::<Vec<_>>();
        assert!(at(5).is_empty());
        assert_eq!(at(10), [ada]);
        assert_eq!(at(25), [ada, kai]);
        assert_eq!(at(30), [kai]);
    }

    #[test]
    fn history_is_forgotten_after_half_an_hour_but_the_last_state_stays() {
        let mut object = Object::born(Kind::User, Properties::default(), 0);
        object.change(Life::Deleted { at: 1 }, Properties::default(), 1);
        object.change(Life::Live, Properties::default(), 2 * REMEMBERED);
        assert_eq!(object.at(Some(2)).map(|version| version.life), Some(Life::Deleted { at: 1 }));
        assert!(object.at(Some(0)).is_none(), "the first version is forgotten");
    }
}
