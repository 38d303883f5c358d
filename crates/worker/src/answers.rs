//! What only Graph can answer before a decision stands: who else has an address, and whether a group that somebody left
//! can be read at all. Asked between transactions, never inside one.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::matching::{AddressOwners, Candidate};
use lockstep_core::plan::{Plan, Step, Wait, WaitReason};
use lockstep_core::record::Reason;
use lockstep_core::{ObjectId, Timestamp};
use lockstep_graph::{GraphClient, GroupRead};
use lockstep_store::MirroredPerson;

use crate::basis::Basis;
use crate::error::WorkerError;

/// Answers got so far in one task.
#[derive(Default)]
pub(crate) struct Answers {
    owners: BTreeMap<ObjectId, AddressOwners>,
    /// Groups whose members are hidden from us, or not.
    hidden: BTreeMap<ObjectId, bool>,
}

/// Still to be asked.
#[derive(Default)]
pub(crate) struct Questions {
    addresses: BTreeMap<ObjectId, String>,
    groups: BTreeSet<ObjectId>,
}

impl Questions {
    pub(crate) fn are_none(&self) -> bool {
        self.addresses.is_empty() && self.groups.is_empty()
    }
}

impl Answers {
    /// The plans of people who are decided in one transaction.
    pub(crate) fn plans(&self, basis: &Basis, people: &[MirroredPerson], now: Timestamp) -> Vec<Plan> {
        basis.together(people, now, |person, candidates| self.plan_beside(basis, person, candidates, now))
    }

    fn plan_beside(&self, basis: &Basis, person: &MirroredPerson, candidates: &[Candidate], now: Timestamp) -> Plan {
        let plan = basis.plan_beside(person, candidates, self.owners.get(&person.user.id), now);
        let hidden = |group: &ObjectId| self.hidden.get(group) == Some(&true);
        if takes_for_scope(&plan) && !person.confirmed && left(basis, person).any(|group| hidden(&group)) {
            return without_lost_scope(plan, now + basis.timing.sub_check);
        }
        plan
    }

    /// What stands between these plans and their application.
    pub(crate) fn questions(&self, basis: &Basis, people: &[MirroredPerson], plans: &[Plan]) -> Questions {
        let mut questions = Questions::default();
        for (person, plan) in people.iter().zip(plans) {
            let user = person.user.id;
            if let Some(address) = &plan.ask_address
                && self.owners.get(&user).is_none_or(|known| known.address != *address)
            {
                questions.addresses.insert(user, address.clone());
            }
            // A confirmed plan is evidence of its own: its groups were readable when it was made.
            if takes_for_scope(plan) && !person.confirmed {
                questions.groups.extend(left(basis, person).filter(|group| !self.hidden.contains_key(group)));
            }
        }
        questions
    }

    pub(crate) async fn ask(&mut self, client: &GraphClient, questions: Questions) -> Result<(), WorkerError> {
        if !questions.addresses.is_empty() {
            self.ask_owners(client, questions.addresses).await?;
        }
        for group in questions.groups {
            let hidden = match client.read_group(group).await? {
                GroupRead::Present(group) => group.visibility.as_deref() == Some("HiddenMembership"),
                GroupRead::NotFound => false,
            };
            self.hidden.insert(group, hidden);
        }
        Ok(())
    }

    /// Graph is asked who has these addresses: the mirror cannot know, it holds only people in scope (TH-09).
    async fn ask_owners(
        &mut self,
        client: &GraphClient,
        addresses: BTreeMap<ObjectId, String>,
    ) -> Result<(), WorkerError> {
        let distinct: BTreeSet<&String> = addresses.values().collect();
        let distinct: Vec<String> = distinct.into_iter().cloned().collect();
        let found = client.address_owners(&distinct).await?;
        for (user, address) in addresses {
            let users = found.get(&address).cloned().unwrap_or_default();
            self.owners.insert(user, AddressOwners { address, users });
        }
        Ok(())
    }
}

/// A change of kind leaves the old kind's groups, and so rests on an absence too.
fn takes_for_scope(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| match step {
        Step::Deactivate { reasons } => reasons.contains(&Reason::OutOfScope),
        Step::ChangeKind(_) => true,
        _ => false,
    })
}

/// Mapped groups that the person was in and is not shown in any more.
fn left<'a>(basis: &'a Basis, person: &'a MirroredPerson) -> impl Iterator<Item = ObjectId> + 'a {
    let gone = person.user.membership.edges.iter().filter(|(_, edge)| !edge.present);
    gone.map(|(group, _)| *group).filter(|group| basis.rules.lookup(*group).is_some())
}

/// A group with hidden membership is never absence (G-10 c): what is proven otherwise still counts, the rest is looked
/// at again.
fn without_lost_scope(mut plan: Plan, again: Timestamp) -> Plan {
    for step in &mut plan.steps {
        if let Step::Deactivate { reasons } = step {
            reasons.remove(&Reason::OutOfScope);
        }
    }
    plan.steps.retain(|step| match step {
        Step::Deactivate { reasons } => !reasons.is_empty(),
        Step::ChangeKind(_) => false,
        _ => true,
    });
    plan.wait.get_or_insert(Wait { at: again, reason: WaitReason::ScopeAgree });
    plan
}
