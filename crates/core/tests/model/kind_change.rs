//! From employee to contact and back: M7, M8, G-20, G-24, D6; semantics, "Kind change".

use std::collections::BTreeSet;

use lockstep_core::Timestamp;
use lockstep_core::brake::CauseClass;
use lockstep_core::mirror::Fresh;
use lockstep_core::plan::kind_change::{
    KindDecision, Next, RecordProtected, archived_name, may_rename_or_delete, names_concerned, original_name,
};
use lockstep_core::record::{Kind, Reason, Record, Status};
use proptest::prelude::*;
use serde_json::json;

use crate::household::{Household, changed};
use crate::world::*;

#[test]
fn m7_the_old_record_is_archived_and_one_of_the_new_kind_takes_its_place() {
    let mut home = Household::of_staff_ada();
    let old = home.world.record().clone();
    let change = home.changes_to(json!({}), &[CLIENTS]);
    assert_eq!(change.brake, Some(CauseClass::LostScope));
    assert_eq!(change.archive.username.as_deref(), Some("Ada_Archived"));
    assert_eq!(change.archive.email.as_deref(), Some("Ada@fabrikam.example_Archived"));
    assert_eq!(change.archive.reasons, BTreeSet::from([Reason::KindChanged]));
    let next = home.world.record();
    assert_ne!(next.id, old.id);
    assert_eq!((next.kind, next.status), (Kind::Contact, Status::Active));
    assert_eq!((next.username.as_deref(), next.email.as_deref()), (old.username.as_deref(), old.email.as_deref()));
    assert_eq!(next.role.as_deref(), Some("role-13"));
    assert!(!next.fields.contains_key("employee_id"), "the fields of its own kind");
}

#[test]
fn m7_two_reads_of_both_facets_thirty_seconds_apart_must_agree() {
    let mut home = Household::of_staff_ada();
    home.world.reads(json!({}), &[CLIENTS]);
    let KindDecision::Wait { at, .. } = home.decides() else { panic!("a first read") };
    assert_eq!(at.since(home.world.now).as_secs(), 30);
    home.world.pass(29);
    home.world.reads(json!({}), &[CLIENTS]);
    assert!(matches!(home.decides(), KindDecision::Wait { at: same, .. } if same == at), "not yet");
    home.world.pass(60);
    home.world.reads_groups(&[CLIENTS]);
    assert_eq!(home.decides(), KindDecision::ReadBoth, "one facet is not a read of both");
    home.world.lists(json!({}), &[CLIENTS]);
    assert_eq!(home.decides(), KindDecision::ReadBoth, "nor is a listing");
    home.world.reads(json!({}), &[CLIENTS]);
    assert!(matches!(home.decides(), KindDecision::Change(_)));

    let mut home = Household::of_staff_ada();
    for groups in [&[CLIENTS][..], &[STAFF], &[CLIENTS]] {
        home.world.reads(json!({}), groups);
        assert!(!matches!(home.decides(), KindDecision::Change(_)), "a read in between says otherwise");
        home.world.pass(60);
    }
    home.world.reads(json!({}), &[CLIENTS]);
    assert!(matches!(home.decides(), KindDecision::Change(_)));

    let mut home = Household::of_staff_ada();
    home.world.reads(json!({}), &[CLIENTS]);
    home.decides();
    home.world.pass(60);
    home.world.rules.version += 1;
    home.world.reads(json!({}), &[CLIENTS]);
    assert!(matches!(home.decides(), KindDecision::Wait { .. }), "other rules start anew");
}

#[test]
fn m7_returning_to_a_former_kind_brings_the_archived_record_back() {
    let mut home = Household::of_staff_ada();
    let employee = home.world.record().clone();
    home.changes_to(json!({}), &[CLIENTS]);
    let contact = home.world.record().id;
    let change = home.changes_to(json!({"jobTitle": "Lead"}), &[STAFF]);
    assert!(matches!(&change.next, Next::BringBack { record, .. } if *record == employee.id));
    let back = home.world.record();
    assert_eq!((back.id, back.kind, back.status), (employee.id, Kind::Employee, Status::Active));
    assert_eq!((&back.username, &back.email), (&employee.username, &employee.email), "its own names again");
    assert_eq!(back.fields["job_title"], "Lead", "and what Entra has now");
    assert_eq!(home.world.former.iter().map(|record| record.id).collect::<Vec<_>>(), [contact]);
}

#[test]
fn m7_names_come_back_also_where_entra_has_none_any_more() {
    let mut home = Household::of_staff_ada();
    let nameless = json!({"mail": null, "userPrincipalName": "a_b#EXT#@fabrikam.example"});
    home.changes_to(json!({}), &[CLIENTS]);
    home.changes_to(nameless, &[STAFF]);
    assert_eq!(home.world.record().username.as_deref(), Some("Ada"));
    assert_eq!(home.world.record().email.as_deref(), Some("Ada@fabrikam.example"));
}

#[test]
fn m8_a_record_in_use_stays_archived_and_the_next_archive_of_that_name_gets_a_number() {
    let mut home = Household::of_staff_ada();
    let first = home.world.record().id;
    home.changes_to(json!({}), &[CLIENTS]);
    home.world.former[0].in_use = true;
    let archived = home.world.former[0].clone();
    home.changes_to(json!({}), &[STAFF]);
    assert_ne!(home.world.record().id, first, "a new one, since the former is in use");
    let change = home.changes_to(json!({}), &[CLIENTS]);
    assert_eq!(change.archive.username.as_deref(), Some("Ada_Archived2"));
    assert_eq!(change.archive.email.as_deref(), Some("Ada@fabrikam.example_Archived2"));
    assert_eq!(home.world.former[0], archived, "neither renamed nor deleted");
}

#[test]
fn m8_an_archived_record_in_use_is_protected_and_so_is_root() {
    let record = |status, in_use, root| Record { status, in_use, root, ..blank_record(Kind::Employee) };
    let id = record_id(1);
    let refusal = may_rename_or_delete(&record(Status::Archived, true, false));
    assert_eq!(refusal, Err(RecordProtected::InUse { record: id }));
    assert_eq!(may_rename_or_delete(&record(Status::Active, false, true)), Err(RecordProtected::Root { record: id }));
    for free in [record(Status::Archived, false, false), record(Status::Active, true, false)] {
        assert_eq!(may_rename_or_delete(&free), Ok(()));
    }
}

#[test]
fn by_hand_moves_to_the_new_record_and_counts_for_no_brake() {
    let mut home = Household::of_staff_ada();
    home.world.inactive_for(&[Reason::ByHand]);
    let change = home.changes_to(json!({}), &[CLIENTS]);
    assert_eq!(change.brake, None, "nobody loses access");
    assert_eq!(home.world.record().reasons, BTreeSet::from([Reason::ByHand]));
    home.world.record_mut().reasons.clear();
    home.world.record_mut().status = Status::Active;
    home.changes_to(json!({}), &[STAFF]);
    assert_eq!(home.world.record().status, Status::Active, "switched on meanwhile: the archived reason is history");
}

#[test]
fn g24_root_and_those_who_should_be_out_change_no_kind() {
    let mut home = Household::of_staff_ada();
    home.world.record_mut().root = true;
    home.world.reads(json!({}), &[CLIENTS]);
    assert_eq!(home.decides(), KindDecision::Keep);
    for changes in [json!({"accountEnabled": false}), json!({"userType": "Guest"}), json!({"accountEnabled": null})] {
        let mut home = Household::of_staff_ada();
        home.world.reads(changes, &[CLIENTS]);
        assert_eq!(home.decides(), KindDecision::Keep);
        home.world.pass(60);
    }
    let mut home = Household::of_staff_ada();
    home.world.reads_404(true);
    assert_eq!(home.decides(), KindDecision::Keep);
}

#[test]
fn archived_names_are_free_and_lead_back() {
    let taken = ["ada", "ada_archived", "ada_archived2"].map(str::to_owned).into();
    assert_eq!(archived_name("Ada", &taken), "Ada_Archived3");
    assert_eq!(archived_name("Ada", &BTreeSet::new()), "Ada_Archived");
    for (name, original) in [
        ("Ada_Archived3", "Ada"),
        ("Ada_Archived", "Ada"),
        ("Ada3", "Ada3"),
        ("Ada_archived", "Ada_archived"),
        ("", ""),
    ] {
        assert_eq!(original_name(name), original);
    }
    let home = Household::of_staff_ada();
    let concerned = names_concerned(home.world.record(), &[]);
    assert_eq!(concerned.usernames, BTreeSet::from(["ada".to_owned()]));
}

#[derive(Clone, Debug)]
struct Event {
    pass: u64,
    groups: &'static [u128],
    enabled: bool,
    /// Profile and membership, or only one of them.
    read: (bool, bool),
    act: Act,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Nothing,
    ByHand,
    Activate,
    MarkInUse,
    /// The brake holds what this event would change.
    Hold,
}

fn life() -> impl Strategy<Value = Vec<Event>> {
    let groups: Vec<&'static [u128]> = vec![&[STAFF], &[CLIENTS], &[STAFF, CLIENTS], &[], &[CLIENTS, BANNED]];
    let pass = prop::sample::select(vec![1_u64, 15, 29, 30, 31, 1000]);
    let read = prop_oneof![6 => Just((true, true)), 1 => Just((true, false)), 1 => Just((false, true))];
    let acts = vec![Act::Nothing, Act::Nothing, Act::Nothing, Act::ByHand, Act::Activate, Act::MarkInUse, Act::Hold];
    let event = (pass, prop::sample::select(groups), prop::bool::weighted(0.85), read, prop::sample::select(acts));
    let event = event.prop_map(|(pass, groups, enabled, read, act)| Event { pass, groups, enabled, read, act });
    // People stay for a few reads in one group: otherwise two reads hardly ever agree.
    let stays = (event, 1..4_usize).prop_map(|(event, times)| vec![event; times]);
    prop::collection::vec(stays, 1..14).prop_map(|stays| stays.concat())
}

impl Household {
    fn lives(&mut self, event: &Event) {
        self.world.pass(event.pass);
        let changes = json!({ "accountEnabled": event.enabled });
        match event.read {
            (true, true) => self.world.reads(changes, event.groups),
            (true, false) => self.world.reads_profile(changes),
            _ => self.world.reads_groups(event.groups),
        }
        match (event.act, self.world.record.as_mut()) {
            (Act::ByHand, Some(record)) => {
                record.reasons.insert(Reason::ByHand);
                record.status = Status::Inactive;
                record.inactive_since.get_or_insert(self.world.now);
            }
            (Act::Activate, Some(record)) => {
                record.reasons.remove(&Reason::ByHand);
                if record.reasons.is_empty() {
                    (record.status, record.inactive_since) = (Status::Active, None);
                }
            }
            (Act::MarkInUse, _) => self.world.former.iter_mut().for_each(|record| record.in_use = true),
            _ => {}
        }
    }
}

/// What the winning rule gives by what was read last, said once more (house rules: staff before clients).
fn wanted(groups: &[u128], enabled: bool) -> Option<Kind> {
    match groups {
        _ if !enabled || groups.contains(&BANNED) => None,
        _ if groups.contains(&STAFF) => Some(Kind::Employee),
        _ if groups.contains(&CLIENTS) => Some(Kind::Contact),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// M7, M8, G-20 over whole lives: a kind changes only when two full reads at least 30 s apart agree and nothing in
    /// between said otherwise; at no instant two live logins; no name twice; what is in use is never touched again.
    #[test]
    fn g20_a_person_has_one_live_login_through_any_changes_of_kind(events in life()) {
        let mut home = Household::of_staff_ada();
        let (mut groups, mut enabled): (&[u128], bool) = (&[STAFF], true);
        let mut first: Option<(Kind, Timestamp)> = None;
        for event in &events {
            if event.read.0 { enabled = event.enabled; }
            if event.read.1 { groups = event.groups; }
            home.lives(event);
            let protected: Vec<Record> = home.world.former.iter().filter(|record| record.in_use).cloned().collect();
            let Some(kind) = home.world.record.as_ref().map(|record| record.kind) else { continue };
            let want = wanted(groups, enabled).filter(|want| *want != kind);
            let both = home.world.user.fresh == Fresh { profile: true, membership: true };
            first = match (want, first) {
                (None, _) => None,
                (Some(want), Some((seen, at))) if seen == want => Some((seen, at)),
                (Some(want), _) if both => Some((want, home.world.now)),
                (Some(_), _) => None,
            };
            let agreed = both && first.is_some_and(|(_, at)| home.world.now.since(at).as_secs() >= 30);
            let change = changed(&home.world.plan().steps);
            prop_assert_eq!(change.is_some(), agreed, "{:?}", change);
            if event.act == Act::Hold {
                home.takes_all_but_a_change();
                prop_assert_eq!(home.world.record().kind, kind, "held as a whole");
            } else {
                home.world.settles();
                prop_assert_eq!(Some(home.world.record().kind), want.filter(|_| agreed).or(Some(kind)));
                first = first.filter(|_| !agreed);
            }
            home.world.holds_together();
            prop_assert!(protected.iter().all(|record| home.world.former.contains(record)), "M8");
        }
    }
}
