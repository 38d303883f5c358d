//! The members of groups that a rules file names and the mirror does not hold: listed into memory, never written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use lockstep_core::mirror::{MembershipRead, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::profile::Profile;
use lockstep_core::rule::Rule;
use lockstep_core::{ObjectId, Ticket, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::Store;
use tokio::sync::Semaphore;

use crate::basis::Basis;
use crate::error::WorkerError;
use crate::listing::{Cursor, Fetched, fetch};
use crate::read::{Facets, Reader, stamp};

/// Reads by id in flight, where a listing cannot tell direct members from nested ones.
const READS_AT_ONCE: usize = 8;

/// What these groups hold now.
#[derive(Default)]
pub(super) struct Listed {
    /// The listed groups.
    groups: BTreeSet<ObjectId>,
    /// Groups with other groups inside: their listing does not tell who is a direct member.
    with_nested: BTreeSet<ObjectId>,
    people: BTreeMap<ObjectId, ListedPerson>,
}

struct ListedPerson {
    profile: Option<Arc<Profile>>,
    groups: BTreeMap<ObjectId, Option<bool>>,
    ticket: Ticket,
    read_at: Timestamp,
}

impl Listed {
    /// Lists every one of these groups, and finds out who is a direct member where a rule asks for it.
    ///
    /// # Errors
    /// [`WorkerError::GroupMissing`] when one is not there.
    pub(super) async fn fetch(
        store: &Store,
        client: &GraphClient,
        basis: &Basis,
        groups: BTreeSet<ObjectId>,
    ) -> Result<Self, WorkerError> {
        let mut listed = Self { groups, ..Self::default() };
        for group in listed.groups.clone() {
            listed.add_group(store, client, group).await?;
        }
        listed.tell_direct(store, client, basis).await?;
        Ok(listed)
    }

    async fn add_group(&mut self, store: &Store, client: &GraphClient, group: ObjectId) -> Result<(), WorkerError> {
        let mut cursor = Cursor::default();
        loop {
            let place = stamp(store).await?;
            let Fetched::Page(page, following) = fetch(client, group, &cursor, place).await? else {
                return Err(WorkerError::GroupMissing { group });
            };
            if !page.groups.is_empty() {
                self.with_nested.insert(group);
            }
            for (user, profile) in page.users {
                self.add_person(user, profile, group, place);
            }
            let Some(next) = following else { return Ok(()) };
            cursor = next;
        }
    }

    fn add_person(
        &mut self,
        user: ObjectId,
        profile: Option<Arc<Profile>>,
        group: ObjectId,
        (ticket, read_at): (Ticket, Timestamp),
    ) {
        let empty = ListedPerson { profile: None, groups: BTreeMap::new(), ticket, read_at };
        let person = self.people.entry(user).or_insert(empty);
        person.profile = profile.or(person.profile.take());
        person.groups.insert(group, None);
        (person.ticket, person.read_at) = (ticket, read_at);
    }

    /// Where a rule counts only direct members: without groups inside everyone is one, otherwise each is read by id.
    async fn tell_direct(&mut self, store: &Store, client: &GraphClient, basis: &Basis) -> Result<(), WorkerError> {
        let mut unclear = Vec::new();
        let direct_only = |rule: &&Rule| !rule.nested && self.groups.contains(&rule.group);
        for rule in basis.rules.rules().iter().filter(direct_only) {
            let members = self.people.iter_mut().filter(|(_, person)| person.groups.contains_key(&rule.group));
            for (user, person) in members {
                if self.with_nested.contains(&rule.group) {
                    unclear.push(*user);
                } else {
                    person.groups.insert(rule.group, Some(true));
                }
            }
        }
        let facets = Facets { profile: false, membership: true, direct_too: true };
        let places = Semaphore::new(READS_AT_ONCE);
        let reader = Reader { store, client, places: &places };
        let reads: Vec<PersonRead> = stream::iter(unclear)
            .map(|user| reader.person(user, facets))
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;
        for read in reads {
            if let (Some(person), Some(membership)) = (self.people.get_mut(&read.user), read.membership) {
                let known: Vec<ObjectId> = person.groups.keys().copied().collect();
                let told = known.iter().filter_map(|group| Some((*group, *membership.groups.get(group)?)));
                person.groups.extend(told.collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    /// As reads that the mirror can be merged with.
    pub(super) fn reads(&self) -> BTreeMap<ObjectId, PersonRead> {
        self.people.iter().map(|(user, person)| (*user, person.read(*user))).collect()
    }

    /// Groups that were listed, and showed this person not.
    pub(super) fn not_showing(&self, user: ObjectId) -> impl Iterator<Item = ObjectId> + '_ {
        let person = self.people.get(&user);
        self.groups.iter().copied().filter(move |group| person.is_none_or(|person| !person.groups.contains_key(group)))
    }
}

impl ListedPerson {
    fn read(&self, user: ObjectId) -> PersonRead {
        let Self { profile, groups, ticket, read_at } = self;
        let (ticket, read_at, source) = (*ticket, *read_at, Source::Listing);
        let profile = profile.clone().map(|profile| {
            let found = ProfileFound::Present(profile);
            ProfileRead { ticket, read_at, source, found }
        });
        let membership = Some(MembershipRead { ticket, read_at, source, groups: groups.clone() });
        PersonRead { user, profile, membership }
    }
}
