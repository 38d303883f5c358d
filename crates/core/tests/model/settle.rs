//! Looking again: `settle`, reads that contradict a hint, the recheck after access came back (FA-15).

use std::time::Duration;

use lockstep_core::plan::{Wait, WaitReason};
use lockstep_core::settle::{HintClaim, after_hint, after_reactivate, contradicts, next_look};
use lockstep_core::timing::Timing;
use serde_json::json;

use crate::world::*;

#[test]
fn every_hint_is_settled_once_after_a_minute() {
    let timing = Timing::default();
    assert_eq!(after_hint(seconds(0), false, seconds(2), &timing), Some(seconds(60)));
    assert_eq!(after_hint(seconds(0), false, seconds(60), &timing), None);
}

#[test]
fn a_contradicted_hint_is_read_at_1_5_and_15_minutes_and_then_alarms() {
    let timing = Timing::default();
    let next = |now| after_hint(seconds(0), true, seconds(now), &timing);
    assert_eq!(
        [next(1), next(60), next(300), next(900)],
        [Some(seconds(60)), Some(seconds(300)), Some(seconds(900)), None]
    );
}

#[test]
fn what_contradicts_a_claim() {
    let mut world = World::with_staff_ada();
    let staff = object(STAFF);
    let contradicted = |world: &World| {
        [HintClaim::Changed, HintClaim::Deleted, HintClaim::MemberAdded(staff), HintClaim::MemberRemoved(staff)]
            .map(|claim| contradicts(claim, &world.user))
    };
    assert_eq!(contradicted(&world), [false, true, false, true]);
    world.reads(json!({}), &[]);
    assert_eq!(contradicted(&world), [false, true, true, false]);
    world.reads_404(true);
    assert_eq!(contradicted(&world), [false, false, false, false]);
}

#[test]
fn leaving_a_group_but_not_the_groups_inside_is_no_contradiction() {
    let mut world = World::with_staff_ada();
    let edge = world.user.membership.edges.get_mut(&object(STAFF)).expect("in");
    edge.direct = Some(false);
    assert!(!contradicts(HintClaim::MemberRemoved(object(STAFF)), &world.user));
}

#[test]
fn the_earliest_reason_to_look_counts_and_never_lies_in_the_past() {
    let wait = |at| Some(Wait { at: seconds(at), reason: WaitReason::ScopeAgree });
    assert_eq!(next_look(None, None, seconds(5)), None);
    assert_eq!(next_look(wait(9), Some(seconds(7)), seconds(5)), Some(seconds(7)));
    assert_eq!(next_look(wait(6), None, seconds(5)), Some(seconds(6)));
    assert_eq!(next_look(wait(1), Some(seconds(7)), seconds(5)), Some(seconds(5)));
    assert_eq!(after_reactivate(seconds(0), &Timing::default()), seconds(0) + Duration::from_secs(300));
}
