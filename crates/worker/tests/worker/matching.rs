//! Linking an existing record by e-mail, only under the conditions of TH-09.

use lockstep_core::ObjectId;
use lockstep_core::record::{Kind, Status};
use lockstep_core::review::ReviewKind;
use lockstep_simulator::{NewUser, Tenant};
use lockstep_store::import::ImportedRecord;
use serde_json::{Map, json};
use uuid::Uuid;

use crate::world::{World, employees};

pub fn existing(tenant: &Tenant, name: &str) -> ImportedRecord {
    let local = name.to_lowercase().replace(' ', ".");
    ImportedRecord {
        line: 1,
        kind: Kind::Employee,
        email: Some(format!("{local}@{}", tenant.domain())),
        username: Some(local),
        display_name: Some(name.to_owned()),
        fields: Map::new(),
        host_id: Some(Uuid::new_v4().to_string()),
        in_use: true,
        role: None,
        permissions: Vec::new(),
        privileged: false,
    }
}

pub async fn with_existing(records: &[ImportedRecord]) -> (World, Uuid) {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    world.apply(vec![employees(staff)]).await;
    let outcome = world.store.import_records(&world.connection, records).await.unwrap();
    assert_eq!(outcome.imported, records.len() as u64);
    world.work();
    (world, staff)
}

/// Nobody is linked, a person is asked, and the record that was there is left alone.
async fn assert_asked(world: &World, user: Uuid) {
    assert!(world.record(user).await.is_none(), "nothing is linked");
    let reviews = world.reviews().await;
    assert!(reviews.iter().any(|review| review.kind == ReviewKind::Link && review.entra_id == ObjectId(user)));
}

#[tokio::test]
async fn five_hundred_existing_people_keep_their_ids_when_three_hundred_are_in_entra() {
    let mut world = World::open().await;
    let (users, groups) = world.tenant.seed(300, 300, &["Staff"]);
    let mut records = Vec::new();
    for (place, user) in world.tenant.truth().into_iter().enumerate() {
        let mut record = existing(&world.tenant, "x");
        record.email = Some(user.user_principal_name.to_uppercase());
        record.username = Some(format!("old{place}"));
        records.push(record);
    }
    for place in 0..200 {
        records.push(existing(&world.tenant, &format!("Gone Person{place}")));
    }
    world.apply(vec![employees(groups[0])]).await;
    let outcome = world.store.import_records(&world.connection, &records).await.unwrap();
    assert_eq!((outcome.imported, outcome.refused.len()), (500, 0));
    world.work();
    let progress = world.sync().await;

    assert_eq!((progress.linked, progress.created, progress.reviews), (300, 0, 0));
    let ada = world.record(users[0]).await.unwrap();
    assert!(ada.in_use, "the imported record itself, with what refers to it");
    world.rest().await;
}

#[tokio::test]
async fn an_existing_person_is_linked_and_keeps_the_record() {
    let mut world = World::open().await;
    let records = [existing(&world.tenant, "Ada Lovelace")];
    let staff = world.group("Staff");
    world.apply(vec![employees(staff)]).await;
    world.store.import_records(&world.connection, &records).await.unwrap();
    world.work();
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.sync().await;
    let record = world.record(ada).await.expect("linked");
    assert_eq!((record.status, record.role.as_deref()), (Status::Active, Some("staff")));
    assert!(record.in_use);
    world.rest().await;
}

/// Somebody else in the tenant, outside every mapped group, has the address as an alias.
#[tokio::test]
async fn th09_an_address_that_two_people_have_is_asked_about() {
    let seed = World::open().await;
    let (mut world, staff) = with_existing(&[existing(&seed.tenant, "Ada Lovelace")]).await;
    let address = format!("ada.lovelace@{}", world.tenant.domain());
    world.add(NewUser::named("Other").with("proxyAddresses", json!([format!("smtp:{address}")])), &[]);
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.sync().await;
    assert_asked(&world, ada).await;
    world.rest().await;
}

/// An address of a domain that is not the connection's.
#[tokio::test]
async fn th09_an_address_of_a_foreign_domain_is_asked_about() {
    let seed = World::open().await;
    let mut record = existing(&seed.tenant, "Ada");
    record.email = Some("ada@elsewhere.example".to_owned());
    let (mut world, staff) = with_existing(&[record]).await;
    let mut user = NewUser::named("Ada");
    user.mail = Some("ada@elsewhere.example".to_owned());
    let ada = world.add(user, &[staff]);
    world.sync().await;
    assert_asked(&world, ada).await;
    world.rest().await;
}

#[tokio::test]
async fn th09_a_privileged_record_is_asked_about() {
    let seed = World::open().await;
    let mut record = existing(&seed.tenant, "Ada Lovelace");
    record.privileged = true;
    let (mut world, staff) = with_existing(&[record]).await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.sync().await;
    assert_asked(&world, ada).await;
    world.rest().await;
}

/// The second of two directory users with one address goes to review; the first stays linked (BI-36).
#[tokio::test]
async fn bi36_a_linked_record_is_never_taken_over() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada Lovelace", &[staff]);
    world.sync().await;
    let address = format!("ada.lovelace@{}", world.tenant.domain());
    let mut thief = NewUser::named("Mallory");
    thief.mail = Some(address);
    let thief = world.add(thief, &[staff]);
    world.notify_members(staff, &[(thief, false)]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert_asked(&world, thief).await;
    world.rest().await;
}
