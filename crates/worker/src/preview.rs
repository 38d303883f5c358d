//! `rule plan`: who would change under rules that are not saved yet. The same merge, the same decision; nothing is
//! written.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use lockstep_core::field::FieldMap;
use lockstep_core::mirror::{Fresh, MembershipRead, PersonRead, ProfileFound, ProfileRead, Source};
use lockstep_core::plan::{Plan, Step};
use lockstep_core::profile::Profile;
use lockstep_core::record::{Record, Status};
use lockstep_core::rule::RuleSet;
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::{ObjectId, RecordId, Ticket, Timestamp};
use lockstep_graph::GraphClient;
use lockstep_store::{Connection, MirroredGroup, MirroredPerson, People, Store};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::answers::Answers;
use crate::basis::Basis;
use crate::error::WorkerError;
use crate::listing::{Cursor, Fetched, fetch, read_group};
use crate::read::{Facets, Reader, stamp};

/// People shown as examples in a bucket.
const SAMPLE: usize = 10;
/// People compared at a time.
const PAGE: usize = 500;
/// Reads by id in flight, where a listing cannot tell direct members from nested ones.
const READS_AT_ONCE: usize = 8;

/// Who would change, by what would happen to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RulePlan {
    /// A record of their own would be created.
    pub created: Bucket,
    /// An existing record would be linked to them.
    pub linked: Bucket,
    /// A person must decide first.
    pub review: Bucket,
    /// Nothing changes but attributes.
    pub unchanged: Bucket,
    /// Access would be taken.
    pub deactivated: Bucket,
    /// Another kind of record is wanted: a review.
    pub kind_changed: Bucket,
    /// Another role or other permissions.
    pub role_changed: Bucket,
    /// Everyone who would lose access: what a confirmation covers.
    #[serde(skip)]
    pub leaving: Vec<RecordId>,
}

/// How many, and some of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Bucket {
    /// How many people.
    pub count: u64,
    /// The first of them.
    pub sample: Vec<SamplePerson>,
}

/// One person of a sample.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SamplePerson {
    /// Their record, if they have one.
    pub record: Option<RecordId>,
    /// Their object id in Entra.
    pub entra_id: ObjectId,
    /// Their name as Entra gives it.
    pub display_name: Option<String>,
}

/// Who would change under `rules`, from the groups' members as Graph lists them now. Whoever would leave is counted
/// from what is known now; to take their access the sync asks for more.
///
/// # Errors
/// [`WorkerError::GroupMissing`] when a rule names a group that is not there; whatever Graph or the store say.
pub async fn preview_rules(
    store: &Store,
    client: &GraphClient,
    connection: &Connection,
    rules: RuleSet,
    fields: FieldMap,
    defaults: Defaults,
    settings: Settings,
) -> Result<RulePlan, WorkerError> {
    // As it will be when the sync that the rules start has seen every group.
    let first_sync_at = connection.first_sync_at.or_else(|| Some(store.now()));
    let connection = Connection { fields, defaults, settings, first_sync_at, ..connection.clone() };
    let basis = Basis { connection, rules, timing: store.timing().clone(), listing_since: None };
    let mut listed = Listed::default();
    for group in basis.rules.groups() {
        listed.add_group(store, client, group).await?;
    }
    if basis.direct_too() {
        listed.tell_direct(store, client, &basis).await?;
    }
    let mut plan = RulePlan::default();
    let ids: Vec<ObjectId> = listed.people.keys().copied().collect();
    for page in ids.chunks(PAGE) {
        listed.compare(store, client, &basis, page, &mut plan).await?;
    }
    compare_unlisted(store, &basis, &listed, &mut plan).await?;
    Ok(plan)
}

/// What the rules' groups hold now.
#[derive(Default)]
struct Listed {
    groups: Vec<MirroredGroup>,
    /// Groups with other groups inside: their listing does not tell who is a direct member.
    with_nested: BTreeSet<ObjectId>,
    people: BTreeMap<ObjectId, ListedPerson>,
}

struct ListedPerson {
    profile: Option<Profile>,
    groups: BTreeMap<ObjectId, Option<bool>>,
    ticket: Ticket,
    read_at: Timestamp,
}

impl Listed {
    async fn add_group(&mut self, store: &Store, client: &GraphClient, group: ObjectId) -> Result<(), WorkerError> {
        let missing = || WorkerError::GroupMissing { group };
        self.groups.push(read_group(store, client, group).await?.ok_or_else(missing)?);
        let mut cursor = Cursor::default();
        loop {
            let place = stamp(store).await?;
            let Fetched::Page(page, following) = fetch(client, group, &cursor, place).await? else {
                return Err(missing());
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
        profile: Option<Profile>,
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
        for rule in basis.rules.rules().iter().filter(|rule| !rule.nested) {
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

    async fn compare(
        &self,
        store: &Store,
        client: &GraphClient,
        basis: &Basis,
        page: &[ObjectId],
        plan: &mut RulePlan,
    ) -> Result<(), WorkerError> {
        let people = self.merged(store, basis, page).await?;
        let now = store.now();
        let mut answers = Answers::default();
        let first: Vec<Plan> = people.iter().map(|person| answers.plan(basis, person, now)).collect();
        let questions = answers.questions(basis, &people, &first);
        answers.ask(client, questions).await?;
        for person in &people {
            plan.count(person, &answers.plan(basis, person, now));
        }
        Ok(())
    }

    /// The people of a page as the mirror would hold them after the sync: merged in a transaction that is dropped.
    async fn merged(
        &self,
        store: &Store,
        basis: &Basis,
        page: &[ObjectId],
    ) -> Result<Vec<MirroredPerson>, WorkerError> {
        let reads: Vec<PersonRead> = page.iter().filter_map(|user| self.read(*user)).collect();
        let mut tx = store.begin("preview_rules").await?;
        for group in &self.groups {
            tx.mirror_group(&basis.connection, group).await?;
        }
        let mut people = tx.mirror(&basis.connection, &reads).await?;
        // Whoever the sync will have to read by id is expected to be as listed.
        for person in &mut people {
            person.user.fresh = Fresh { profile: true, membership: true };
        }
        Ok(people)
    }

    fn read(&self, user: ObjectId) -> Option<PersonRead> {
        let ListedPerson { profile, groups, ticket, read_at } = self.people.get(&user)?;
        let (ticket, read_at, source) = (*ticket, *read_at, Source::Listing);
        let profile = profile.clone().map(|profile| {
            let found = ProfileFound::Present(Box::new(profile));
            ProfileRead { ticket, read_at, source, found }
        });
        let membership = Some(MembershipRead { ticket, read_at, source, groups: groups.clone() });
        Some(PersonRead { user, profile, membership })
    }
}

/// People we know who are in none of the rules' groups now.
async fn compare_unlisted(
    store: &Store,
    basis: &Basis,
    listed: &Listed,
    plan: &mut RulePlan,
) -> Result<(), WorkerError> {
    let mut after = None;
    loop {
        let people = store.load_people(&basis.connection, People::After(after, PAGE)).await?;
        let Some(last) = people.last().map(|person| person.user.id) else {
            return Ok(());
        };
        for mut person in people {
            if listed.people.contains_key(&person.user.id) {
                continue;
            }
            for group in basis.rules.groups() {
                if let Some(edge) = person.user.membership.edges.get_mut(&group) {
                    edge.present = false;
                }
            }
            plan.count(&person, &basis.plan(&person, None, store.now()));
        }
        after = Some(last);
    }
}

impl RulePlan {
    fn count(&mut self, person: &MirroredPerson, plan: &Plan) {
        let Some(bucket) = self.bucket(person, plan) else {
            return;
        };
        bucket.count += 1;
        if bucket.sample.len() < SAMPLE {
            bucket.sample.push(SamplePerson {
                record: person.record.as_ref().map(|record| record.id),
                entra_id: person.user.id,
                display_name: person
                    .user
                    .profile
                    .present()
                    .and_then(|profile| profile.text("displayName"))
                    .map(str::to_owned),
            });
        }
    }

    fn bucket(&mut self, person: &MirroredPerson, plan: &Plan) -> Option<&mut Bucket> {
        match &person.record {
            Some(record) if record.root => Some(&mut self.unchanged),
            Some(record) if record.status == Status::Active && !plan.desired.reasons.is_empty() => {
                self.leaving.push(record.id);
                Some(&mut self.deactivated)
            }
            Some(record) => Some(self.staying(record, plan)),
            None if plan.steps.iter().any(|step| matches!(step, Step::Create(_))) => Some(&mut self.created),
            None if plan.steps.iter().any(|step| matches!(step, Step::Link { .. } | Step::Rehire { .. })) => {
                Some(&mut self.linked)
            }
            None if !plan.reviews.is_empty() => Some(&mut self.review),
            None => None,
        }
    }

    fn staying(&mut self, record: &Record, plan: &Plan) -> &mut Bucket {
        let Some(grant) = &plan.desired.grant else {
            return &mut self.unchanged;
        };
        if grant.kind != record.kind {
            return &mut self.kind_changed;
        }
        if grant.role != record.role || grant.permissions != record.permissions {
            return &mut self.role_changed;
        }
        if plan.reviews.is_empty() { &mut self.unchanged } else { &mut self.review }
    }
}
