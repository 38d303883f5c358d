//! `rule plan`: who would change under rules that are not saved yet. The same merge, the same decision; nothing is
//! written. Groups that are mirrored are taken from the mirror, others are listed into memory.

use std::collections::BTreeSet;

use lockstep_core::field::FieldMap;
use lockstep_core::mirror::Fresh;
use lockstep_core::plan::Plan;
use lockstep_core::preview::{ChangedValue, Outlook, foresee};
use lockstep_core::record::Status;
use lockstep_core::rule::{Rule, RuleSet};
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::{ObjectId, RecordId};
use lockstep_graph::GraphClient;
use lockstep_store::{Connection, MirroredGroup, MirroredPerson, People, Store};
use serde::Serialize;

use crate::answers::Answers;
use crate::basis::Basis;
use crate::error::WorkerError;
use crate::listing::scope;

mod listed;

use listed::Listed;

/// People shown as examples in a bucket.
const SAMPLE: usize = 10;
/// People compared at a time.
const PAGE: usize = 500;

/// Who would change, by what would happen to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RulePlan {
    /// A record of their own would be created.
    pub created: Bucket,
    /// An existing record would be linked to them.
    pub linked: Bucket,
    /// A person must decide first.
    pub review: Bucket,
    /// Nothing changes.
    pub unchanged: Bucket,
    /// Access would be taken.
    pub deactivated: Bucket,
    /// Their record would be archived and one of another kind take its place.
    pub kind_changed: Bucket,
    /// Another role or other permissions.
    pub role_changed: Bucket,
    /// Access would come back.
    pub reactivated: Bucket,
    /// Only mapped attributes change.
    pub attributes_changed: Bucket,
    /// Everyone for whom something changes, the weightiest first.
    #[serde(skip)]
    pub people: Vec<PlannedPerson>,
    /// Everyone who would lose access: what a confirmation covers.
    #[serde(skip)]
    pub leaving: Vec<RecordId>,
    /// Groups that are not mirrored: a sync must list them before the rules take effect.
    #[serde(skip)]
    pub unmirrored: BTreeSet<ObjectId>,
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

/// One person of the full list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedPerson {
    /// The bucket.
    pub what: Outlook,
    /// Who.
    #[serde(flatten)]
    pub person: SamplePerson,
    /// The group whose rule wins.
    pub rule: Option<ObjectId>,
    /// What differs.
    pub changes: Vec<ChangedValue>,
}

/// Who would change under `rules`. Whoever would leave is counted from what is known now; to take their access without a
/// confirmation the sync asks for more.
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
    let unmirrored = unmirrored(&rules, &store.rule_set(connection.id).await?, &scope(store, connection).await?);
    // As it will be when the sync that the rules start has seen every group.
    let first_sync_at = connection.first_sync_at.or_else(|| Some(store.now()));
    let connection = Connection { fields, defaults, settings, first_sync_at, ..connection.clone() };
    let basis = Basis { connection, rules: rules.into(), timing: store.timing().clone(), listing_since: None };
    let listed = Listed::fetch(store, client, &basis, unmirrored.clone()).await?;
    let preview = Preview { store, client, basis: &basis, listed: &listed };
    let mut plan = preview.compare_everyone().await?;
    plan.unmirrored = unmirrored;
    plan.people.sort_by_key(|person| person.what);
    Ok(plan)
}

/// A group is mirrored when the rules in force name it and its members were listed to the end; where only direct members
/// count now and did not before, the mirror cannot tell them.
fn unmirrored(rules: &RuleSet, in_force: &RuleSet, known: &[MirroredGroup]) -> BTreeSet<ObjectId> {
    let listed = |group: ObjectId| known.iter().any(|one| one.id == group && one.present && one.listed_at.is_some());
    let told = |rule: &Rule| in_force.lookup(rule.group).is_some_and(|before| rule.nested || !before.nested);
    rules.rules().iter().filter(|rule| !(listed(rule.group) && told(rule))).map(|rule| rule.group).collect()
}

struct Preview<'a> {
    store: &'a Store,
    client: &'a GraphClient,
    basis: &'a Basis,
    listed: &'a Listed,
}

impl Preview<'_> {
    /// First everybody in the mirror, then those whom only the listings showed.
    async fn compare_everyone(&self) -> Result<RulePlan, WorkerError> {
        let mut plan = RulePlan::default();
        let mut reads = self.listed.reads();
        let mut after = None;
        loop {
            let which = People::After(after, PAGE);
            let people = self.store.foresee_people(&self.basis.connection, which, &reads).await?;
            let Some(last) = people.last().map(|person| person.user.id) else { break };
            for person in &people {
                reads.remove(&person.user.id);
            }
            self.compare(people, &mut plan).await?;
            after = Some(last);
        }
        let strangers: Vec<ObjectId> = reads.keys().copied().collect();
        for page in strangers.chunks(PAGE) {
            let people = self.store.foresee_people(&self.basis.connection, People::Ids(page), &reads).await?;
            self.compare(people, &mut plan).await?;
        }
        Ok(plan)
    }

    async fn compare(&self, mut people: Vec<MirroredPerson>, plan: &mut RulePlan) -> Result<(), WorkerError> {
        for person in &mut people {
            self.expect(person);
        }
        let now = self.store.now();
        let mut answers = Answers::default();
        let mut plans = answers.plans(self.basis, &people, now);
        let questions = answers.questions(self.basis, &people, &plans);
        if !questions.are_none() {
            answers.ask(self.client, questions).await?;
            plans = answers.plans(self.basis, &people, now);
        }
        for (person, planned) in people.iter().zip(&plans) {
            plan.count(person, planned);
        }
        Ok(())
    }

    /// Whoever the sync will have to read by id is expected to be as the mirror and the listings have them.
    fn expect(&self, person: &mut MirroredPerson) {
        person.user.fresh = Fresh { profile: true, membership: true };
        for group in self.listed.not_showing(person.user.id) {
            if let Some(edge) = person.user.membership.edges.get_mut(&group) {
                edge.present = false;
            }
        }
    }
}

impl RulePlan {
    /// Each bucket with its name.
    pub fn buckets(&self) -> [(Outlook, &Bucket); 9] {
        [
            (Outlook::Created, &self.created),
            (Outlook::Linked, &self.linked),
            (Outlook::Review, &self.review),
            (Outlook::Unchanged, &self.unchanged),
            (Outlook::Deactivated, &self.deactivated),
            (Outlook::KindChanged, &self.kind_changed),
            (Outlook::RoleChanged, &self.role_changed),
            (Outlook::Reactivated, &self.reactivated),
            (Outlook::AttributesChanged, &self.attributes_changed),
        ]
    }

    fn bucket(&mut self, outlook: Outlook) -> &mut Bucket {
        match outlook {
            Outlook::Created => &mut self.created,
            Outlook::Linked => &mut self.linked,
            Outlook::Review => &mut self.review,
            Outlook::Unchanged => &mut self.unchanged,
            Outlook::Deactivated => &mut self.deactivated,
            Outlook::KindChanged => &mut self.kind_changed,
            Outlook::RoleChanged => &mut self.role_changed,
            Outlook::Reactivated => &mut self.reactivated,
            Outlook::AttributesChanged => &mut self.attributes_changed,
        }
    }

    fn count(&mut self, person: &MirroredPerson, plan: &Plan) {
        let Some(foreseen) = foresee(person.record.as_ref(), plan) else {
            return;
        };
        let what = foreseen.outlook;
        let record = person.record.as_ref().map(|record| record.id);
        let active = person.record.as_ref().is_some_and(|record| record.status == Status::Active);
        // D6: whoever changes the kind loses a login.
        if what == Outlook::Deactivated || (what == Outlook::KindChanged && active) {
            self.leaving.extend(record);
        }
        let bucket = self.bucket(what);
        bucket.count += 1;
        if what == Outlook::Unchanged && bucket.sample.len() >= SAMPLE {
            return;
        }
        let name = person.user.profile.present().and_then(|profile| profile.text("displayName"));
        let shown = SamplePerson { record, entra_id: person.user.id, display_name: name.map(str::to_owned) };
        if bucket.sample.len() < SAMPLE {
            bucket.sample.push(shown.clone());
        }
        if what != Outlook::Unchanged {
            let rule = plan.desired.grant.as_ref().map(|grant| grant.group);
            self.people.push(PlannedPerson { what, person: shown, rule, changes: foreseen.changes });
        }
    }
}
