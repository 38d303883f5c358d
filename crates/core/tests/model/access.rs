//! Access taken and given back: G-09, G-10, G-17, G-24, M6, M7; semantics, "Leaving and coming back".

use lockstep_core::desired::Unknown;
use lockstep_core::mirror::Source;
use lockstep_core::plan::{Step, Wait, WaitReason};
use lockstep_core::record::{Kind, Reason, Status};
use lockstep_core::rule::{Rule, RuleSet};
use serde_json::json;

use crate::world::*;

fn takes_access(steps: &[Step]) -> bool {
    steps.iter().any(|step| matches!(step, Step::Deactivate { .. }))
}

#[test]
fn g10a_a_disabled_account_loses_access_on_one_read_by_id() {
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"accountEnabled": false}));
    let plan = world.settles();
    assert_eq!(plan.steps, [Step::Deactivate { reasons: [Reason::UpstreamDisabled].into() }]);
    assert_eq!(plan.wait, None);
}

/// For exactly the people on a confirmed plan, and for lost scope alone: whoever is in by the rules of now stays, and what
/// lies in the user still wants a read by id.
#[test]
fn g10e_on_a_confirmed_plan_lost_scope_waits_for_no_read() {
    let mut world = World::with_staff_ada();
    world.rules = RuleSet::build(2, vec![rule(ADMINS, 10)]).expect("one rule a group");
    assert_eq!(world.plan().steps, [], "not confirmed: two reads that agree");
    assert!(world.plan().wait.is_some());
    world.confirmed = true;
    let plan = world.settles();
    assert_eq!(plan.steps, [Step::Deactivate { reasons: [Reason::OutOfScope].into() }]);
    assert_eq!((plan.wait, plan.agreements.loss), (None, None));

    let mut stays = World::with_staff_ada();
    stays.confirmed = true;
    assert!(!takes_access(&stays.settles().steps));
    stays.lists(json!({"userType": "Guest"}), &[STAFF]);
    assert!(!takes_access(&stays.settles().steps));
    assert!(stays.is_active());
}

#[test]
fn g09_a_listing_that_says_disabled_only_causes_a_read_by_id() {
    let mut world = World::with_staff_ada();
    let merged = world.lists(json!({"accountEnabled": false}), &[STAFF]);
    assert!(merged.lost_and_differs, "the object is due again");
    assert_eq!(world.settles().steps, []);
    assert!(world.is_active());
}

#[test]
fn g09_a_person_known_by_a_listing_alone_is_read_before_access_is_taken() {
    let mut world = World::of_includes();
    world.lists(json!({}), &[STAFF]);
    world.settles();
    assert!(world.is_active());
    world.lists(json!({"accountEnabled": false}), &[STAFF]);
    let plan = world.settles();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.wait, Some(Wait { at: world.now, reason: WaitReason::NeedsBothFacets }));
}

#[test]
fn g10b_a_404_counts_with_the_object_in_deleted_items() {
    let mut world = World::with_staff_ada();
    world.reads_404(true);
    let plan = world.settles();
    assert_eq!(plan.steps, [Step::Deactivate { reasons: [Reason::UpstreamDeleted].into() }]);
    assert_eq!(plan.wait, None);
}

#[test]
fn g10b_a_404_alone_counts_only_with_a_second_one_two_minutes_later() {
    let mut world = World::with_staff_ada();
    let first = world.now;
    world.reads_404(false);
    let agreed_at = first + world.timing.missing_agree;
    let wait = Some(Wait { at: agreed_at, reason: WaitReason::MissingAgree });
    assert_eq!((world.settles().steps, world.plan().wait), (vec![], wait));

    world.pass(119);
    world.reads_404(false);
    assert_eq!((world.settles().steps, world.plan().wait), (vec![], wait), "a second too early");

    world.pass(1);
    world.reads_404(false);
    assert!(takes_access(&world.settles().steps));
}

#[test]
fn g10b_a_read_that_shows_the_user_in_between_starts_the_count_anew() {
    let mut world = World::with_staff_ada();
    world.reads_404(false);
    world.pass(60);
    world.reads(json!({}), &[STAFF]);
    world.pass(70);
    world.reads_404(false);
    assert_eq!(world.settles().steps, []);
}

#[test]
fn g10c_lost_scope_needs_two_complete_reads_ten_seconds_apart() {
    let mut world = World::with_staff_ada();
    let first = world.now;
    world.reads_groups(&[]);
    let plan = world.settles();
    assert_eq!(plan.steps, []);
    let agreed_at = first + world.timing.scope_agree;
    assert_eq!(plan.wait, Some(Wait { at: agreed_at, reason: WaitReason::ScopeAgree }));

    world.pass(9);
    world.reads_groups(&[]);
    assert_eq!(world.settles().steps, [], "a second too early");

    world.pass(1);
    world.reads_groups(&[]);
    let plan = world.settles();
    assert_eq!(plan.steps, [Step::Deactivate { reasons: [Reason::OutOfScope].into() }]);
    assert_eq!(plan.wait, None);
}

#[test]
fn g10c_a_move_from_group_to_group_shows_the_loss_before_the_gain() {
    let mut world = World::with_staff_ada();
    world.reads_groups(&[]);
    world.settles();
    world.pass(10);
    world.reads_groups(&[ADMINS]);
    let plan = world.settles();
    assert!(world.is_active());
    assert!(matches!(plan.steps[..], [Step::SetAccess { .. }]), "{:?}", plan.steps);
    assert_eq!(plan.agreements.loss, None);

    world.pass(10);
    world.reads_groups(&[]);
    assert_eq!(world.settles().steps, [], "the earlier loss does not count towards this one");
}

#[test]
fn g10c_other_rules_start_the_agreement_anew() {
    let mut world = World::with_staff_ada();
    world.reads_groups(&[]);
    world.settles();
    world.pass(60);
    world.rules = RuleSet::build(2, vec![rule(STAFF, 1)]).expect("one rule a group");
    world.reads_groups(&[]);
    let plan = world.settles();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.agreements.loss.map(|loss| (loss.read_at, loss.rules_version)), Some((world.now, 2)));
}

#[test]
fn an_exclusion_seen_in_a_listing_alone_takes_nothing() {
    let mut world = World::with_staff_ada();
    for _ in 0..3 {
        world.lists(json!({}), &[BANNED]);
        let plan = world.settles();
        assert_eq!(plan.steps, []);
        assert_eq!(plan.wait.map(|wait| wait.reason), Some(WaitReason::NeedsBothFacets));
        world.pass(60);
    }
    world.reads_groups(&[STAFF, BANNED]);
    world.settles();
    world.pass(10);
    world.reads_groups(&[STAFF, BANNED]);
    world.settles();
    assert_eq!(world.reasons(), [Reason::OutOfScope]);
}

#[test]
fn disabled_is_not_delayed_by_a_scope_that_still_has_to_agree() {
    let mut world = World::with_staff_ada();
    world.reads(json!({"accountEnabled": false}), &[]);
    let plan = world.settles();
    assert_eq!(plan.steps, [Step::Deactivate { reasons: [Reason::UpstreamDisabled].into() }]);
    assert_eq!(plan.wait.map(|wait| wait.reason), Some(WaitReason::ScopeAgree));

    world.pass(10);
    world.reads_groups(&[]);
    let add = [Reason::OutOfScope].into();
    assert_eq!(world.settles().steps, [Step::AmendReasons { add, remove: [].into() }]);
}

#[test]
fn g16_disabled_is_taken_even_where_the_membership_was_never_read() {
    let mut world = World::empty();
    world.record = Some(blank_record(Kind::Employee));
    world.reads_profile(json!({"accountEnabled": false}));
    let plan = world.settles();
    assert_eq!(plan.desired.unknown, Some(Unknown::Membership));
    assert!(takes_access(&plan.steps));
    assert_eq!(plan.wait, Some(Wait { at: world.now, reason: WaitReason::NeedsBothFacets }));
}

#[test]
fn bi34_without_account_enabled_nothing_changes() {
    let mut world = World::with_staff_ada();
    world.reads(json!({"accountEnabled": null, "displayName": "Somebody Else"}), &[]);
    let plan = world.settles();
    assert_eq!((plan.steps, plan.wait.map(|wait| wait.reason)), (vec![], Some(WaitReason::Incomplete)));
}

#[test]
fn a_guest_is_out_on_one_read_by_id_and_stays_where_guests_are_in() {
    let mut world = World::with_staff_ada();
    world.guests = true;
    world.reads_profile(json!({"userType": "Guest"}));
    assert!(!takes_access(&world.settles().steps));
    world.guests = false;
    assert_eq!(world.settles().steps, [Step::Deactivate { reasons: [Reason::Guest].into() }]);
}

#[test]
fn g10_access_comes_back_only_from_both_facets_read_in_one_task() {
    let mut world = World::with_staff_ada();
    world.inactive_for(&[Reason::UpstreamDisabled]);
    world.reads_profile(json!({}));
    let plan = world.settles();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.wait, Some(Wait { at: world.now, reason: WaitReason::NeedsBothFacets }));

    world.reads_groups(&[STAFF]);
    assert_eq!(world.settles().steps, [], "another task's read of the profile is not fresh");

    world.lists(json!({}), &[STAFF]);
    assert_eq!(world.settles().steps, [], "a listing gives nothing back");

    world.reads(json!({}), &[STAFF]);
    assert_eq!(world.settles().steps, [Step::Reactivate { reasons: [Reason::UpstreamDisabled].into() }]);
}

#[test]
fn reenable_agree_two_reads_half_a_minute_apart_when_access_was_lost_a_short_while_ago() {
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"accountEnabled": false}));
    world.settles();
    world.pass(20);
    let first = world.now;
    world.reads(json!({}), &[STAFF]);
    let plan = world.settles();
    let wait = Wait { at: first + world.timing.reenable_agree, reason: WaitReason::ReenableAgree };
    assert_eq!((plan.steps, plan.wait), (vec![], Some(wait)));

    world.pass(29);
    world.reads_profile(json!({}));
    assert_eq!(world.settles().wait, Some(wait), "no read before its time");
    world.reads(json!({}), &[STAFF]);
    assert_eq!(world.settles().wait, Some(wait), "a second too early");

    world.pass(1);
    world.reads(json!({}), &[STAFF]);
    assert!(matches!(world.settles().steps[..], [Step::Reactivate { .. }]));
    assert!(world.is_active());
    assert_eq!(world.plan().agreements.regain_at, None);
}

#[test]
fn reenable_agree_a_read_that_shows_them_out_starts_anew() {
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"accountEnabled": false}));
    world.settles();
    for enabled in [true, false, true] {
        world.pass(40);
        world.reads(json!({"accountEnabled": enabled}), &[STAFF]);
        assert_eq!(world.settles().steps, [], "enabled: {enabled}");
    }
}

#[test]
fn after_a_quarter_of_an_hour_one_read_gives_access_back() {
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"accountEnabled": false}));
    world.settles();
    world.pass(15 * 60);
    world.reads(json!({}), &[STAFF]);
    assert!(matches!(world.settles().steps[..], [Step::Reactivate { .. }]));
}

#[test]
fn g17_restored_the_same_record_comes_back_refreshed_and_by_the_rules_of_now() {
    let mut world = World::with_staff_ada();
    let id = world.record().id;
    world.reads_404(true);
    world.settles();
    assert!(world.user.needs_membership(), "deletion and restore raise no group event");
    world.pass(3600);
    world.reads(json!({"jobTitle": "Lead"}), &[ADMINS]);
    let plan = world.settles();
    assert!(
        matches!(plan.steps[..], [Step::SetAccess { .. }, Step::Update(_), Step::Reactivate { .. }]),
        "{:?}",
        plan.steps
    );
    assert_eq!(world.record().id, id);
    assert_eq!(world.record().fields["job_title"], "Lead");
    assert_eq!(world.record().role.as_deref(), Some("role-11"));
}

#[test]
fn one_reason_goes_another_stays() {
    let mut world = World::with_staff_ada();
    world.inactive_for(&[Reason::UpstreamDisabled, Reason::ByHand]);
    world.reads(json!({}), &[STAFF]);
    let remove = [Reason::UpstreamDisabled].into();
    assert_eq!(world.settles().steps, [Step::AmendReasons { add: [].into(), remove }]);
    assert_eq!(world.reasons(), [Reason::ByHand]);
    assert!(!world.is_active());
}

#[test]
fn switched_off_by_hand_stays_off_through_any_number_of_disables_and_restores() {
    let mut world = World::with_staff_ada();
    world.inactive_for(&[Reason::ByHand]);
    for _ in 0..3 {
        world.pass(3600);
        world.reads(json!({"accountEnabled": false}), &[STAFF]);
        world.settles();
        assert_eq!(world.reasons(), [Reason::UpstreamDisabled, Reason::ByHand]);
        world.pass(3600);
        world.reads(json!({}), &[STAFF]);
        world.settles();
        assert_eq!(world.reasons(), [Reason::ByHand]);
    }
}

#[test]
fn never_active_between_one_reason_and_the_next() {
    let mut world = World::with_staff_ada();
    world.inactive_for(&[Reason::UpstreamDisabled]);
    world.reads(json!({}), &[]);
    let plan = world.settles();
    assert_eq!(plan.steps, [], "the old reason stays until the new one is proven");
    assert_eq!(plan.wait.map(|wait| wait.reason), Some(WaitReason::ScopeAgree));
    world.pass(10);
    world.reads(json!({}), &[]);
    world.settles();
    assert_eq!(world.reasons(), [Reason::OutOfScope]);
}

#[test]
fn of_a_deleted_user_no_other_reason_is_taken_away() {
    let mut world = World::with_staff_ada();
    world.inactive_for(&[Reason::UpstreamDisabled]);
    world.reads_404(true);
    world.settles();
    assert_eq!(world.reasons(), [Reason::UpstreamDisabled, Reason::UpstreamDeleted]);
    assert_eq!(world.settles().steps, []);
}

#[test]
fn g24_root_is_touched_by_nothing() {
    let mut world = World::with_staff_ada();
    world.record_mut().root = true;
    for (changes, groups) in
        [(json!({"accountEnabled": false, "mail": "x@y.example"}), &[][..]), (json!({}), &[ADMINS])]
    {
        world.reads(changes, groups);
        let plan = world.plan();
        assert_eq!((plan.steps, plan.wait, plan.reviews, plan.ask_address), (vec![], None, vec![], None));
        world.pass(60);
    }
    world.reads_404(true);
    assert_eq!(world.plan().steps, []);
}

#[test]
fn m7_another_kind_waits_for_a_second_read_and_changes_no_access_meanwhile() {
    let mut world = World::with_staff_ada();
    world.reads(json!({"jobTitle": "Client"}), &[CLIENTS]);
    let plan = world.settles();
    assert_eq!(plan.reviews, [], "nobody is asked");
    assert_eq!(plan.wait.map(|wait| wait.reason), Some(WaitReason::KindAgree));
    assert!(matches!(plan.steps[..], [Step::Update(_)]), "attributes go on: {:?}", plan.steps);

    world.inactive_for(&[Reason::UpstreamDisabled]);
    world.reads(json!({"jobTitle": "Client"}), &[CLIENTS]);
    assert_eq!(world.settles().steps, [], "the old kind's access does not come back");
    world.pass(30);
    world.reads(json!({"jobTitle": "Client"}), &[CLIENTS]);
    assert!(matches!(world.settles().steps[..], [Step::ChangeKind(_)]));
    assert_eq!((world.record().kind, world.is_active()), (Kind::Contact, true), "as the other kind they come back");
}

#[test]
fn m7_a_change_waits_for_its_basis_and_asks_for_both_facets_where_one_was_read() {
    let mut world = World::with_staff_ada();
    world.reads(json!({}), &[CLIENTS]);
    world.settles();
    world.pass(10);
    world.reads_groups(&[CLIENTS]);
    let wait = world.settles().wait.expect("the second read is still to come");
    assert_eq!((wait.reason, wait.at.since(world.now).as_secs()), (WaitReason::KindAgree, 20));
    world.pass(60);
    world.reads_profile(json!({}));
    assert_eq!(world.settles().wait.map(|wait| wait.reason), Some(WaitReason::NeedsBothFacets));
    world.reads(json!({}), &[CLIENTS]);
    let unknown = world.observed(|observed| {
        let observed = lockstep_core::plan::Observed { kind_basis: None, ..*observed };
        lockstep_core::plan::plan(&observed, &world.rules, &world.context())
    });
    assert!(unknown.steps.is_empty() && unknown.wait.is_some(), "{unknown:?}");
    assert!(matches!(world.settles().steps[..], [Step::ChangeKind(_)]));
}

#[test]
fn m7_an_archived_record_is_left_alone() {
    let mut world = World::with_staff_ada();
    world.record_mut().status = Status::Archived;
    world.reads(json!({"accountEnabled": false, "jobTitle": "Lead"}), &[ADMINS]);
    assert_eq!(world.plan().steps, []);
}

#[test]
fn whoever_was_just_read_in_full_is_never_asked_for_again_at_once() {
    let mut world = World::with_staff_ada();
    world.rules = RuleSet::build(2, vec![Rule { nested: false, ..rule(STAFF, 1) }]).expect("one rule a group");
    world.reads(json!({}), &[]);
    let ticket = world.next_ticket();
    let edge = world.user.membership.edges.get_mut(&object(STAFF)).expect("kept");
    (edge.present, edge.direct, edge.ticket) = (true, None, ticket);
    let plan = world.plan();
    assert_eq!(plan.desired.unknown, Some(Unknown::Membership));
    assert_eq!(plan.wait.map(|wait| (wait.reason, wait.at > world.now)), Some((WaitReason::Incomplete, true)));
}

#[test]
fn access_given_by_a_listing_is_followed_too() {
    let mut world = World::with_staff_ada();
    let found = lockstep_core::mirror::ProfileFound::Present(profile(json!({})).into());
    world.merge(Some((Source::Listing, found)), Some((Source::Listing, &[ADMINS])));
    assert!(matches!(world.settles().steps[..], [Step::SetAccess { .. }]));
}
