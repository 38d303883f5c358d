//! The brake: G-19, D6; semantics, "The brake"; figures of guarantees §1.

use std::time::Duration;

use lockstep_core::brake::{
    BrakeLimits, CauseClass, Counted, Judgement, LONG, Removal, SHORT, WindowCounts, forecast, judge,
};
use lockstep_core::record::Reason;
use proptest::prelude::*;

use crate::world::{record_id, seconds};

fn removals(lost_scope: u128, revoked: u128) -> Vec<Removal> {
    let removal = |n, class| Removal { record: record_id(n), class, exempt: false };
    let lost = (0..lost_scope).map(|n| removal(n, CauseClass::LostScope));
    lost.chain((0..revoked).map(|n| removal(1000 + n, CauseClass::Revoked))).collect()
}

fn active(people: u32) -> WindowCounts {
    WindowCounts { active_at_start_short: people, active_at_start_long: people, ..WindowCounts::default() }
}

const EVERYBODY: WindowCounts = WindowCounts {
    short_lost_scope: 0,
    short_revoked: 0,
    long_lost_scope: 0,
    long_revoked: 0,
    active_at_start_short: 1_000_000,
    active_at_start_long: 1_000_000,
};

fn gone(judgements: &[Judgement]) -> usize {
    judgements.iter().filter(|judgement| **judgement == Judgement::Go).count()
}

fn let_through(people: u32, lost_scope: u128, revoked: u128) -> usize {
    gone(&judge(&BrakeLimits::default(), &active(people), &EVERYBODY, false, &removals(lost_scope, revoked)))
}

#[test]
fn half_an_hour_by_cause_the_larger_of_people_and_percent() {
    assert_eq!(let_through(100, 90, 0), 20);
    assert_eq!(let_through(1000, 900, 0), 100);
    assert_eq!(let_through(100, 0, 90), 50);
    assert_eq!(let_through(1000, 0, 900), 300);
}

#[test]
fn both_together_no_more_than_half() {
    assert_eq!(let_through(30, 30, 30), 15);
    assert_eq!(let_through(100, 20, 50), 50);
    assert_eq!(let_through(1000, 100, 300), 400);
}

#[test]
fn below_six_people_one_in_half_an_hour() {
    for people in 1..6 {
        assert_eq!(let_through(people, 3, 3), 1, "{people}");
    }
    assert_eq!(let_through(6, 3, 3), 3);
}

#[test]
fn a_single_leaver_is_never_delayed() {
    for people in 1..200 {
        assert_eq!((let_through(people, 1, 0), let_through(people, 0, 1)), (1, 1), "{people}");
    }
}

#[test]
fn the_day_has_limits_of_its_own() {
    let counts =
        |lost, revoked, people| WindowCounts { long_lost_scope: lost, long_revoked: revoked, ..active(people) };
    let go = |counts, removals: Vec<_>| gone(&judge(&BrakeLimits::default(), &counts, &EVERYBODY, false, &removals));
    assert_eq!(go(counts(58, 0, 100), removals(10, 0)), 2, "60 people");
    assert_eq!(go(counts(295, 0, 1000), removals(10, 0)), 5, "30 %");
    assert_eq!(go(counts(0, 149, 200), removals(0, 10)), 1, "150 people");
    assert_eq!(go(counts(40, 34, 100), removals(5, 5)), 1, "75 % together");
}

#[test]
fn all_connections_together_are_limited_too() {
    let installation = WindowCounts { short_revoked: 195, ..active(100) };
    let connection = active(10_000);
    let judged = judge(&BrakeLimits::default(), &connection, &installation, false, &removals(10, 0));
    assert_eq!(gone(&judged), 5);
    assert!(matches!(&judged[5], Judgement::Hold { limit } if limit.contains("installation")), "{:?}", judged[5]);
}

#[test]
fn lost_scope_at_its_limit_does_not_hold_a_revocation() {
    let judged = judge(&BrakeLimits::default(), &active(100), &EVERYBODY, false, &removals(25, 5));
    assert!(judged[20..25].iter().all(|judgement| matches!(judgement, Judgement::Hold { .. })));
    assert!(judged[25..].iter().all(|judgement| *judgement == Judgement::Go));
}

#[test]
fn at_a_first_sync_the_removals_are_one_hold() {
    let mut all = removals(1, 1);
    all.push(Removal { exempt: true, ..all[0] });
    let judged = judge(&BrakeLimits::default(), &active(1000), &EVERYBODY, true, &all);
    assert!(matches!(judged[0], Judgement::Hold { .. }) && judged[0] == judged[1]);
    assert_eq!(judged[2], Judgement::Go, "a confirmed plan is an answer already");
}

#[test]
fn a_disabled_person_who_also_lost_scope_counts_as_revoked() {
    let class = |reasons: &[Reason]| CauseClass::of(&reasons.iter().copied().collect());
    assert_eq!(class(&[Reason::UpstreamDisabled, Reason::OutOfScope]), CauseClass::Revoked);
    assert_eq!(class(&[Reason::UpstreamDeleted]), CauseClass::Revoked);
    assert_eq!(class(&[Reason::OutOfScope]), CauseClass::LostScope);
    assert_eq!(class(&[Reason::Guest]), CauseClass::LostScope);
}

/// The sentence of guarantees §1, apart from the code: how many may have gone in all.
fn within_limits(people: u32, lost: u32, revoked: u32) -> bool {
    let share = |percent: u32| people * percent / 100;
    let together = if people < 6 { 1 } else { share(50) };
    lost <= share(10).max(20)
        && revoked <= share(30).max(50)
        && lost + revoked <= together
        && lost <= share(30).max(60)
        && revoked <= share(60).max(150)
        && lost + revoked <= share(75).max(1)
        && lost + revoked <= 50_000
}

proptest! {
    #[test]
    fn never_more_than_the_limit_and_only_the_excess_is_held(
        people in 0_u32..2000,
        given in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.1)), 0..400),
        cut in 0_usize..400,
    ) {
        let class = |revoked| if revoked { CauseClass::Revoked } else { CauseClass::LostScope };
        let all: Vec<Removal> = given
            .iter()
            .map(|(revoked, exempt)| Removal { record: record_id(1), class: class(*revoked), exempt: *exempt })
            .collect();
        let limits = BrakeLimits::default();
        let judged = judge(&limits, &active(people), &EVERYBODY, false, &all);
        let (mut lost, mut revoked) = (0, 0);
        for (removal, judgement) in all.iter().zip(&judged) {
            let next = match removal.class {
                CauseClass::LostScope => (lost + 1, revoked),
                CauseClass::Revoked => (lost, revoked + 1),
            };
            let expected = removal.exempt || within_limits(people, next.0, next.1);
            prop_assert_eq!(*judgement == Judgement::Go, expected);
            if expected && !removal.exempt {
                (lost, revoked) = next;
            }
        }

        // Two transactions one after the other let through what one would.
        let (first, second) = all.split_at(cut.min(all.len()));
        let mut counts = active(people);
        let mut apart = judge(&limits, &counts, &EVERYBODY, false, first);
        for (removal, judgement) in first.iter().zip(&apart) {
            if *judgement == Judgement::Go && !removal.exempt {
                counts.count(removal.class);
            }
        }
        apart.extend(judge(&limits, &counts, &EVERYBODY, false, second));
        prop_assert_eq!(apart, judged);
    }
}

/// What the store would count of these.
fn counts(counted: &[Counted], people: u32, now: lockstep_core::Timestamp) -> WindowCounts {
    let within = |window: Duration, class| {
        let counts = counted.iter().filter(|one| one.class == class && one.at + window > now).count();
        u32::try_from(counts).expect("few")
    };
    WindowCounts {
        short_lost_scope: within(SHORT, CauseClass::LostScope),
        short_revoked: within(SHORT, CauseClass::Revoked),
        long_lost_scope: within(LONG, CauseClass::LostScope),
        long_revoked: within(LONG, CauseClass::Revoked),
        ..active(people)
    }
}

#[test]
fn d6_the_forecast_says_how_many_more_in_how_many_minutes() {
    let now = seconds(1_000_000);
    let lost = |seconds_ago| Counted { at: now - Duration::from_secs(seconds_ago), class: CauseClass::LostScope };
    let ahead = |here: &[Counted], people| {
        let limits = BrakeLimits::default();
        let class = CauseClass::LostScope;
        forecast(&limits, &counts(here, people, now), &EVERYBODY, here, &[], class, now).words(now)
    };
    let eleven: Vec<Counted> = (0..11).map(|n| lost(600 - n)).collect();
    assert_eq!(
        ahead(&eleven, 100),
        "10 more in the next 20 minutes would trip it (lost scope: 20 people in 30 minutes)"
    );
    assert_eq!(ahead(&[], 100), "21 more would trip it (lost scope: 20 people in 30 minutes)");
    let twenty: Vec<Counted> = (0..20).map(|n| lost(1200 + n)).collect();
    assert_eq!(ahead(&twenty, 100), "the next one within 10 minutes is held (lost scope: 20 people in 30 minutes)");
    assert_eq!(
        ahead(&[lost(1740)], 4),
        "the next one within 1 minute is held (small connection, lost scope and revoked together: 1 people in 30 minutes)"
    );
}

proptest! {
    /// The forecast is what the brake then does: one fewer all go, the last of them is held by the limit that was named; and
    /// when it eases there is room for at least one more.
    #[test]
    fn d6_the_forecast_comes_true(
        people in 1..400_u32,
        ages in prop::collection::vec((0..90_000_u64, any::<bool>()), 0..60),
        revoked in any::<bool>(),
    ) {
        let class_of = |revoked| if revoked { CauseClass::Revoked } else { CauseClass::LostScope };
        let (now, class, limits) = (seconds(1_000_000), class_of(revoked), BrakeLimits::default());
        let counted: Vec<Counted> = ages
            .iter()
            .map(|(age, revoked)| Counted { at: now - Duration::from_secs(*age), class: class_of(*revoked) })
            .filter(|one| one.at + LONG > now)
            .collect();
        let at = |now| {
            let counts = counts(&counted, people, now);
            (counts, forecast(&limits, &counts, &counts, &counted, &counted, class, now))
        };
        let (counts, ahead) = at(now);
        let removal = |n| Removal { record: record_id(n), class, exempt: false };
        let removals: Vec<Removal> = (0..u128::from(ahead.more)).map(removal).collect();
        let judged = judge(&limits, &counts, &counts, false, &removals);
        prop_assert_eq!(gone(&judged), removals.len() - 1, "{:?}", ahead);
        prop_assert_eq!(judged.last(), Some(&Judgement::Hold { limit: ahead.limit.clone() }));
        if let Some(eases_at) = ahead.eases_at {
            prop_assert!(eases_at > now);
            let then = at(eases_at).1;
            prop_assert!(then.more > ahead.more, "{ahead:?} and then {then:?}");
        }
    }
}
