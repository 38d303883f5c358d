//! The stories of the three systems that Lockstep covers (requirements.md, S1 to S3), through HTTP from Microsoft to the
//! record, each sentence by its id.

use std::time::Duration;

use lockstep_core::ObjectId;
use lockstep_core::field::FieldMap;
use lockstep_core::record::{Kind, Reason, Record, Status};
use lockstep_core::rule::Rule;
use lockstep_core::settings::{Defaults, Settings, UsernameStyle};
use lockstep_simulator::{NewGroup, NewUser};
use lockstep_store::import::ImportedRecord;
use lockstep_store::{ConnectionState, NewConnection};
use lockstep_testkit::{World, connection_to};
use lockstep_tests::{Company, assert_in, assert_out};
use serde_json::{Map, json};
use uuid::Uuid;

const SOON: Duration = Duration::from_secs(6);
/// More than the two reads that lost scope needs.
const AGREED: Duration = Duration::from_secs(11);

/// S1, D1, D2: whatever way Microsoft revokes access, it ends here, the record is kept, and nobody else is touched.
#[tokio::test(flavor = "multi_thread")]
async fn s1_revoked_in_microsoft_is_revoked_here() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    // Enough colleagues that three leavers are no accident.
    let stays = world.hire("Stays Here", &[company.staff]);
    for n in 0..12 {
        world.hire(&format!("Colleague {n}"), &[company.staff]);
    }
    let [disabled, deleted, removed] =
        ["Dis Abled", "Del Eted", "Rem Oved"].map(|name| world.hire(name, &[company.staff]));
    world.settle().await;

    world.tenant.patch_user(disabled, json!({"accountEnabled": false})).expect("they exist");
    world.tenant.delete_user(deleted, false).expect("they exist");
    world.tenant.remove_member(company.staff, removed).expect("they are staff");
    world.pass(SOON).await;
    world.pass(AGREED).await;

    assert_out(world.record(disabled).await.as_ref(), Reason::UpstreamDisabled);
    assert_out(world.record(deleted).await.as_ref(), Reason::UpstreamDeleted);
    assert_out(world.record(removed).await.as_ref(), Reason::OutOfScope);
    assert_in(world.record(stays).await.as_ref(), "Technician");
    world.stop().await;
}

/// S1, D2: consent gone from the tenant deactivates nobody by itself; the connection says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn s1_consent_withdrawn_takes_nobody_out_and_alarms() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;

    world.tenant.set_permissions_at_once(Vec::new());
    world.tenant.patch_user(ada, json!({"accountEnabled": false})).expect("ada exists");
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while world.connection_now().await.state != ConnectionState::NeedsAttention {
        assert!(std::time::Instant::now() < until, "the connection does not ask for attention");
        world.clock.advance(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let connection = world.connection_now().await;
    assert!(connection.reason.is_some() && connection.remedy.is_some());
    assert_in(world.record(ada).await.as_ref(), "Technician");
    world.stop().await;
}

fn include(group: Uuid, order: i64, kind: Kind, role: &str) -> Rule {
    Rule {
        group: ObjectId(group),
        order,
        kind,
        role: Some(role.to_owned()),
        permissions: vec![format!("{role}-module")],
        nested: true,
        exclude: false,
        group_name: role.to_owned(),
        group_created_at: None,
    }
}

async fn map(world: &World, rules: Vec<Rule>, defaults: &Defaults, settings: &Settings) {
    let fields = FieldMap::default();
    let applied = world.store.apply_rules(world.connection.id, rules, &fields, defaults, settings, &[]).await;
    applied.expect("the rules are applied");
    world.sync().await;
    world.subscribed().await;
    world.settle().await;
}

/// S2, Y6: a sync tried on the named test accounts alone; everybody else is left as they are.
#[tokio::test(flavor = "multi_thread")]
async fn s2_a_sync_is_tried_on_the_named_test_accounts_alone() {
    let world = World::start_as(|tenant| NewConnection {
        test_users: vec![format!("Test.Account@{}", tenant.domain())],
        ..connection_to(tenant)
    })
    .await;
    let staff = world.group("Staff");
    let (tried, other) = (world.hire("Test Account", &[staff]), world.hire("Ada Lovelace", &[staff]));
    let rules = vec![include(staff, 10, Kind::Employee, "Technician")];
    map(&world, rules, &Defaults::default(), &Settings::default()).await;
    assert_in(world.record(tried).await.as_ref(), "Technician");
    assert_eq!(world.record(other).await, None);

    world.tenant.patch_user(tried, json!({"accountEnabled": false})).expect("they exist");
    world.tenant.patch_user(other, json!({"jobTitle": "Lead"})).expect("they exist");
    world.pass(SOON).await;
    assert_out(world.record(tried).await.as_ref(), Reason::UpstreamDisabled);
    assert_eq!(world.record(other).await, None);
    world.stop().await;
}

/// S2, M9: the UPN is the sign-in name, follows Microsoft, and is a field of its own beside the e-mail address.
#[tokio::test(flavor = "multi_thread")]
async fn s2_the_upn_is_the_sign_in_name() {
    let world = World::start().await;
    let staff = world.group("Staff");
    let domain = world.tenant.domain();
    let mail = format!("ada@{domain}");
    let ada = world.tenant.create_user(NewUser { mail: Some(mail.clone()), ..NewUser::named("Ada Lovelace") });
    world.tenant.add_member(staff, ada).expect("the group exists");
    let settings = Settings { username: UsernameStyle::Upn, ..Settings::default() };
    map(&world, vec![include(staff, 10, Kind::Employee, "Technician")], &Defaults::default(), &settings).await;
    let record = world.record(ada).await.expect("ada is in");
    assert_eq!(record.username, Some(format!("ada.lovelace@{domain}")));
    assert_eq!(record.email, Some(mail.clone()));

    world.tenant.patch_user(ada, json!({"userPrincipalName": format!("ada.king@{domain}")})).expect("ada exists");
    world.pass(SOON).await;
    let record = world.record(ada).await.expect("ada is in");
    assert_eq!(record.username, Some(format!("ada.king@{domain}")));
    assert_eq!(record.fields["upn"], json!(format!("ada.king@{domain}")));
    assert_eq!(record.email, Some(mail));
    world.stop().await;
}

/// S3, M1, M2, M6: of several mapped groups the lowest order wins, at equal order the oldest group; employees and contacts;
/// the existing access is overridden; without a rule there is none.
#[tokio::test(flavor = "multi_thread")]
async fn s3_rules_give_kind_role_and_modules_in_their_order() {
    let world = World::start().await;
    let founded =
        |name: &str, at: i64| world.tenant.create_group(NewGroup { created: Some(at), ..NewGroup::named(name) });
    let year = 31_557_600_000_000;
    let (young, old, portal) = (founded("Young", 50 * year), founded("Old", 40 * year), founded("Portal", 45 * year));
    let both = world.hire("Both Groups", &[young, old]);
    let first = world.hire("First Order", &[old, portal]);
    let outside = world.hire("Out Side", &[]);
    let created =
        |rule: Rule, at: i64| Rule { group_created_at: Some(lockstep_core::Timestamp::from_micros(at)), ..rule };
    let rules = vec![
        created(include(young, 20, Kind::Employee, "young"), 50 * year),
        created(include(old, 20, Kind::Employee, "old"), 40 * year),
        created(include(portal, 10, Kind::Contact, "portal"), 45 * year),
    ];
    map(&world, rules, &Defaults::default(), &Settings::default()).await;

    assert_in(world.record(both).await.as_ref(), "old");
    let contact = world.record(first).await;
    assert_in(contact.as_ref(), "portal");
    let Record { kind, permissions, .. } = contact.expect("they are in");
    assert_eq!((kind, permissions), (Kind::Contact, vec!["portal-module".to_owned()]));
    assert_eq!(world.record(outside).await, None, "no rule, no access");

    world.tenant.remove_member(old, both).expect("they are in it");
    world.pass(SOON).await;
    assert_in(world.record(both).await.as_ref(), "young");
    world.stop().await;
}

/// S3, M4, M5: mandatory fields that Entra leaves empty take the employee defaults; the username is the part before the @.
#[tokio::test(flavor = "multi_thread")]
async fn s3_defaults_fill_what_entra_leaves_empty_and_the_username_is_the_local_part() {
    let world = World::start().await;
    let staff = world.group("Staff");
    let filled = NewUser::named("Ada Lovelace").with("department", "Engines");
    let (blank, filled) = (world.hire("Grace Hopper", &[staff]), world.tenant.create_user(filled));
    world.tenant.add_member(staff, filled).expect("the group exists");
    let employee: Map<_, _> = [("department".to_owned(), json!("General"))].into_iter().collect();
    let defaults = Defaults { employee, contact: Map::new() };
    map(&world, vec![include(staff, 10, Kind::Employee, "Technician")], &defaults, &Settings::default()).await;

    let (blank, filled) = (world.record(blank).await.expect("in"), world.record(filled).await.expect("in"));
    assert_eq!((&blank.fields["department"], blank.username.as_deref()), (&json!("General"), Some("grace.hopper")));
    assert_eq!((&filled.fields["department"], filled.username.as_deref()), (&json!("Engines"), Some("ada.lovelace")));
    world.stop().await;
}

/// S3, M3, R6: an existing record is found by its e-mail address, linked and overridden; its id and what refers to it stay.
#[tokio::test(flavor = "multi_thread")]
async fn s3_an_existing_record_is_linked_by_its_address_and_keeps_its_id() {
    let world = World::start().await;
    let staff = world.group("Staff");
    let mail = format!("ada.lovelace@{}", world.tenant.domain());
    let known: ImportedRecord = serde_json::from_value(json!({
        "kind": "employee", "email": mail.to_uppercase(), "username": "ada", "display_name": "A. Lovelace",
        "host_id": "42", "role": "Old role", "in_use": true,
    }))
    .expect("a line of an import");
    world.store.import_records(&world.connection, &[known]).await.expect("imported");
    let before = world.records().await.remove(0);
    assert_eq!(before.status, Status::Active);

    let ada = world.hire("Ada Lovelace", &[staff]);
    let rules = vec![include(staff, 10, Kind::Employee, "Technician")];
    map(&world, rules, &Defaults::default(), &Settings::default()).await;
    let after = world.record(ada).await;
    assert_in(after.as_ref(), "Technician");
    let after = after.expect("ada is in");
    assert_eq!((after.id, after.in_use, after.display_name.as_deref()), (before.id, true, Some("Ada Lovelace")));
    assert_eq!(world.records().await.len(), 1);
    world.stop().await;
}

/// S3, Y2, Y3: a notification on any property wakes the sync, and only mapped fields are consumed.
#[tokio::test(flavor = "multi_thread")]
async fn s3_any_change_wakes_the_sync_and_only_mapped_fields_are_consumed() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let ada = world.hire("Ada Lovelace", &[company.staff]);
    world.settle().await;
    let before = world.record(ada).await.expect("ada is in");

    world.tenant.patch_user(ada, json!({"faxNumber": "+1 555 0199", "jobTitle": "Lead"})).expect("ada exists");
    world.pass(SOON).await;
    let after = world.record(ada).await.expect("ada is in");
    let mut expected = before.fields.clone();
    expected.insert("job_title".to_owned(), json!("Lead"));
    assert_eq!(after.fields, expected);
    world.stop().await;
}

/// M10: the mapped group itself is deleted: nobody is purged by it, each is read by id, and many are held.
#[tokio::test(flavor = "multi_thread")]
async fn a_mapped_group_that_is_deleted_is_never_a_silent_purge() {
    let world = World::start().await;
    let company = Company::connected(&world).await;
    let people: Vec<Uuid> = (0..40).map(|n| world.hire(&format!("Person {n}"), &[company.staff])).collect();
    world.settle().await;
    world.sync().await;

    world.tenant.delete_group(company.staff, false).expect("the group exists");
    for _ in 0..4 {
        world.pass(AGREED).await;
    }
    let mut out = 0;
    for person in &people {
        let record = world.record(*person).await.expect("kept");
        out += usize::from(record.status == Status::Inactive);
    }
    assert_eq!(out, 20, "half an hour lets max(20, 10 %) go, the rest is held");
    let holds = world.store.list_holds(&lockstep_store::view::hold::HoldFilter::default()).await.expect("holds");
    assert_eq!(holds.iter().map(|hold| hold.people.len()).sum::<usize>(), 20);
    let rules = world.store.list_rule_views(world.connection.id).await.expect("rules");
    let shown = rules.iter().find(|rule| rule.group == ObjectId(company.staff)).expect("the rule stays");
    assert_eq!(serde_json::to_value(shown.group_state).expect("a word"), "deleted");
    world.stop().await;
}
