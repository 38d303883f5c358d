//! A person with all their records, live and archived, through changes of kind.

use lockstep_core::desired::{DecisionSettings, desired};
use lockstep_core::plan::Step;
use lockstep_core::plan::kind_change::{KindChange, KindDecision, decide};
use serde_json::Value;

use crate::world::*;

/// One person and the reads on the way to another kind.
pub struct Household {
    pub world: World,
}

impl Household {
    pub fn of_staff_ada() -> Self {
        Self { world: World::with_staff_ada() }
    }

    /// What the kind alone asks for; the plan is applied, but for a change of kind.
    pub fn decides(&mut self) -> KindDecision {
        let wanted = desired(&self.world.user, &self.world.rules, &DecisionSettings { guests: self.world.guests });
        let decision =
            self.world.observed(|observed| decide(observed, &wanted, &self.world.rules, &self.world.context()));
        self.takes_all_but_a_change();
        decision
    }

    /// As where the brake holds the change.
    pub fn takes_all_but_a_change(&mut self) {
        let plan = self.world.plan();
        self.world.user.agreements = plan.agreements;
        plan.steps.iter().filter(|step| !matches!(step, Step::ChangeKind(_))).for_each(|step| self.world.apply(step));
    }

    /// Two reads that agree, half a minute apart, and the change they lead to.
    pub fn changes_to(&mut self, changes: Value, groups: &[u128]) -> KindChange {
        self.world.pass(3600);
        self.world.reads(changes.clone(), groups);
        assert!(changed(&self.world.settles().steps).is_none(), "one read is not enough");
        self.world.pass(30);
        self.world.reads(changes, groups);
        changed(&self.world.settles().steps).expect("two reads agree")
    }
}

/// The change of kind among these steps.
pub fn changed(steps: &[Step]) -> Option<KindChange> {
    steps.iter().find_map(|step| match step {
        Step::ChangeKind(change) => Some((**change).clone()),
        _ => None,
    })
}
