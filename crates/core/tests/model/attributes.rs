//! Mapped attributes: M4, M5, M9, Y4, G-11, BI-35; semantics, "Matching".

use lockstep_core::expression::{BadExpression, Expression};
use lockstep_core::field::FieldRule;
use lockstep_core::matching::Candidate;
use lockstep_core::plan::Changes;
use lockstep_core::review::ReviewKind;
use lockstep_core::settings::UsernameStyle;
use serde_json::{Value, json};

use crate::world::*;

fn field(from: &str) -> FieldRule {
    FieldRule {
        from: Some(Expression::parse(from).expect("an expression")),
        clear_when_blank: false,
        local_only: false,
    }
}

#[test]
fn only_what_differs_is_written() {
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"jobTitle": "Lead"}));
    let changes = world.only_update();
    assert_eq!(
        changes,
        Changes { fields: json!({"job_title": "Lead"}).as_object().cloned().expect("object"), ..Changes::default() }
    );
    assert_eq!(world.only_update(), Changes::default());
}

#[test]
fn a_blank_source_erases_only_where_the_mapping_says_so() {
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"jobTitle": null, "mail": "", "displayName": " "}));
    assert_eq!(world.only_update(), Changes::default());

    world.fields.0.insert("job_title".to_owned(), FieldRule { clear_when_blank: true, ..field("user.jobTitle") });
    let changes = world.only_update();
    assert_eq!(changes.fields["job_title"], Value::Null);
    assert_eq!(world.only_update(), Changes::default());
}

#[test]
fn a_property_that_graph_did_not_mention_clears_nothing() {
    let mut world = World::with_staff_ada();
    world.fields.0.insert("job_title".to_owned(), FieldRule { clear_when_blank: true, ..field("user.jobTitle") });
    world.lists(json!({}), &[STAFF]);
    let mut sparse = user_json(json!({}));
    sparse.remove("jobTitle");
    let sparse = lockstep_core::profile::Profile::from_graph(None, sparse).expect("a user");
    let found = lockstep_core::mirror::ProfileFound::Present(sparse.into());
    world.merge(Some((lockstep_core::mirror::Source::ById, found)), None);
    assert_eq!(world.only_update(), Changes::default());
}

/// M4, G-11: the manager comes with some reads and not with others, and nothing of access hangs on it.
#[test]
fn m4_the_manager_is_a_field_like_others_and_stops_no_deprovision() {
    let grace = json!({"id": "00000000-0000-4000-8000-00000000000f", "displayName": "Grace Hopper", "mail": null});
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"manager": grace}));
    assert_eq!(world.only_update().fields["manager"], "Grace Hopper");
    world.lists(json!({}), &[STAFF]);
    assert_eq!(world.only_update(), Changes::default(), "a listing says nothing of managers");
    world.reads_profile(json!({"manager": null}));
    assert_eq!(world.only_update(), Changes::default(), "none any more: blank");
    world
        .fields
        .0
        .insert("manager".to_owned(), FieldRule { clear_when_blank: true, ..field("user.manager.displayName") });
    assert_eq!(world.only_update().fields["manager"], Value::Null);

    let spoilt = json!({"displayName": "x".repeat(2000), "id": 7, "mail": {"a": 1}});
    for manager in [Value::Null, json!("nobody"), json!({}), spoilt] {
        let mut world = World::with_staff_ada();
        world.fields.0.insert("boss".to_owned(), field("upper(user.manager.mail) + user.manager.displayName"));
        world.reads(json!({"accountEnabled": false, "manager": manager}), &[STAFF]);
        world.settles();
        assert!(!world.is_active(), "{manager}");
    }
}

#[test]
fn m4_defaults_fill_what_entra_leaves_empty_and_overwrite_nothing() {
    let mut world = World::empty();
    world.defaults.employee =
        json!({"office": "Head office", "job_title": "Agent of none", "team": "A", "display_name": "New colleague"})
            .as_object()
            .cloned()
            .expect("object");
    world.reads(json!({"displayName": null}), &[STAFF]);
    world.settles();
    assert_eq!(world.record().fields["office"], "Head office");
    assert_eq!(world.record().fields["team"], "A");
    assert_eq!(world.record().fields["job_title"], "Agent");
    assert_eq!(world.record().display_name.as_deref(), Some("New colleague"));

    world.reads_profile(json!({"displayName": null, "jobTitle": null, "officeLocation": "Harbour"}));
    let changes = world.only_update();
    assert_eq!(Value::Object(changes.fields), json!({"office": "Harbour"}));
    world.reads_profile(json!({"displayName": null, "officeLocation": null}));
    assert_eq!(world.only_update(), Changes::default(), "a blank source does not bring the default back");
}

#[test]
fn y4_a_local_only_field_is_never_written() {
    let mut world = World::with_staff_ada();
    world.record_mut().fields.insert("job_title".to_owned(), json!("Edited here"));
    world.fields.0.insert("job_title".to_owned(), FieldRule { local_only: true, ..field("user.jobTitle") });
    assert_eq!(world.only_update(), Changes::default());
    world.fields.0.clear();
    assert_eq!(world.only_update().fields["job_title"], "Agent", "without the mark Entra's value comes back");
}

#[test]
fn m9_any_property_can_fill_any_field() {
    let mut world = World::with_staff_ada();
    world.fields.0.insert("login".to_owned(), field("user.userPrincipalName"));
    world.fields.0.insert("aliases".to_owned(), field("user.proxyAddresses"));
    world.fields.0.insert("display_name".to_owned(), field("user.givenName"));
    let changes = world.only_update();
    assert_eq!(changes.fields["login"], "ada@fabrikam.example");
    assert_eq!(changes.fields["aliases"][1], "smtp:a.example@fabrikam.example");
    assert_eq!(changes.display_name, Some(Some("Ada".to_owned())));
}

#[test]
fn m5_username_styles() {
    let upn = "ada.x@fabrikam.example";
    let cases = [
        (UsernameStyle::LocalPart, json!({}), Some("Ada")),
        (UsernameStyle::LocalPart, json!({"mail": null}), Some("ada.x")),
        (UsernameStyle::LocalPart, json!({"mail": null, "userPrincipalName": "a_b#EXT#@fabrikam.example"}), None),
        (UsernameStyle::Upn, json!({}), Some(upn)),
        (UsernameStyle::Email, json!({}), Some("Ada@fabrikam.example")),
        (UsernameStyle::Email, json!({"mail": null}), None),
    ];
    for (style, mut changes, expected) in cases {
        let mut world = World::empty();
        world.settings.username = style;
        let object = changes.as_object_mut().expect("object");
        object.entry("userPrincipalName").or_insert(json!(upn));
        world.reads(changes, &[STAFF]);
        world.settles();
        assert_eq!(world.record().username.as_deref(), expected, "{style:?}");
    }
}

#[test]
fn g11_a_bad_value_fails_its_own_field_and_nothing_else() {
    let bad = ["x".repeat(2000), "line\nbreak".to_owned(), "bell\u{7}".to_owned(), "\u{202E}gnp.exe".to_owned()];
    for value in bad {
        let mut world = World::with_staff_ada();
        world.reads_profile(json!({"jobTitle": value, "city": "Oslo", "accountEnabled": false}));
        let plan = world.settles();
        assert_eq!(plan.failed.iter().map(|failed| failed.name.as_str()).collect::<Vec<_>>(), ["job_title"]);
        assert_eq!(world.record().fields["job_title"], "Agent", "the old value stays");
        assert_eq!(world.record().fields["city"], "Oslo");
        assert!(!world.is_active(), "G-11: neither blocks a deprovision nor causes one");
    }
}

#[test]
fn bi35_markup_is_kept_as_text_and_an_address_has_its_line_breaks() {
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"jobTitle": "<b>=1+1</b>", "streetAddress": "Main Street 1\r\nBack door"}));
    let changes = world.only_update();
    assert_eq!(
        Value::Object(changes.fields),
        json!({"job_title": "<b>=1+1</b>", "street": "Main Street 1\r\nBack door"})
    );
}

#[test]
fn g11_a_bad_address_keeps_the_old_one() {
    for mail in ["nobody", "@fabrikam.example", "a b@fabrikam.example", "a@b@c", "a@\u{202E}b"] {
        let mut world = World::with_staff_ada();
        world.reads_profile(json!({ "mail": mail }));
        let plan = world.settles();
        assert!(plan.failed.iter().any(|failed| failed.name == "email"), "{mail}");
        assert_eq!(world.record().email.as_deref(), Some("Ada@fabrikam.example"));
    }
}

#[test]
fn a_new_address_that_belongs_to_somebody_else_is_a_question_and_the_rest_is_applied() {
    let mut world = World::with_staff_ada();
    let owner = Candidate { email_key: Some("new@fabrikam.example".to_owned()), username_key: None, ..imported_ada() };
    world.others = vec![owner];
    world.reads_profile(json!({"mail": "New@fabrikam.example", "jobTitle": "Lead"}));
    let plan = world.settles();
    assert_eq!(plan.reviews.iter().map(|review| review.kind).collect::<Vec<_>>(), [ReviewKind::AddressTaken]);
    assert_eq!(world.record().email.as_deref(), Some("Ada@fabrikam.example"));
    assert_eq!(world.record().fields["job_title"], "Lead");

    world.others.clear();
    assert_eq!(world.only_update().email, Some(Some("New@fabrikam.example".to_owned())));
}

#[test]
fn another_spelling_of_ones_own_address_is_no_clash() {
    let mut world = World::with_staff_ada();
    world.reads_profile(json!({"mail": "ADA@fabrikam.example"}));
    let changes = world.only_update();
    assert_eq!(changes.email, Some(Some("ADA@fabrikam.example".to_owned())));
}

#[test]
fn m11_a_bad_expression_is_refused_with_its_place() {
    let place = |text| Expression::parse(text).map_err(|BadExpression { position, .. }| position);
    assert_eq!(place("user.jobTitle").map(|expression| expression.to_string()), Ok("user.jobTitle".to_owned()));
    assert_eq!(place("usr.jobTitle"), Err(0));
    assert_eq!(place("user.jobtitle"), Err(5));
    assert_eq!(place("user.jobTitle +"), Err(15));
    assert_eq!(place("user.nothing"), Err(5));
    assert_eq!(place(""), Err(0));
    let error = Expression::parse("user.jobtitle").expect_err("another spelling").to_string();
    assert!(error.contains("user.jobTitle"), "{error}");
}
