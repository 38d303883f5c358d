//! A person with all their records, live and archived, through changes of kind.

use std::collections::BTreeSet;

use lockstep_core::RecordId;
use lockstep_core::plan::Observed;
use lockstep_core::plan::kind_change::{KindBasis, KindChange, KindDecision, KindSeen, Next, TakenKeys, decide};
use lockstep_core::profile::address_key;
use lockstep_core::record::{Reason, Record, Status};
use serde_json::Value;

use crate::world::*;

/// One person, all their records, and the reads on the way to another kind.
pub struct Household {
    pub world: World,
    pub former: Vec<Record>,
    seen: Option<KindSeen>,
    next_id: u128,
}

impl Household {
    pub fn of_staff_ada() -> Self {
        Self { world: World::with_staff_ada(), former: Vec::new(), seen: None, next_id: 100 }
    }

    fn taken(&self) -> TakenKeys {
        let records = || self.world.record.iter().chain(&self.former);
        let others = || self.world.others.iter();
        let key = |name: &Option<String>| name.as_deref().map(address_key);
        TakenKeys {
            usernames: records()
                .filter_map(|r| key(&r.username))
                .chain(others().filter_map(|o| o.username_key.clone()))
                .collect(),
            emails: records()
                .filter_map(|r| key(&r.email))
                .chain(others().filter_map(|o| o.email_key.clone()))
                .collect(),
        }
    }

    pub fn decides(&mut self) -> KindDecision {
        let taken = self.taken();
        let observed = Observed {
            user: &self.world.user,
            record: self.world.record.as_ref(),
            candidates: &self.world.others,
            address_owners: None,
            answers: &[],
            confirmed: false,
        };
        let basis = KindBasis { observed, former: &self.former, taken: &taken, seen: self.seen };
        let decision = decide(&basis, &self.world.rules, &self.world.context());
        self.seen = match &decision {
            KindDecision::Wait { seen, .. } => Some(*seen),
            KindDecision::ReadBoth => self.seen,
            KindDecision::Keep | KindDecision::Change(_) => None,
        };
        decision
    }

    /// Two reads that agree, half a minute apart, and the change they lead to.
    pub fn changes_to(&mut self, changes: Value, groups: &[u128]) -> KindChange {
        self.world.pass(3600);
        self.world.reads(changes.clone(), groups);
        assert!(matches!(self.decides(), KindDecision::Wait { .. }), "one read is not enough");
        self.world.pass(30);
        self.world.reads(changes, groups);
        match self.decides() {
            KindDecision::Change(change) => {
                self.takes(&change);
                *change
            }
            other => panic!("{other:?}"),
        }
    }

    /// As the transaction would.
    pub fn takes(&mut self, change: &KindChange) {
        let mut old = self.world.record.take().expect("a live record");
        let by_hand = old.reasons.contains(&Reason::ByHand);
        assert_eq!(change.archive.record, old.id);
        assert_eq!(change.brake.is_some(), old.status == Status::Active, "D6: who loses access counts");
        (old.username, old.email) = (change.archive.username.clone(), change.archive.email.clone());
        (old.reasons, old.status) = (change.archive.reasons.clone(), Status::Archived);
        old.inactive_since = Some(self.world.now);
        let (mut next, role, attributes, reasons) = match &change.next {
            Next::Create { record, reasons } => {
                let mut next = blank_record(record.kind);
                next.id = record_id(self.next_id);
                self.next_id += 1;
                (next, &record.role, &record.attributes, reasons)
            }
            Next::BringBack { record, role, attributes, reasons, .. } => {
                let place = self.former.iter().position(|former| former.id == *record).expect("one of this person's");
                let next = self.former.remove(place);
                assert!(!next.in_use, "M8: what is in use keeps its archived name");
                (next, role, attributes, reasons)
            }
        };
        write(&mut next, attributes);
        next.role.clone_from(role);
        next.reasons.clone_from(reasons);
        next.status = if reasons.is_empty() { Status::Active } else { Status::Inactive };
        assert_eq!(next.reasons.contains(&Reason::ByHand), by_hand, "by_hand is carried over");
        assert_ne!(next.kind, old.kind);
        self.former.push(old);
        self.world.record = Some(next);
        self.holds_together();
    }

    /// G-20, M8: one live login at most, no name twice.
    pub fn holds_together(&self) {
        assert!(self.former.iter().all(|record| record.status == Status::Archived && !record.reasons.is_empty()));
        let records = || self.world.record.iter().chain(&self.former);
        for name in [|record: &Record| record.username.clone(), |record: &Record| record.email.clone()] {
            let names: Vec<String> = records().filter_map(name).map(|name| address_key(&name)).collect();
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
        let ids: BTreeSet<RecordId> = records().map(|record| record.id).collect();
        assert_eq!(ids.len(), records().count());
    }
}
