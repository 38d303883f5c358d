//! Reading the directory, as of now or as a lagging replica shows it.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use uuid::Uuid;

use super::object::{Life, Version};
use super::properties::Properties;
use super::schema::Kind;
use super::{Directory, MANAGER, address_key};

/// The directory as seen by one request.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    directory: &'a Directory,
    /// The instant a lagging replica shows; `None` is now.
    instant: Option<i64>,
}

/// One object as a request sees it.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub id: Uuid,
    pub kind: Kind,
    pub life: Life,
    pub properties: &'a Properties,
}

impl<'a> View<'a> {
    pub fn new(directory: &'a Directory, instant: Option<i64>) -> Self {
        Self { directory, instant }
    }

    /// The same, but not older than that instant.
    pub fn not_before(self, instant: Option<i64>) -> Self {
        Self { instant: self.instant.map(|shown| shown.max(instant.unwrap_or(i64::MIN))), ..self }
    }

    pub fn directory(&self) -> &'a Directory {
        self.directory
    }

    pub fn instant(&self) -> Option<i64> {
        self.instant
    }

    /// The object in any state, purged included.
    pub fn any(&self, id: Uuid) -> Option<Seen<'a>> {
        let object = self.directory.objects.get(&id)?;
        let Version { life, properties, .. } = object.at(self.instant)?;
        Some(Seen { id, kind: object.kind, life: *life, properties })
    }

    pub fn live(&self, id: Uuid) -> Option<Seen<'a>> {
        self.any(id).filter(|seen| seen.life == Life::Live)
    }

    pub fn deleted(&self, id: Uuid) -> Option<Seen<'a>> {
        self.any(id).filter(|seen| matches!(seen.life, Life::Deleted { .. }))
    }

    /// The live user of this id or user principal name.
    pub fn user(&self, id_or_upn: &str) -> Option<Seen<'a>> {
        let is_user = |seen: &Seen<'_>| seen.kind == Kind::User;
        if let Ok(id) = Uuid::parse_str(id_or_upn) {
            return self.live(id).filter(is_user);
        }
        let named = |seen: &Seen<'_>| {
            seen.properties.text("userPrincipalName").is_some_and(|upn| upn.eq_ignore_ascii_case(id_or_upn))
        };
        self.at_address(id_or_upn).into_iter().find(|seen| is_user(seen) && named(seen))
    }

    pub fn group(&self, id: &str) -> Option<Seen<'a>> {
        self.live(Uuid::parse_str(id).ok()?).filter(|seen| seen.kind == Kind::Group)
    }

    /// The user's live manager.
    pub fn manager(&self, user: &Seen<'_>) -> Option<Seen<'a>> {
        self.live(Uuid::parse_str(user.properties.text(MANAGER)?).ok()?)
    }

    /// Live objects that may have this address as UPN, mail or proxy address. The index knows only
    /// the present, so a lagging read looks at everyone.
    pub fn at_address(&self, address: &str) -> Vec<Seen<'a>> {
        match self.instant {
            Some(_) => self.all_live(Kind::User, None).collect(),
            None => {
                let ids = self.directory.addresses.get(&address_key(address));
                ids.into_iter().flatten().filter_map(|id| self.live(*id)).collect()
            }
        }
    }

    /// Live objects of this kind by id, after that id.
    pub fn all_live(self, kind: Kind, after: Option<Uuid>) -> impl Iterator<Item = Seen<'a>> {
        self.all(kind, after).filter(|seen| seen.life == Life::Live)
    }

    /// Objects of this kind in any state by id, after that id.
    pub fn all(self, kind: Kind, after: Option<Uuid>) -> impl Iterator<Item = Seen<'a>> {
        let view = self;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.directory.objects.range((from, Bound::Unbounded));
        range.filter(move |(_, object)| object.kind == kind).filter_map(move |(id, _)| view.any(*id))
    }

    pub fn members(&self, group: Uuid) -> Cow<'a, BTreeSet<Uuid>> {
        let object = self.directory.objects.get(&group);
        object.map(|object| object.members.at(self.instant)).unwrap_or_default()
    }

    pub fn parents(&self, id: Uuid) -> Cow<'a, BTreeSet<Uuid>> {
        let object = self.directory.objects.get(&id);
        object.map(|object| object.parents.at(self.instant)).unwrap_or_default()
    }

    /// The live direct members, by id.
    pub fn live_members(&self, group: Uuid) -> Vec<Uuid> {
        self.members(group).iter().copied().filter(|id| self.live(*id).is_some()).collect()
    }

    /// The live groups it is directly in, by id.
    pub fn live_parents(&self, id: Uuid) -> Vec<Uuid> {
        self.parents(id).iter().copied().filter(|group| self.live(*group).is_some()).collect()
    }

    /// Everyone live below this group, by id: members, and members of live groups among them.
    pub fn members_below(&self, group: Uuid) -> Arc<Vec<Uuid>> {
        let cached = self.instant.is_none().then(|| self.directory.cached_closure(group)).flatten();
        cached.unwrap_or_else(|| {
            let closure = Arc::new(self.closure(group, |view, id| view.live_members(id)));
            if self.instant.is_none() {
                self.directory.cache_closure(group, closure.clone());
            }
            closure
        })
    }

    /// Every live group above this object, by id.
    pub fn groups_above(&self, id: Uuid) -> Vec<Uuid> {
        self.closure(id, |view, id| view.live_parents(id))
    }

    /// All that can be reached from `start`, which is not part of it even in a cycle.
    fn closure(&self, start: Uuid, next: impl Fn(&Self, Uuid) -> Vec<Uuid>) -> Vec<Uuid> {
        let mut visited = HashSet::from([start]);
        let mut open = vec![start];
        while let Some(id) = open.pop() {
            open.extend(next(self, id).into_iter().filter(|id| visited.insert(*id)));
        }
        visited.remove(&start);
        let mut found: Vec<_> = visited.into_iter().collect();
        found.sort_unstable();
        found
    }
}
