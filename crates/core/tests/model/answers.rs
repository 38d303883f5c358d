//! What an answer does, and how long it holds: M3, TH-09, BI-36, BI-37; semantics, "Matching".

use std::collections::BTreeSet;

use lockstep_core::matching::Candidate;
use lockstep_core::plan::Step;
use lockstep_core::record::{Reason, Status};
use lockstep_core::review::{Choice, Doubt, NotAChoice, ReviewKind, settlement};
use serde_json::json;

use crate::world::*;

/// Ada is staff; a privileged record has her address, and Graph knows only her by it.
fn privileged_likeness() -> World {
    let mut world = World::empty();
    world.reads(json!({}), &[STAFF]);
    world.others = vec![Candidate { privileged: true, ..imported_ada() }];
    world.graph_knows_only_ada();
    world
}

/// The record was another directory user's, who is deleted.
fn rehired(employee_id: &str) -> World {
    let mut world = World::empty();
    world.reads(json!({"employeeId": "E7"}), &[STAFF]);
    world.others = vec![Candidate {
        entra_id: Some(object(0x01d)),
        status: Status::Inactive,
        reasons: BTreeSet::from([Reason::UpstreamDeleted]),
        employee_id: Some(employee_id.to_owned()),
        ..imported_ada()
    }];
    world.graph_knows_only_ada();
    world
}

#[test]
fn th09_an_admin_overrules_what_was_shown_and_nothing_else() {
    let mut world = privileged_likeness();
    assert_eq!(world.plan().reviews[0].doubts, BTreeSet::from([Doubt::Privileged]));
    world.answers_with(Choice::Link);
    world.owners.as_mut().expect("asked").users.insert(object(0xbad));
    let plan = world.plan();
    assert_eq!(plan.steps, [], "somebody else got the address meanwhile: that was not shown");
    assert_eq!(plan.reviews[0].doubts, BTreeSet::from([Doubt::Privileged, Doubt::SeveralUsers]));

    world.graph_knows_only_ada();
    let plan = world.settles();
    assert_eq!(plan.steps, [Step::Link { record: record_id(500) }]);
    assert_eq!(plan.answered, [world.answers[0].review]);
}

#[test]
fn th09_graph_is_asked_again_before_an_answer_is_carried_out() {
    let mut world = privileged_likeness();
    world.answers_with(Choice::Link);
    world.owners = None;
    let plan = world.plan();
    assert_eq!((plan.steps, plan.ask_address.as_deref()), (vec![], Some("ada@fabrikam.example")));
}

#[test]
fn th09_what_nobody_may_overrule_is_not_offered_and_not_done() {
    type Change = fn(&mut Candidate);
    let cases: [Change; 4] = [
        |other| other.root = true,
        |other| other.realm = "south".to_owned(),
        |other| other.status = Status::Archived,
        |other| other.entra_id = Some(object(9)),
    ];
    for change in cases {
        let mut world = privileged_likeness();
        world.answers_with(Choice::Link);
        change(&mut world.others[0]);
        let plan = world.plan();
        assert_eq!(plan.steps, [], "{:?}", world.others[0]);
        assert_eq!(plan.reviews[0].choices, [Choice::Create, Choice::KeepApart]);
    }
}

#[test]
fn kept_apart_is_remembered_until_the_address_or_the_record_is_another() {
    let mut world = privileged_likeness();
    world.answers_with(Choice::KeepApart);
    let plan = world.settles();
    assert_eq!((plan.steps, plan.reviews), (vec![], vec![]));
    world.others[0].privileged = false;
    assert_eq!(world.settles().steps, [], "also when every doubt is gone");

    let mut other = privileged_likeness();
    other.answers_with(Choice::KeepApart);
    other.others[0].id = record_id(501);
    assert_eq!(other.plan().reviews.len(), 1, "another record asks anew");
    let mut moved = privileged_likeness();
    moved.answers_with(Choice::KeepApart);
    moved.reads(json!({"mail": "new@fabrikam.example"}), &[STAFF]);
    moved.others[0].email_key = Some("new@fabrikam.example".to_owned());
    moved.owners.as_mut().expect("asked").address = "new@fabrikam.example".to_owned();
    assert_eq!(moved.plan().reviews.len(), 1, "another address asks anew");
}

#[test]
fn a_record_of_their_own_leaves_out_what_the_other_has_and_asks_no_more() {
    let mut world = privileged_likeness();
    world.answers_with(Choice::Create);
    let plan = world.settles();
    assert!(matches!(plan.steps[..], [Step::Create(_)]));
    assert_eq!(world.record().email, None);
    let kinds: Vec<_> = world.settles().reviews.iter().map(|review| review.kind).collect();
    assert_eq!(kinds, [ReviewKind::UsernameTaken], "the name is a question of its own, the address is none");
}

#[test]
fn a_removal_creates_nothing_whatever_was_answered() {
    let mut world = privileged_likeness();
    world.answers_with(Choice::Create);
    world.reads(json!({"accountEnabled": false}), &[STAFF]);
    assert_eq!(world.plan().steps, []);
}

#[test]
fn a_rehire_gets_the_old_record_and_an_equal_employee_id_is_shown_as_an_argument() {
    let mut world = rehired("E7");
    let review = world.plan().reviews.remove(0);
    assert!(review.why.contains("rehire") && review.why.contains("employee id is the same"), "{}", review.why);
    assert_eq!(review.choices, [Choice::Rehire, Choice::Create, Choice::KeepApart]);
    assert!(!rehired("E8").plan().reviews[0].why.contains("employee id"));

    world.answers_with(Choice::Rehire);
    let plan = world.settles();
    assert_eq!(plan.steps, [Step::Rehire { record: record_id(500), from: object(0x01d) }]);
    assert_eq!(world.record().id, record_id(500), "the local id stays");
    assert_eq!(world.reasons(), [Reason::UpstreamDeleted], "access comes back by the reads of this person");
}

#[test]
fn a_rehire_is_refused_once_the_former_owner_is_back() {
    let mut world = rehired("E7");
    world.answers_with(Choice::Rehire);
    (world.others[0].status, world.others[0].reasons) = (Status::Active, BTreeSet::new());
    let plan = world.plan();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.reviews[0].doubts, BTreeSet::from([Doubt::LinkedElsewhere]));
}

#[test]
fn an_undone_link_is_asked_about_and_never_made_again_by_itself() {
    let mut world = privileged_likeness();
    world.others[0].privileged = false;
    let asked = {
        let mut before = privileged_likeness();
        before.answers_with(Choice::Link);
        before.answers.remove(0)
    };
    world.settles();
    assert_eq!(world.record().id, record_id(500));
    world.answers = vec![lockstep_core::review::Answer { choice: Choice::Unlink, ..asked }];
    assert_eq!(world.settles().steps, [Step::Unlink { record: record_id(500) }]);
    let plan = world.plan();
    assert_eq!((plan.steps, &plan.reviews[0].doubts), (vec![], &BTreeSet::from([Doubt::Undone])));
    world.answers_with(Choice::Link);
    assert_eq!(world.plan().steps, [Step::Link { record: record_id(500) }], "an admin may think again");
}

/// Ada's new address is Grace's, who is linked.
fn address_taken() -> World {
    let mut world = World::with_staff_ada();
    let email_key = Some("new@fabrikam.example".to_owned());
    world.others = vec![Candidate { email_key, entra_id: Some(object(9)), username_key: None, ..imported_ada() }];
    world.reads(json!({"mail": "new@fabrikam.example"}), &[STAFF]);
    world
}

#[test]
fn bi36_an_address_is_kept_or_given_to_this_person_by_the_answer() {
    let mut kept = address_taken();
    kept.answers_with(Choice::Keep);
    let plan = kept.settles();
    assert!(plan.reviews.is_empty() && plan.answered.len() == 1, "{plan:?}");
    assert_eq!(kept.record().email.as_deref(), Some("Ada@fabrikam.example"));
    assert!(kept.settles().answered.is_empty(), "remembered, not carried out again");

    let mut moved = address_taken();
    moved.answers_with(Choice::Reassign);
    let plan = moved.settles();
    assert!(matches!(plan.steps[..], [Step::ReleaseAddress { .. }, Step::Update(_)]), "{:?}", plan.steps);
    assert_eq!(moved.record().email.as_deref(), Some("new@fabrikam.example"));
    assert_eq!(moved.others[0].email_key, None);
}

#[test]
fn g24_the_address_of_root_is_never_offered() {
    let mut world = address_taken();
    world.others[0].root = true;
    assert_eq!(world.plan().reviews[0].choices, [Choice::Keep]);
    world.others[0].root = false;
    world.answers_with(Choice::Reassign);
    world.others[0].root = true;
    assert!(!world.plan().steps.iter().any(|step| matches!(step, Step::ReleaseAddress { .. })));
}

/// Ada comes in; somebody has her username, nobody her address.
fn username_taken() -> World {
    let mut world = World::empty();
    world.reads(json!({}), &[STAFF]);
    world.others = vec![Candidate { email_key: None, username_key: Some("ada".to_owned()), ..imported_ada() }];
    world.settles();
    assert!(world.is_active() && world.record().username.is_none());
    world
}

#[test]
fn bi37_a_taken_username_is_numbered_left_out_or_given_by_the_answer() {
    let mut world = username_taken();
    world.answers_with(Choice::Number);
    world.settles();
    assert_eq!(world.record().username.as_deref(), Some("Ada2"));
    assert!(world.settles().reviews.is_empty());

    let mut world = username_taken();
    world.answers_with(Choice::LeaveOut);
    assert!(world.settles().reviews.is_empty() && world.record().username.is_none());
    world.others[0].id = record_id(501);
    assert_eq!(world.settles().reviews.len(), 1, "another record asks anew");
    world.others.clear();
    world.settles();
    assert_eq!(world.record().username.as_deref(), Some("Ada"), "free, it is nobody's question");

    let mut world = username_taken();
    let review = world.plan().reviews.remove(0);
    world.answered(&review, Choice::Name, Some(" ada.e "));
    world.settles();
    assert_eq!(world.record().username.as_deref(), Some("ada.e"));
    world.others.clear();
    assert_eq!(world.settles().steps, [], "nobody's login changes unasked");
}

#[test]
fn bi37_a_given_username_that_is_taken_asks_anew() {
    let mut world = username_taken();
    let review = world.plan().reviews.remove(0);
    world.answered(&review, Choice::Name, Some("grace"));
    world.others.push(Candidate {
        id: record_id(501),
        email_key: None,
        username_key: Some("grace".to_owned()),
        ..imported_ada()
    });
    let plan = world.settles();
    assert_eq!(plan.reviews[0].candidates, [record_id(500), record_id(501)]);
    assert!(plan.answered.is_empty() && world.record().username.is_none());
}

#[test]
fn a_choice_is_checked_against_what_was_asked() {
    let (offered, two) = ([Choice::Link, Choice::Name, Choice::KeepApart], [record_id(1), record_id(2)]);
    let choose = |choice, record, name| settlement(&offered, &two, choice, record, name).map(|it| it.record);
    assert_eq!(choose(Choice::Reassign, None, None), Err(NotAChoice::NotOffered));
    assert_eq!(choose(Choice::Link, None, None), Err(NotAChoice::WhichRecord));
    assert_eq!(choose(Choice::Link, Some(record_id(3)), None), Err(NotAChoice::OtherRecord));
    assert_eq!(choose(Choice::Link, Some(record_id(2)), None), Ok(Some(record_id(2))));
    assert_eq!(choose(Choice::KeepApart, Some(record_id(2)), None), Err(NotAChoice::NoRecord));
    for name in [None, Some(" "), Some("a b"), Some("a\u{7}")] {
        assert_eq!(choose(Choice::Name, None, name), Err(NotAChoice::Username), "{name:?}");
    }
    assert_eq!(choose(Choice::Link, Some(record_id(2)), Some("ada")), Err(NotAChoice::Username));
}

#[test]
fn g20_two_records_of_one_person_become_one_live_and_one_archived() {
    let mut world = address_taken();
    (world.others[0].entra_id, world.others[0].privileged) = (None, true);
    let own = world.record().id;
    let asked = world.plan().reviews.remove(0);
    assert_eq!(asked.choices, [Choice::Keep, Choice::Reassign, Choice::Merge]);
    assert_eq!(asked.doubts, BTreeSet::from([Doubt::Privileged, Doubt::NotAsked]));
    world.answers_with(Choice::Merge);
    let plan = world.settles();
    assert!(matches!(&plan.steps[..], [Step::Merge(_)]) && plan.answered.len() == 1, "{plan:?}");
    assert_eq!(world.record().id, record_id(500), "the local id of the other and all that refers to it stay");
    assert_eq!((world.former[0].id, world.former[0].status), (own, Status::Archived));
    assert_eq!(world.former[0].email.as_deref(), Some("Ada@fabrikam.example_Archived"));
}

/// The link is undone like any other; what was archived stays archived, and the person is asked about.
#[test]
fn a_wrong_merge_is_undone() {
    let mut world = address_taken();
    world.others[0].entra_id = None;
    world.answers_with(Choice::Merge);
    world.settles();
    let merge = world.answers.remove(0);
    world.answers = vec![lockstep_core::review::Answer { choice: Choice::Unlink, applied: false, ..merge }];
    assert_eq!(world.settles().steps, [Step::Unlink { record: record_id(500) }]);
    world.others[0].email_key = Some("new@fabrikam.example".to_owned());
    world.graph_knows_only_ada();
    let plan = world.plan();
    assert!(plan.steps.is_empty() && (plan.reviews.len() == 1 || plan.ask_address.is_some()), "{plan:?}");
}

/// What an admin switched off by hand stays off, whichever record is the person's.
#[test]
fn merged_by_hand_stays_by_hand() {
    let mut world = address_taken();
    world.others[0].entra_id = None;
    world.inactive_for(&[Reason::ByHand]);
    world.answers_with(Choice::Merge);
    world.settles();
    assert_eq!((world.record().id, world.reasons()), (record_id(500), vec![Reason::ByHand]));
    world.settles();
    assert!(!world.is_active());
}

/// What was not shown to whoever answered asks anew: the record became privileged, another one, or somebody's.
#[test]
fn a_merge_holds_for_what_was_shown() {
    let changes: [fn(&mut Candidate); 4] = [
        |other| other.privileged = true,
        |other| other.id = record_id(501),
        |other| other.status = Status::Archived,
        |other| other.root = true,
    ];
    for change in changes {
        let mut world = address_taken();
        world.others[0].entra_id = None;
        world.answers_with(Choice::Merge);
        change(&mut world.others[0]);
        let plan = world.plan();
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::Merge(_))), "{:?}", plan.steps);
        assert_eq!(plan.reviews.len(), 1);
    }
}

#[test]
fn two_people_who_are_there_never_share_a_record() {
    let mut world = address_taken();
    assert_eq!(world.plan().reviews[0].choices, [Choice::Keep, Choice::Reassign], "Grace is there");
    world.others[0].entra_id = None;
    world.answers_with(Choice::Merge);
    world.others[0].entra_id = Some(object(9));
    let plan = world.plan();
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::Merge(_))), "linked meanwhile");
    assert_eq!(plan.reviews.len(), 1, "and asked anew");
}
