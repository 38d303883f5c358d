//! The reference model: what access everybody should have, said a second time and as plainly as possible.
//!
//! It knows the truth at every instant, and nothing of reads, tickets, agreements or mirrors. Whatever Lockstep did is
//! held against what was true shortly before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lockstep_core::record::{Kind, Reason};
use uuid::Uuid;

/// One person as Microsoft has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// `accountEnabled`.
    pub enabled: bool,
    /// In deleted items.
    pub deleted: bool,
    /// `userType` is `Guest`.
    pub guest: bool,
    /// Every live group they are in, directly or not.
    pub groups: BTreeSet<Uuid>,
    /// Live groups they are in directly.
    pub direct: BTreeSet<Uuid>,
}

/// Everybody; whoever was purged is absent.
pub type Truth = BTreeMap<Uuid, Person>;

/// One rule, as far as access goes. The first of a list that applies wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRule {
    /// The mapped group.
    pub group: Uuid,
    /// What it gives.
    pub kind: Kind,
    /// What it gives.
    pub role: &'static str,
    /// Members of members count.
    pub nested: bool,
    /// Takes instead of giving, and beats everything else.
    pub exclude: bool,
}

/// Rules in order.
pub type ModelRules = Vec<ModelRule>;

/// The rule that wins; `None`: no rule gives access.
pub fn winner<'a>(person: &Person, rules: &'a [ModelRule]) -> Option<&'a ModelRule> {
    let applies = |rule: &&ModelRule| {
        if rule.nested { person.groups.contains(&rule.group) } else { person.direct.contains(&rule.group) }
    };
    if rules.iter().filter(|rule| rule.exclude).any(|rule| applies(&rule)) {
        return None;
    }
    rules.iter().filter(|rule| !rule.exclude).find(applies)
}

/// Why the account itself keeps a person out, whatever their groups are.
pub fn account_reasons(person: Option<&Person>) -> BTreeSet<Reason> {
    let Some(person) = person.filter(|person| !person.deleted) else {
        return BTreeSet::from([Reason::UpstreamDeleted]);
    };
    let reasons = [(!person.enabled, Reason::UpstreamDisabled), (person.guest, Reason::Guest)];
    reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect()
}

/// Why a person should be out; empty: in.
pub fn reasons(person: Option<&Person>, rules: &[ModelRule]) -> BTreeSet<Reason> {
    let mut reasons = account_reasons(person);
    let is_there = person.filter(|person| !person.deleted);
    if is_there.is_some_and(|person| winner(person, rules).is_none()) {
        reasons.insert(Reason::OutOfScope);
    }
    reasons
}

/// What was true, and which rules were in force, from an instant on.
#[derive(Clone)]
struct Moment {
    at: i64,
    truth: Arc<Truth>,
    rules: Arc<ModelRules>,
}

/// Everything that was ever true. Instants are microseconds of the simulated clock.
#[derive(Clone, Default)]
pub struct Chronicle {
    moments: Vec<Moment>,
}

impl Chronicle {
    /// From now on this is true.
    pub fn note(&mut self, at: i64, truth: Truth, rules: &[ModelRule]) {
        self.moments.push(Moment { at, truth: Arc::new(truth), rules: Arc::new(rules.to_vec()) });
    }

    /// What is true now.
    pub fn now(&self) -> Option<(&Truth, &[ModelRule])> {
        self.moments.last().map(|moment| (&*moment.truth, moment.rules.as_slice()))
    }

    /// Everything that was true at some instant since then.
    fn since(&self, from: i64) -> &[Moment] {
        let began_before = self.moments.iter().rposition(|moment| moment.at <= from);
        &self.moments[began_before.unwrap_or(0)..]
    }

    /// What was true at this instant.
    pub fn at(&self, at: i64) -> Option<(&Truth, &[ModelRule])> {
        self.since(at).first().map(|moment| (&*moment.truth, moment.rules.as_slice()))
    }

    /// Neither this person nor the rules changed since then.
    pub fn is_as_since(&self, person: Uuid, from: i64) -> bool {
        let span = self.since(from);
        span.windows(2)
            .all(|pair| pair[0].truth.get(&person) == pair[1].truth.get(&person) && pair[0].rules == pair[1].rules)
    }

    /// G-09, G-10: since then there was a state, or rules, by which this person was out.
    pub fn was_ever_out(&self, person: Uuid, from: i64) -> bool {
        let span = self.since(from);
        span.iter().any(|state| span.iter().any(|law| !reasons(state.truth.get(&person), &law.rules).is_empty()))
    }

    /// D6: at some instant until then there was a state, or rules, by which this person was out.
    pub fn was_ever_out_until(&self, person: Uuid, until: i64) -> bool {
        let span = self.moments.iter().filter(|moment| moment.at <= until);
        span.clone().any(|moment| !reasons(moment.truth.get(&person), &moment.rules).is_empty())
    }

    /// M7: since then a rule of this kind won for the person, or one of the other kind.
    pub fn was_ever_given(&self, person: Uuid, kind: Kind, from: i64) -> bool {
        let span = self.since(from);
        let gives = |state: &Moment, law: &Moment| {
            let person = state.truth.get(&person);
            person.and_then(|person| winner(person, &law.rules)).is_some_and(|rule| rule.kind == kind)
        };
        span.iter().any(|state| span.iter().any(|law| gives(state, law)))
    }

    /// Since then the account was good at some instant, and the groups gave access at some instant. The two facets are two
    /// reads: replicas may show them at different instants.
    pub fn was_ever_in(&self, person: Uuid, from: i64) -> bool {
        let span = self.since(from);
        let account = span.iter().any(|state| account_reasons(state.truth.get(&person)).is_empty());
        let granted = |state: &Moment, law: &Moment| {
            state.truth.get(&person).is_some_and(|person| winner(person, &law.rules).is_some())
        };
        account && span.iter().any(|state| span.iter().any(|law| granted(state, law)))
    }
}
