//! Creating and linking: M3, TH-09, BI-36, BI-37, Y7.

use std::collections::BTreeSet;

use lockstep_core::matching::{AddressOwners, Candidate, candidate_keys};
use lockstep_core::plan::{Plan, Step, WaitReason};
use lockstep_core::record::{Reason, Status};
use lockstep_core::review::ReviewKind;
use lockstep_core::settings::{Settings, UsernameStyle};
use serde_json::json;

use crate::world::*;

fn reviewed(plan: &Plan) -> bool {
    plan.steps.is_empty()
        && plan.ask_address.is_none()
        && matches!(&plan.reviews[..], [one] if one.kind == ReviewKind::Link)
}

/// Ada is staff and read by id; an imported record has her address; Graph says that nobody else has it.
fn world_with_import() -> World {
    let mut world = World::empty();
    world.reads(json!({}), &[STAFF]);
    world.others = vec![imported_ada()];
    world.graph_knows_only_ada();
    world
}

#[test]
fn m3_without_a_match_a_record_is_created_with_everything_mapped() {
    let mut world = World::empty();
    world.reads(json!({}), &[STAFF]);
    let plan = world.settles();
    assert!(matches!(plan.steps[..], [Step::Create(_)]));
    assert_eq!(plan.ask_address, None, "without a candidate Graph is asked nothing");
    let record = world.record();
    assert_eq!(record.email.as_deref(), Some("Ada@fabrikam.example"));
    assert_eq!(record.username.as_deref(), Some("Ada"));
    assert_eq!(record.display_name.as_deref(), Some("Ada Example"));
    assert_eq!(record.fields["job_title"], "Agent");
    assert_eq!(record.fields["phone"], "+1 555 0100");
    assert_eq!(record.role.as_deref(), Some("role-10"));
    assert_eq!(world.settles().steps, []);
}

#[test]
fn a_listing_is_enough_to_create() {
    let mut world = World::of_includes();
    world.lists(json!({}), &[STAFF]);
    assert!(matches!(world.settles().steps[..], [Step::Create(_)]));
}

#[test]
fn m6_a_listing_is_not_enough_where_a_rule_excludes_people() {
    let mut world = World::empty();
    world.lists(json!({}), &[STAFF]);
    let plan = world.settles();
    assert_eq!((plan.steps, plan.wait.map(|wait| wait.reason)), (vec![], Some(WaitReason::NeedsBothFacets)));
    world.reads(json!({}), &[STAFF]);
    assert!(matches!(world.settles().steps[..], [Step::Create(_)]));
}

#[test]
fn g08_old_pages_give_nobody_access_unless_the_listing_goes_on_without_a_break() {
    for first_sync_done in [false, true] {
        let mut world = World::of_includes();
        world.first_sync_done = first_sync_done;
        let began = world.now;
        world.lists(json!({}), &[STAFF]);
        world.pass(3600);
        let plan = world.plan();
        assert_eq!((plan.steps, plan.wait.map(|wait| wait.reason)), (vec![], Some(WaitReason::NeedsBothFacets)));
        world.listing_since = Some(began);
        assert!(matches!(world.plan().steps[..], [Step::Create(_)]));
    }
}

#[test]
fn m3_the_one_record_with_the_address_is_linked_and_keeps_its_id() {
    let mut world = world_with_import();
    let plan = world.settles();
    assert_eq!(plan.steps, [Step::Link { record: record_id(500) }]);
    let plan = world.settles();
    assert!(matches!(plan.steps[..], [Step::SetAccess { .. }, Step::Update(_)]), "{:?}", plan.steps);
    assert_eq!(world.record().id, record_id(500));
    assert_eq!(world.settles().steps, []);
}

#[test]
fn th09_graph_is_asked_before_anything_is_linked() {
    let mut world = world_with_import();
    world.owners = None;
    let plan = world.plan();
    assert_eq!((plan.steps, plan.ask_address.as_deref()), (vec![], Some("ada@fabrikam.example")));

    world.owners = Some(AddressOwners { address: "other@fabrikam.example".to_owned(), users: BTreeSet::from([ada()]) });
    assert!(world.plan().ask_address.is_some(), "an answer about another address is no answer");
}

#[test]
fn th09_every_condition_alone_makes_it_a_review() {
    type Change = fn(&mut World);
    let with = |change: fn(&mut Candidate)| move |world: &mut World| change(&mut world.others[0]);
    let cases: [(&str, Change); 4] = [
        ("somebody else has the address too", |world| {
            world.owners.as_mut().expect("asked").users.insert(object(0xbad));
        }),
        ("Graph does not know it", |world| world.owners.as_mut().expect("asked").users.clear()),
        ("domain not assigned", |world| world.domains = BTreeSet::from(["contoso.example".to_owned()])),
        ("several records", |world| world.others.push(Candidate { id: record_id(501), ..imported_ada() })),
    ];
    for (name, change) in cases {
        let mut world = world_with_import();
        change(&mut world);
        assert!(reviewed(&world.plan()), "{name}: {:?}", world.plan());
    }
    let candidates = [
        ("root", with(|other| other.root = true)),
        ("privileged", with(|other| other.privileged = true)),
        ("linked", with(|other| other.entra_id = Some(object(0x01d)))),
        ("archived", with(|other| other.status = Status::Archived)),
        ("another realm", with(|other| other.realm = "south".to_owned())),
    ];
    for (name, change) in candidates {
        let mut world = world_with_import();
        change(&mut world);
        assert!(reviewed(&world.plan()), "{name}: {:?}", world.plan());
        world.owners = None;
        // An admin may overrule only what was shown: where one may, Graph is asked first.
        let asked = world.plan().ask_address.is_some();
        assert_eq!(asked, name == "privileged", "{name}: Graph is asked only where an admin could link");
    }
}

#[test]
fn g22_a_record_of_another_realm_is_not_named() {
    let mut world = world_with_import();
    world.others[0].realm = "south".to_owned();
    assert_eq!(world.plan().reviews[0].candidates, []);
}

#[test]
fn th09_nobody_is_linked_before_the_first_sync_has_seen_every_group() {
    let mut world = world_with_import();
    world.first_sync_done = false;
    let plan = world.plan();
    assert_eq!((plan.steps, plan.wait.map(|wait| wait.reason)), (vec![], Some(WaitReason::FirstSync)));
    world.others.clear();
    assert!(matches!(world.plan().steps[..], [Step::Create(_)]), "creating does not wait");
}

#[test]
fn y7_a_guest_never_takes_over_a_record_by_address() {
    let mut world = world_with_import();
    world.guests = true;
    world.reads(json!({"userType": "Guest"}), &[STAFF]);
    assert!(reviewed(&world.plan()));
    world.others.clear();
    assert!(matches!(world.plan().steps[..], [Step::Create(_)]));
    world.guests = false;
    assert_eq!(world.plan().steps, []);
}

#[test]
fn aliases_and_the_sign_in_name_are_only_ever_a_question() {
    for address in ["a.example@fabrikam.example", "ada.signs.in@fabrikam.example"] {
        let mut world = world_with_import();
        world.reads(json!({"userPrincipalName": "ada.signs.in@fabrikam.example"}), &[STAFF]);
        world.others[0].email_key = Some(address.to_owned());
        assert_eq!(world.plan().ask_address.as_deref(), Some(address), "whoever answers is shown who else has it");
        world.owners.as_mut().expect("asked").address = address.to_owned();
        assert!(reviewed(&world.plan()), "{address}");
    }
}

#[test]
fn a_disabled_persons_own_record_is_linked_and_then_deactivated() {
    let mut world = world_with_import();
    world.reads(json!({"accountEnabled": false}), &[STAFF]);
    assert!(matches!(world.settles().steps[..], [Step::Link { .. }]));
    world.settles();
    assert_eq!(world.reasons(), [Reason::UpstreamDisabled]);
    assert!(!world.is_active());
}

#[test]
fn a_disabled_person_seen_in_a_listing_is_read_before_the_record_is_linked() {
    let mut world = world_with_import();
    world.user = lockstep_core::mirror::MirroredUser::unknown(ada());
    world.lists(json!({"accountEnabled": false}), &[STAFF]);
    let plan = world.plan();
    assert_eq!((plan.steps, plan.wait.map(|wait| wait.reason)), (vec![], Some(WaitReason::NeedsBothFacets)));
}

#[test]
fn a_removal_creates_nothing() {
    for (changes, groups) in
        [(json!({"accountEnabled": false}), &[STAFF][..]), (json!({}), &[]), (json!({}), &[STAFF, BANNED])]
    {
        let mut world = World::empty();
        world.reads(changes, groups);
        let plan = world.plan();
        assert_eq!((plan.steps, plan.wait, plan.reviews), (vec![], None, vec![]));
    }
    let mut world = World::empty();
    world.lists(json!({}), &[STAFF]);
    world.reads_404(true);
    assert_eq!((world.plan().steps, world.plan().wait), (vec![], None), "TH-08: unknown here and 404 there");
}

#[test]
fn bi34_creation_is_staged() {
    let mut world = World::empty();
    world.reads(json!({"accountEnabled": null}), &[STAFF]);
    assert_eq!((world.plan().steps, world.plan().wait.map(|wait| wait.reason)), (vec![], Some(WaitReason::Incomplete)));
}

#[test]
fn bi37_a_taken_username_is_numbered_or_a_question_and_access_is_decided_all_the_same() {
    let mut world = World::empty();
    world.reads(json!({}), &[STAFF]);
    let taken = |n, name: &str| Candidate {
        id: record_id(n),
        email_key: Some(format!("{n}@fabrikam.example")),
        username_key: Some(name.to_owned()),
        ..imported_ada()
    };
    world.others = vec![taken(600, "ada"), taken(601, "ada2")];
    let plan = world.plan();
    assert_eq!(plan.reviews.iter().map(|review| review.kind).collect::<Vec<_>>(), [ReviewKind::UsernameTaken]);
    let [Step::Create(new)] = &plan.steps[..] else { panic!("{:?}", plan.steps) };
    assert_eq!(new.attributes.username, None);

    world.settings.number_usernames = true;
    world.settles();
    assert_eq!(world.record().username.as_deref(), Some("Ada3"));
    assert_eq!(world.settles().steps, []);
    world.others.clear();
    assert_eq!(world.settles().steps, [], "a number once given stays");
}

#[test]
fn the_store_is_told_which_records_to_look_for() {
    let keys = candidate_keys(&profile(json!({})), &Settings { number_usernames: true, ..Settings::default() });
    let emails = ["a.example@fabrikam.example", "ada@fabrikam.example"].map(str::to_owned);
    assert_eq!(keys.emails, emails.into());
    assert!(keys.usernames.contains("ada") && keys.usernames.contains("ada2") && keys.usernames.contains("ada99"));

    let guest =
        json!({"userPrincipalName": "ada_contoso.example#EXT#@fabrikam.example", "mail": null, "proxyAddresses": []});
    let keys = candidate_keys(&profile(guest), &Settings { username: UsernameStyle::LocalPart, ..Settings::default() });
    assert_eq!((keys.emails.len(), keys.usernames.len()), (0, 0), "Y7: never the #EXT# name");
}
