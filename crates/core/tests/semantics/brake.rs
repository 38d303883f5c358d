//! The brake (D6, G-19). Windows, locks, holds and their answers are the store's.

use lockstep_core::brake::{
    ASKED_AGAIN, BrakeLimits, CauseClass, HeldAs, HoldAnswer, Judgement, Removal, Standing, WindowCounts, judge,
};
use lockstep_core::plan::Step;
use lockstep_core::record::Reason;
use lockstep_core::rule::{Rule, RuleSet};
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

/// Ada is out by this plan's reasons, and on a hold for lost scope with this answer.
fn judged(world: &World, answer: &HoldAnswer, exempt: bool) -> Option<Judgement> {
    let cause = [Reason::OutOfScope].into();
    let held = HeldAs { class: CauseClass::LostScope, cause, answer: answer.clone() };
    let steps = world.plan().steps;
    let reasons = steps.iter().find_map(|step| match step {
        Step::Deactivate { reasons } => Some(reasons),
        _ => None,
    });
    let reasons = reasons.unwrap_or_else(|| panic!("no removal: {steps:?}"));
    held.judgement(&world.user, reasons, &world.rules, exempt)
}

/// Ada has left every mapped group, as two reads agree.
fn ada_left() -> World {
    let mut world = World::with_staff_ada();
    agree(&mut world);
    world
}

/// Two reads that show nobody's groups, as far apart as `scope_agree` wants.
fn agree(world: &mut World) {
    for _ in 0..2 {
        world.pass(11);
        world.reads(json!({}), &[]);
        world.user.agreements = world.plan().agreements;
    }
}

fn asked_again() -> Option<Judgement> {
    Some(Judgement::Hold { limit: ASKED_AGAIN.to_owned() })
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

    leaving_a_hold: "A held person leaves the hold only by approval, rejection, being read back (in scope again; for a kind change: the old kind's rule wins again), or a *new cause class* (held for lost scope, then disabled in Microsoft: judged as a revocation at once). Time, attribute changes and settles never let anyone out." => {
        let mut world = ada_left();
        assert_eq!(judged(&world, &HoldAnswer::Awaited, false), Some(Judgement::Stay));
        for _ in 0..3 {
            world.pass(3 * 24 * 60 * 60);
            world.reads(json!({"displayName": "Ada King", "jobTitle": "Lead"}), &[]);
            assert_eq!(judged(&world, &HoldAnswer::Awaited, false), Some(Judgement::Stay));
        }
        world.reads(json!({"accountEnabled": false}), &[]);
        assert_eq!(judged(&world, &HoldAnswer::Awaited, false), None, "judged at once");
    }

    approved: "Approve means *this list*: everyone on it is read again first, those back in scope are skipped; approved people do not count against the window." => {
        let mut world = ada_left();
        world.pass(5);
        let yes = HoldAnswer::Approved(world.now);
        world.pass(5);
        assert_eq!(judged(&world, &yes, false), Some(Judgement::Stay), "not from memory");
        world.reads_profile(json!({}));
        assert_eq!(judged(&world, &yes, false), Some(Judgement::Stay), "both facets");
        world.reads_groups(&[]);
        assert_eq!(judged(&world, &yes, false), Some(Judgement::Approved));
        world.reads(json!({"accountEnabled": false}), &[]);
        assert_eq!(judged(&world, &yes, false), Some(Judgement::Approved), "what they were held for still stands");
        world.reads(json!({"accountEnabled": false}), &[STAFF]);
        assert_eq!(judged(&world, &yes, false), None, "a cause that nobody was shown");
        world.reads(json!({}), &[STAFF]);
        assert!(!world.plan().steps.iter().any(|step| matches!(step, Step::Deactivate { .. })), "back in scope");
        let mut deleted = ada_left();
        let yes = HoldAnswer::Approved(deleted.now);
        deleted.pass(5);
        deleted.reads_404(true);
        assert_eq!(judged(&deleted, &yes, false), None, "deleted meanwhile is judged by itself");
    }

    rejected: "Reject keeps them, and a later disable or delete is a new cause, judged at once; otherwise they are asked about again only when their enabled state, existence, memberships or the rules change." => {
        /// Nested in a mapped group.
        const INSIDE: u128 = 0x20;
        let left = ada_left();
        let standing = Standing::of(&left.user, &left.rules);
        let no = HoldAnswer::Rejected(standing.clone());
        let after = |changes: serde_json::Value, groups: &[u128]| {
            let mut world = ada_left();
            world.pass(24 * 60 * 60);
            world.reads(changes, groups);
            judged(&world, &no, false)
        };
        assert_eq!(judged(&left, &no, false), Some(Judgement::Keep));
        assert_eq!(after(json!({"displayName": "Ada King", "jobTitle": "Lead"}), &[]), Some(Judgement::Keep));
        assert_eq!(after(json!({"accountEnabled": false}), &[]), None, "disabled");
        assert_eq!(after(json!({}), &[BANNED]), asked_again(), "memberships");
        assert_eq!(after(json!({}), &[INSIDE]), Some(Judgement::Keep), "a group inside, which no listing had told of");
        let mut deleted = ada_left();
        deleted.reads_404(true);
        assert_eq!(judged(&deleted, &no, false), None, "deleted");
        let under = |rules: RuleSet, no: &HoldAnswer| {
            let mut world = ada_left();
            world.rules = rules;
            agree(&mut world);
            judged(&world, no, false)
        };
        let version = left.rules.version + 1;
        let rules = |rules: Vec<Rule>| RuleSet::build(version, rules).expect("one rule a group");
        let same = left.rules.rules().to_vec();
        assert_eq!(under(rules(same[1..].to_vec()), &no), asked_again(), "rules");
        assert_eq!(under(rules(same.clone()), &no), Some(Judgement::Keep), "put in force once more, as they were");
        let of_old = HoldAnswer::Rejected(Standing { rules: None, ..standing });
        assert_eq!(under(rules(same), &of_old), asked_again(), "who knows what they were");
        // Who was kept although disabled: a deletion is news, the same disable is not.
        let mut disabled = ada_left();
        disabled.reads(json!({"accountEnabled": false}), &[]);
        let no = HoldAnswer::Rejected(Standing::of(&disabled.user, &disabled.rules));
        assert_eq!(judged(&disabled, &no, false), Some(Judgement::Keep));
        disabled.reads_404(true);
        assert_eq!(judged(&disabled, &no, false), None);
    }

    confirmed_among_held: "A rule plan confirmed with `--yes` exempts exactly the people on the shown plan." => {
        let world = ada_left();
        let no = HoldAnswer::Rejected(Standing::of(&world.user, &world.rules));
        for answer in [HoldAnswer::Awaited, HoldAnswer::Approved(world.now), no] {
            assert_eq!(judged(&world, &answer, true), Some(Judgement::Approved), "{answer:?}");
        }
    }
}
