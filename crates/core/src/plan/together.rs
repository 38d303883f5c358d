//! Several people decided at once. Who owns an address is judged by their current snapshots: whoever will have another one
//! gives theirs up, so that a swap or a cycle is one step of all of them (semantics, "Matching").

use std::collections::BTreeSet;

use crate::id::{ObjectId, RecordId};
use crate::matching::{Candidate, email_key};
use crate::plan::{Changes, Observed, Plan, PlanContext, Step};
use crate::profile::{Profile, address_key};
use crate::record::Record;
use crate::username;

/// Whose address or username counts as free, because its holder is decided too and will have another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Leaving {
    emails: BTreeSet<RecordId>,
    usernames: BTreeSet<RecordId>,
}

impl Leaving {
    /// As far as the snapshots say.
    fn by_snapshots(people: &[Observed<'_>], cx: &PlanContext<'_>) -> Self {
        let mut leaving = Self::default();
        for (record, profile) in people.iter().filter_map(linked) {
            let email = email_key(profile);
            if email.is_some() && email != key(&record.email) {
                leaving.emails.insert(record.id);
            }
            if next_usernames(profile, cx)
                .is_some_and(|next| key(&record.username).is_none_or(|has| !next.contains(&has)))
            {
                leaving.usernames.insert(record.id);
            }
        }
        leaving
    }

    /// Takes out everybody who keeps what they have, whatever their snapshot says; `None` when all of them go.
    fn without_those_who_stay(&self, people: &[Observed<'_>], plans: &[Plan]) -> Option<Self> {
        let mut next = self.clone();
        for ((record, _), plan) in people.iter().zip(plans).filter_map(|(person, plan)| Some((linked(person)?, plan))) {
            if !gets_another(plan, |changes| &changes.email, &record.email) {
                next.emails.remove(&record.id);
            }
            if !gets_another(plan, |changes| &changes.username, &record.username) {
                next.usernames.remove(&record.id);
            }
        }
        (next != *self).then_some(next)
    }

    /// What stands in a person's way when these go.
    fn others(&self, candidates: &[Candidate]) -> Vec<Candidate> {
        let mut others = candidates.to_vec();
        for other in &mut others {
            if self.emails.contains(&other.id) {
                other.email_key = None;
            }
            if self.usernames.contains(&other.id) {
                other.username_key = None;
            }
        }
        others.retain(|other| other.email_key.is_some() || other.username_key.is_some());
        others
    }
}

/// The plans of people who are decided in one transaction; `one` plans the person in a place with what stands in their
/// way. Somebody on whom others counted may keep what they have: then those others are planned once more.
pub fn together(
    people: &[Observed<'_>],
    cx: &PlanContext<'_>,
    mut one: impl FnMut(usize, &[Candidate]) -> Plan,
) -> Vec<Plan> {
    let mut leaving = Leaving::by_snapshots(people, cx);
    let mut planned = |leaving: &Leaving| -> Vec<Plan> {
        people.iter().enumerate().map(|(place, person)| one(place, &leaving.others(person.candidates))).collect()
    };
    let mut plans = planned(&leaving);
    // Ends: each round somebody less goes.
    while let Some(next) = leaving.without_those_who_stay(people, &plans) {
        leaving = next;
        plans = planned(&leaving);
    }
    plans
}

/// The directory user who has the address that this person's record would get: to judge whose it is, their snapshot is
/// needed too.
pub fn rival(observed: &Observed<'_>) -> Option<ObjectId> {
    let wanted = email_key(observed.user.profile.present()?)?;
    if observed.record.is_some_and(|record| record.root || key(&record.email).as_ref() == Some(&wanted)) {
        return None;
    }
    let holder = observed.candidates.iter().find(|other| other.email_key.as_ref() == Some(&wanted))?;
    holder.entra_id.filter(|user| holder.within_reach && *user != observed.user.id)
}

fn linked<'a>(person: &Observed<'a>) -> Option<(&'a Record, &'a Profile)> {
    Some((person.record?, person.user.profile.present()?))
}

fn gets_another(plan: &Plan, of: impl Fn(&Changes) -> &Option<Option<String>>, has: &Option<String>) -> bool {
    plan.steps.iter().any(|step| match step {
        Step::Update(changes) => of(changes).as_ref().is_some_and(|next| key(next) != key(has)),
        _ => false,
    })
}

/// The keys this person may end up with.
fn next_usernames(profile: &Profile, cx: &PlanContext<'_>) -> Option<BTreeSet<String>> {
    let name = username::of(profile, cx.settings.username).ok().flatten()?;
    Some(username::keys(&name, cx.settings.number_usernames))
}

fn key(name: &Option<String>) -> Option<String> {
    name.as_deref().map(address_key)
}
