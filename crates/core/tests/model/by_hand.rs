//! What an admin does by hand: who may edit what (M8, G-24, Y4), off and on (D4), root.

use lockstep_core::by_hand::{
    Activation, ByHandRefused, Editor, FieldEdit, activate, deactivate, edit, may_be_root, overwritten_by,
};
use lockstep_core::field::FieldMap;
use lockstep_core::plan::Step;
use lockstep_core::plan::WaitReason;
use lockstep_core::record::{Kind, Reason, Record, Status};
use lockstep_core::rules_file::RulesFile;
use lockstep_core::settings::UsernameStyle;
use serde_json::json;

use crate::world::*;

fn edited(record: &Record, field: &str, value: Option<&str>) -> Result<Record, ByHandRefused> {
    let editor = Editor { by: "grace".to_owned(), at: seconds(9), known: None };
    let edits = [FieldEdit { field: field.to_owned(), value: value.map(str::to_owned) }];
    edit(record, &edits, &FieldMap::default(), &editor)
}

#[test]
fn y4_an_edit_is_kept_with_who_and_when_and_the_same_value_is_no_edit() {
    let ada = edited(&blank_record(Kind::Employee), "job_title", Some(" Lead ")).expect("an edit");
    assert_eq!(ada.fields["job_title"], "Lead");
    let mark = &ada.edits["job_title"];
    assert_eq!((mark.by.as_str(), mark.at), ("grace", seconds(9)));
    assert_eq!(edited(&ada, "job_title", Some("Lead")), Ok(ada.clone()));
    let cleared = edited(&ada, "job_title", None).expect("a clearing");
    assert!(!cleared.fields.contains_key("job_title") && cleared.edits.contains_key("job_title"));
}

#[test]
fn what_a_record_cannot_hold_is_refused_without_the_value() {
    let ada = blank_record(Kind::Contact);
    for (field, value, says) in [
        ("jobtitle", "Lead", "has no field `jobtitle`; it has city"),
        ("role", "admin", "has no field `role`"),
        ("employee_id", "7", "has no field `employee_id`"),
        ("email", "canary", "not of the form name@domain"),
        ("username", "can ary", "no spaces"),
        ("display_name", "canary\u{202E}", "direction"),
        ("city", "  ", "--clear"),
    ] {
        let refused = edited(&ada, field, Some(value)).expect_err(field).to_string();
        assert!(refused.contains(says) && !refused.contains("canary"), "{refused}");
    }
}

/// M8, G-24.
#[test]
fn a_name_of_root_or_of_an_archived_record_in_use_is_nobodys_to_change() {
    let root = Record { root: true, ..blank_record(Kind::Employee) };
    let in_use = Record { status: Status::Archived, in_use: true, ..blank_record(Kind::Employee) };
    for record in [&root, &in_use] {
        for (field, value) in [("email", "new@fabrikam.example"), ("username", "new"), ("display_name", "New")] {
            assert!(matches!(edited(record, field, Some(value)), Err(ByHandRefused::Protected(_))), "{field}");
        }
        assert!(edited(record, "city", Some("Oslo")).is_ok());
    }
    let archived = Record { in_use: false, ..in_use };
    assert!(edited(&archived, "username", Some("new")).is_ok());
}

#[test]
fn y4_the_editor_is_told_what_in_entra_overwrites_the_field() {
    let file = RulesFile::parse(
        "[fields]\nnotes = { from = \"user.city\", local_only = true }\nteam = 'lower(user.department)'\n",
    );
    let fields = file.expect("a file").fields;
    let ada = blank_record(Kind::Employee);
    let says = |record: &Record, field| overwritten_by(record, field, &fields, UsernameStyle::LocalPart);
    assert_eq!(says(&ada, "job_title").as_deref(), Some("user.jobTitle"));
    assert_eq!(says(&ada, "team").as_deref(), Some("lower(user.department)"));
    assert_eq!(
        says(&ada, "username").as_deref(),
        Some("before(first_non_empty(user.mail, user.userPrincipalName), '@')")
    );
    assert_eq!(says(&ada, "notes"), None, "local-only");
    for untouched in [
        Record { entra_id: None, ..ada.clone() },
        Record { root: true, ..ada.clone() },
        Record { status: Status::Archived, ..ada.clone() },
    ] {
        assert_eq!(says(&untouched, "job_title"), None);
    }
}

#[test]
fn activate_removes_by_hand_and_nothing_else_and_access_comes_back_by_a_fresh_read() {
    let mut world = World::with_staff_ada();
    assert_eq!(activate(world.record()), Ok(Activation::NotByHand));
    let off = deactivate(world.record(), world.now).expect("may be").expect("was on");
    assert_eq!(off.reasons.iter().collect::<Vec<_>>(), [&Reason::ByHand]);
    assert_eq!((off.status, off.inactive_since), (Status::Inactive, Some(world.now)));
    assert_eq!(deactivate(&off, world.now), Ok(None), "twice is once");
    world.record = Some(off.clone());

    // Not by itself, and not by reads of before.
    let Ok(Activation::AfterRead(lifted)) = activate(&off) else { panic!("{:?}", activate(&off)) };
    assert_eq!((lifted.status, &lifted.reasons), (Status::Inactive, &off.reasons));
    world.record = Some(lifted.clone());
    world.pass(3600);
    world.user.fresh = Default::default();
    let plan = world.settles();
    assert_eq!(plan.wait.map(|wait| wait.reason), Some(WaitReason::NeedsBothFacets));
    assert!(!world.is_active());
    world.reads(json!({}), &[STAFF]);
    world.settles();
    assert!(world.is_active() && !world.record().by_hand_lifted);

    // Off again before the read: it stays off.
    let off_again = deactivate(&lifted, world.now).expect("may be").expect("it was to come back");
    assert!(!off_again.by_hand_lifted);
    world.record = Some(off_again);
    world.reads(json!({}), &[STAFF]);
    world.settles();
    assert_eq!(world.reasons(), [Reason::ByHand]);
}

/// Whoever lost access a short while ago needs two reads that agree, whoever took it.
#[test]
fn back_within_a_quarter_of_an_hour_needs_two_reads() {
    let mut world = World::with_staff_ada();
    let off = deactivate(world.record(), world.now).expect("may be").expect("was on");
    let Ok(Activation::AfterRead(lifted)) = activate(&off) else { panic!("linked") };
    world.record = Some(lifted);
    world.reads(json!({}), &[STAFF]);
    assert_eq!(world.settles().wait.map(|wait| wait.reason), Some(WaitReason::ReenableAgree));
    world.pass(30);
    world.reads(json!({}), &[STAFF]);
    world.settles();
    assert!(world.is_active());
}

#[test]
fn whoever_is_out_for_other_reasons_stays_out_when_by_hand_goes() {
    let mut world = World::with_staff_ada();
    world.inactive_for(&[Reason::ByHand, Reason::UpstreamDisabled]);
    let Ok(Activation::StillOut(record)) = activate(world.record()) else { panic!("two reasons") };
    assert_eq!(record.reasons.iter().collect::<Vec<_>>(), [&Reason::UpstreamDisabled]);

    // Taken back while the fresh read finds somebody disabled: one reason gives way to the other, never active between.
    world.inactive_for(&[Reason::ByHand]);
    let Ok(Activation::AfterRead(lifted)) = activate(world.record()) else { panic!("one reason") };
    world.record = Some(lifted);
    world.reads(json!({"accountEnabled": false}), &[STAFF]);
    world.settles();
    assert_eq!((world.reasons(), world.is_active()), (vec![Reason::UpstreamDisabled], false));

    let imported = Record { connection: None, entra_id: None, ..blank_record(Kind::Contact) };
    let off = deactivate(&imported, world.now).expect("may be").expect("was on");
    let Ok(Activation::Now(on)) = activate(&off) else { panic!("nobody in Microsoft to ask") };
    assert_eq!(on, imported);
}

/// G-24.
#[test]
fn root_is_never_switched_off_and_only_an_active_record_is_root() {
    let ada = blank_record(Kind::Employee);
    let root = Record { root: true, ..ada.clone() };
    assert!(matches!(deactivate(&root, seconds(1)), Err(ByHandRefused::Root { .. })));
    assert_eq!(may_be_root(&ada), Ok(()));
    for status in [Status::Inactive, Status::Archived] {
        assert!(may_be_root(&Record { status, ..ada.clone() }).is_err());
    }
    let archived = Record { status: Status::Archived, ..ada };
    assert!(deactivate(&archived, seconds(1)).is_err() && activate(&archived).is_err());
}

/// D5.
#[test]
fn sessions_end_when_the_instant_moves_forward_on_an_active_record_and_never_else() {
    let at = |hour: u8| json!({"signInSessionsValidFromDateTime": format!("2026-10-02T{hour:02}:00:00Z")});
    let ends = |world: &mut World| {
        let steps = world.settles().steps;
        steps.iter().any(|step| matches!(step, Step::NoteSessions { end: true, .. }))
    };
    let mut world = World::with_staff_ada();
    for (hour, expected, why) in [
        (6, false, "first sight"),
        (6, false, "equal"),
        (5, false, "backward: a replica lags"),
        (6, false, "back where it was"),
        (7, true, "forward"),
        (7, false, "once"),
    ] {
        world.reads(at(hour), &[STAFF]);
        assert_eq!(ends(&mut world), expected, "{why}");
        assert!(world.is_active(), "the record stays active");
    }
    // Who is out has no session to end, and none is ended on the way back for what happened meanwhile.
    let mut disabled = at(9);
    disabled["accountEnabled"] = json!(false);
    world.reads(disabled.clone(), &[STAFF]);
    world.settles();
    disabled["signInSessionsValidFromDateTime"] = json!("2026-10-02T11:00:00Z");
    world.reads(disabled, &[STAFF]);
    assert!(!ends(&mut world));
    world.pass(3600);
    world.reads(at(11), &[STAFF]);
    assert!(!ends(&mut world) && world.is_active());
}
