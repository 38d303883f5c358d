//! From employee to contact and back (M7, M8), from the group in Microsoft to the record: over real notifications.

use std::time::Duration;

use lockstep_core::record::{Kind, Reason, Record, Status};
use lockstep_core::{ObjectId, RecordId};
use lockstep_store::import::ImportedRecord;
use lockstep_store::view::hold::{HoldFilter, HoldState};
use lockstep_store::view::record::RecordView;
use lockstep_testkit::{RuleFor, World};
use serde_json::json;
use uuid::Uuid;

/// Staff are employees, clients of the portal are contacts.
struct House {
    world: World,
    staff: Uuid,
    portal: Uuid,
}

impl House {
    async fn founded() -> Self {
        let world = World::start().await;
        let (staff, portal) = (world.group("Staff"), world.group("Portal"));
        Self { world, staff, portal }
    }

    async fn mapped(&self) {
        let rules = [
            RuleFor { group: self.staff, order: 10, kind: Kind::Employee, role: "Technician" },
            RuleFor { group: self.portal, order: 20, kind: Kind::Contact, role: "Client" },
        ];
        self.world.map(&rules).await;
    }

    /// Enough people for the brake to let several change.
    fn hire(&self, people: usize) -> Vec<Uuid> {
        (0..people).map(|n| self.world.hire(&format!("Person {n}"), &[self.staff])).collect()
    }

    fn swaps(&self, person: Uuid, from: Uuid, to: Uuid) {
        self.world.tenant.remove_member(from, person).expect("they are in it");
        self.world.tenant.add_member(to, person).expect("the group exists");
    }

    /// Out of one group and into the other: told, read, and half a minute later read again.
    async fn moves(&self, person: Uuid, from: Uuid, to: Uuid) {
        let before = self.live(person).await;
        self.swaps(person, from, to);
        self.world.pass(Duration::from_secs(6)).await;
        assert_eq!(self.live(person).await, before, "one read changes no kind and takes no access");
        self.world.pass(Duration::from_secs(31)).await;
    }

    async fn live(&self, person: Uuid) -> Record {
        let all = self.all_of(person).await;
        assert_eq!(all.iter().filter(|record| record.status != Status::Archived).count(), 1, "G-20");
        self.world.record(person).await.expect("a live record")
    }

    async fn all_of(&self, person: Uuid) -> Vec<RecordView> {
        let mut records = self.world.records().await;
        records.retain(|record| record.entra_id == Some(ObjectId(person)));
        records
    }

    async fn archived(&self, id: RecordId) -> RecordView {
        let record = self.world.store.lookup_record_view(&id.to_string()).await.expect("the store answers");
        record.filter(|record| record.status == Status::Archived).expect("it is archived")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn m7_an_employee_becomes_a_contact_and_comes_back() {
    let house = House::founded().await;
    let ada = house.hire(8)[0];
    house.mapped().await;
    let employee = house.live(ada).await;

    house.moves(ada, house.staff, house.portal).await;
    let contact = house.live(ada).await;
    assert_eq!(
        (contact.kind, contact.status, contact.role.as_deref()),
        (Kind::Contact, Status::Active, Some("Client"))
    );
    assert_eq!((&contact.email, &contact.username), (&employee.email, &employee.username));
    let old = house.archived(employee.id).await;
    assert_eq!((old.reasons, old.successor), ([Reason::KindChanged].into(), Some(contact.id)));
    assert_eq!(old.username, employee.username.as_ref().map(|name| format!("{name}_Archived")));
    assert_eq!(old.email, employee.email.as_ref().map(|address| format!("{address}_Archived")));

    house.moves(ada, house.portal, house.staff).await;
    let back = house.live(ada).await;
    assert_eq!((back.id, back.kind, back.status), (employee.id, Kind::Employee, Status::Active));
    assert_eq!((&back.email, &back.username, &back.role), (&employee.email, &employee.username, &employee.role));
    assert_eq!(house.archived(contact.id).await.successor, Some(employee.id));
    assert_eq!(house.all_of(ada).await.len(), 2);
    house.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn m8_a_record_in_use_stays_archived_and_the_way_back_leads_to_a_new_one() {
    let house = House::founded().await;
    let people = house.hire(8);
    let mail = format!("kept@{}", house.world.tenant.domain());
    house.world.tenant.patch_user(people[0], json!({ "mail": mail })).expect("they exist");
    let line = json!({"kind": "employee", "email": mail, "display_name": "Kept", "host_id": "1", "in_use": true});
    let lines = ImportedRecord::parse_file(&line.to_string()).unwrap_or_else(|_| panic!("the line is good"));
    house.world.store.import_records(&house.world.connection, &lines).await.expect("the import works");
    house.mapped().await;
    let (ada, imported) = (people[0], house.live(people[0]).await);
    assert!(imported.in_use, "matched by address");

    house.moves(ada, house.staff, house.portal).await;
    let kept = house.archived(imported.id).await;
    house.moves(ada, house.portal, house.staff).await;
    let second = house.live(ada).await;
    assert_ne!(second.id, imported.id, "what other data refers to is not brought back");
    assert_eq!((second.kind, second.email.as_deref()), (Kind::Employee, Some(mail.as_str())));
    house.moves(ada, house.staff, house.portal).await;
    assert_eq!(house.archived(second.id).await.email, Some(format!("{mail}_Archived2")));
    let untouched = house.archived(imported.id).await;
    assert_eq!((untouched.email, untouched.updated_at), (kept.email, kept.updated_at));
    house.world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d6_above_the_brakes_limit_a_change_of_kind_is_held_until_the_old_kind_wins_again() {
    let house = House::founded().await;
    // Below six people one in half an hour.
    let people = house.hire(4);
    house.mapped().await;
    house.moves(people[0], house.staff, house.portal).await;
    assert_eq!(house.live(people[0]).await.kind, Kind::Contact);

    let before = house.live(people[1]).await;
    house.moves(people[1], house.staff, house.portal).await;
    assert_eq!(house.live(people[1]).await, before, "held as a whole");
    let open = HoldFilter { state: Some(HoldState::Open), ..HoldFilter::default() };
    let holds = house.world.store.list_holds(&open).await.expect("the store answers");
    let on_it: Vec<_> =
        holds.iter().flat_map(|hold| &hold.people).map(|held| (held.record, held.cause.clone())).collect();
    assert_eq!(on_it, [(before.id, [Reason::KindChanged].into())]);

    house.moves(people[1], house.portal, house.staff).await;
    assert!(house.world.store.list_holds(&open).await.expect("the store answers").is_empty());
    assert_eq!(house.live(people[1]).await.id, before.id);
    house.world.stop().await;
}
