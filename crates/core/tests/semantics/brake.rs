//! The brake (D6, G-19). Windows, locks, holds and their answers are the store's.

use lockstep_core::brake::{BrakeLimits, CauseClass, Judgement, Removal, WindowCounts, judge};
use lockstep_core::plan::Step;
use lockstep_core::record::Reason;
use serde_json::json;

use crate::world::*;

fn people(active: u32) -> WindowCounts {
    WindowCounts { active_at_start_short: active, active_at_start_long: active, ..WindowCounts::default() }
}

fn leavers(count: u128, class: CauseClass) -> Vec<Removal> {
    (0..count).map(|n| Removal { record: record_id(n), class, exempt: false }).collect()
}

fn went(judged: &[Judgement]) -> usize {
    judged.iter().filter(|judgement| **judgement == Judgement::Go).count()
}

fn let_through(here: &WindowCounts, everywhere: &WindowCounts, removals: &[Removal]) -> usize {
    went(&judge(&BrakeLimits::default(), here, everywhere, false, removals))
}

sentences! {
    by_cause: "It counts people who would lose access, by cause: verified revocation (disabled, deleted), or lost scope (no rule left, became a guest, kind change: held as the whole step)" => {
        let class = |reasons: &[Reason]| CauseClass::of(&reasons.iter().copied().collect());
        for reason in [Reason::UpstreamDisabled, Reason::UpstreamDeleted] {
            assert_eq!(class(&[reason]), CauseClass::Revoked);
            assert_eq!(class(&[Reason::OutOfScope, Reason::Guest, reason]), CauseClass::Revoked);
        }
        for reason in [Reason::OutOfScope, Reason::Guest, Reason::KindChanged] {
            assert_eq!(class(&[reason]), CauseClass::LostScope);
        }
    }

    windows: "per connection and for the installation, in sliding windows of 30 min and 24 h, against the limits of `guarantees.md`" => {
        let (many, lost, revoked) = (people(1_000_000), CauseClass::LostScope, CauseClass::Revoked);
        assert_eq!(let_through(&people(100), &many, &leavers(99, lost)), 20);
        assert_eq!(let_through(&people(300), &many, &leavers(299, lost)), 30, "10 %");
        assert_eq!(let_through(&people(110), &many, &leavers(99, revoked)), 50);
        assert_eq!(let_through(&people(300), &many, &leavers(299, revoked)), 90, "30 %");
        assert_eq!(let_through(&people(20), &many, &leavers(19, revoked)), 10, "together half");
        let day = WindowCounts { long_lost_scope: 59, ..people(100) };
        assert_eq!(let_through(&day, &many, &leavers(9, lost)), 1, "60 in 24 h");
        assert_eq!(let_through(&people(10_000), &people(100), &leavers(999, revoked)), 200, "the installation");
        assert_eq!(let_through(&people(10_000), &people(10_000), &leavers(999, revoked)), 500, "5 %");
    }

    single_leaver: "A single leaver under the limit is never delayed." => {
        for active in 1..300 {
            for class in [CauseClass::LostScope, CauseClass::Revoked] {
                assert_eq!(let_through(&people(active), &people(active), &leavers(1, class)), 1, "{active}");
            }
        }
    }

    eight_workers: "Eight workers together let through exactly the limit." => {
        let (mut here, mut everywhere, mut gone) = (people(100), people(1000), 0);
        for _worker in 0..8 {
            let removals = leavers(7, CauseClass::LostScope);
            let judged = judge(&BrakeLimits::default(), &here, &everywhere, false, &removals);
            for _ in judged.iter().filter(|judgement| **judgement == Judgement::Go) {
                here.count(CauseClass::LostScope);
                everywhere.count(CauseClass::LostScope);
                gone += 1;
            }
        }
        assert_eq!(gone, 20, "each judged after what the one before it counted");
    }

    first_sync: "at a first sync the removals are one hold" => {
        let judged = judge(&BrakeLimits::default(), &people(1000), &people(1000), true, &leavers(3, CauseClass::Revoked));
        assert_eq!(went(&judged), 0);
    }

    only_the_excess: "Tripped: only the excess is held; creates, updates and other connections go on." => {
        let judged = judge(&BrakeLimits::default(), &people(100), &people(1000), false, &leavers(25, CauseClass::LostScope));
        assert!(judged[..20].iter().all(|judgement| *judgement == Judgement::Go));
        assert!(judged[20..].iter().all(|judgement| matches!(judgement, Judgement::Hold { limit } if limit.contains("20"))));
        let tripped = WindowCounts { short_lost_scope: 20, ..people(1000) };
        assert_eq!(let_through(&people(100), &tripped, &leavers(1, CauseClass::LostScope)), 1, "another connection");
        let mut world = World::with_staff_ada();
        world.reads(json!({"accountEnabled": false, "jobTitle": "Lead"}), &[STAFF]);
        let steps = world.plan().steps;
        let kinds: Vec<_> = steps.iter().map(|step| matches!(step, Step::Deactivate { .. })).collect();
        assert_eq!(kinds, [true, false], "an update is a step of its own: {steps:?}");
    }

    confirmed_plan: "A rule plan confirmed with `--yes` exempts exactly the people on the shown plan." => {
        let mut removals = leavers(30, CauseClass::LostScope);
        removals.iter_mut().skip(5).for_each(|removal| removal.exempt = true);
        let judged = judge(&BrakeLimits::default(), &people(4), &people(4), false, &removals);
        assert_eq!(judged.iter().take(5).filter(|judgement| **judgement == Judgement::Go).count(), 1, "the others count");
        assert!(judged[5..].iter().all(|judgement| *judgement == Judgement::Go), "exempt people do not count");
    }
}
