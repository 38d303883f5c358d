//! From employee to contact and back (M7, M8, G-13, G-14, G-20).

use std::time::Duration;

use lockstep_core::brake::Judgement;
use lockstep_core::mirror::PersonRead;
use lockstep_core::record::{Kind, Reason, Record, Status};
use lockstep_core::rule::Rule;
use lockstep_core::{ObjectId, RecordId};
use lockstep_store::view::hold::HoldFilter;
use lockstep_store::view::record::RecordView;
use lockstep_store::{Applied, PersonOutcome};
use uuid::Uuid;

use crate::world::{World, mail, rule};

const LIVE: &str = "SELECT count(*) FROM record WHERE status <> 'archived'";
const TRACE: &str = "SELECT (SELECT count(*) FROM history) + (SELECT count(*) FROM audit WHERE object_kind = 'record')";
const ARCHIVED_AS: &str = "SELECT username_key || ' ' || email_key FROM record WHERE status = 'archived' ORDER BY id";

/// Staff are employees, clients are contacts; person 1 is staff.
struct House {
    world: World,
    clients: ObjectId,
}

impl House {
    async fn of(people: &[u128]) -> Self {
        let mut world = World::new().await;
        let clients = ObjectId(Uuid::new_v4());
        let contacts = Rule { kind: Kind::Contact, ..rule(clients, 20, "client") };
        world.set_rules(vec![rule(world.staff, 10, "staff"), contacts]).await;
        let house = Self { world, clients };
        house.sync(people, house.world.staff).await;
        house
    }

    async fn reads(&self, people: &[u128], group: ObjectId) -> Vec<PersonRead> {
        let mut reads = Vec::new();
        for n in people {
            reads.push(self.world.read(*n, &mail(*n), true, &[group]).await);
        }
        reads
    }

    async fn sync(&self, people: &[u128], group: ObjectId) -> Applied {
        self.world.sync(&self.reads(people, group).await).await.unwrap()
    }

    /// Two reads that agree, half a minute apart.
    async fn moves(&self, people: &[u128], group: ObjectId) -> Applied {
        self.world.wait(Duration::from_secs(3600));
        let first = self.sync(people, group).await;
        assert!(first.per_person.iter().all(|outcome| *outcome == PersonOutcome::Waiting), "{first:?}");
        self.world.wait(Duration::from_secs(30));
        self.sync(people, group).await
    }

    /// The second read meets the brake.
    async fn moves_against(&self, group: ObjectId, judgement: Judgement) -> Applied {
        let reads = self.reads(&[1], group).await;
        let mut tx = self.world.store.begin("judged").await.unwrap();
        let people = tx.mirror(&self.world.connection, &reads).await.unwrap();
        let applied = self.world.decide_as(&mut tx, &people, &reads, judgement).await.unwrap();
        tx.commit().await.unwrap();
        applied
    }

    async fn ada(&self) -> Record {
        self.world.record(1).await
    }

    async fn shown(&self, id: RecordId) -> RecordView {
        self.world.store.lookup_record_view(&id.to_string()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn m7_the_old_record_is_archived_and_one_of_the_new_kind_takes_its_place() {
    let house = House::of(&[1]).await;
    let (world, employee) = (&house.world, house.ada().await);
    let trace = world.number(TRACE).await;
    let applied = house.moves(&[1], house.clients).await;
    assert_eq!((applied.updated, applied.reviews, &applied.per_person[..]), (1, 0, &[PersonOutcome::Applied][..]));

    let contact = house.ada().await;
    assert_ne!(contact.id, employee.id);
    assert_eq!(
        (contact.kind, contact.status, contact.role.as_deref()),
        (Kind::Contact, Status::Active, Some("client"))
    );
    assert_eq!(
        (&contact.email, &contact.username),
        (&employee.email, &employee.username),
        "the names go with the person"
    );
    let old = house.shown(employee.id).await;
    assert_eq!((old.status, old.kind), (Status::Archived, Kind::Employee));
    assert_eq!(old.reasons, [Reason::KindChanged].into());
    assert_eq!(old.email, Some(format!("{}_Archived", mail(1))));
    assert_eq!(old.username.as_deref(), Some("person1_Archived"));
    assert_eq!(old.entra_id, contact.entra_id, "known for the way back");
    assert_eq!((old.successor, old.predecessor), (Some(contact.id), None));
    let new = house.shown(contact.id).await;
    assert_eq!((new.successor, new.predecessor), (None, Some(employee.id)));
    assert!(new.verified_at.is_some());

    // G-13: one history row and one audit entry each, the counts and what the brake counts.
    assert_eq!(world.number(TRACE).await, trace + 4);
    assert_eq!(world.number("SELECT count(*) FROM audit WHERE action = 'record.kind_change'").await, 2);
    assert_eq!(world.text("SELECT active || ' ' || inactive FROM people_count").await, "1 0");
    assert_eq!(world.text("SELECT class FROM removal").await, "lost_scope");
    assert_eq!(world.number("SELECT count(*) FROM removal WHERE exempt").await, 0);
    assert_eq!(world.number(LIVE).await, 1);
}

#[tokio::test]
async fn g_14_a_change_of_kind_applied_twice_leaves_the_same_rows() {
    let house = House::of(&[1]).await;
    house.sync(&[1], house.clients).await;
    house.world.wait(Duration::from_secs(30));
    let reads = house.reads(&[1], house.clients).await;
    house.world.sync(&reads).await.unwrap();
    let (record, trace) = (house.ada().await, house.world.number(TRACE).await);
    assert_eq!(record.kind, Kind::Contact);
    let again = house.world.sync(&reads).await.unwrap();
    assert_eq!(again.per_person, [PersonOutcome::Unchanged]);
    assert_eq!((house.ada().await, house.world.number(TRACE).await), (record, trace));
    assert_eq!(house.world.number("SELECT count(*) FROM record").await, 2);
    let waiting = "SELECT count(*) FROM directory_user WHERE kind_seen IS NOT NULL";
    assert_eq!(house.world.number(waiting).await, 0, "nothing is asked any more");
}

#[tokio::test]
async fn m7_a_read_that_contradicts_starts_anew() {
    let house = House::of(&[1]).await;
    for group in [house.clients, house.world.staff, house.clients] {
        house.sync(&[1], group).await;
        house.world.wait(Duration::from_secs(60));
    }
    assert_eq!(house.ada().await.kind, Kind::Employee);
    house.sync(&[1], house.clients).await;
    assert_eq!(house.ada().await.kind, Kind::Contact);
}

#[tokio::test]
async fn m7_the_way_back_leads_to_the_same_record_and_its_names() {
    let house = House::of(&[1]).await;
    let employee = house.ada().await;
    house.moves(&[1], house.clients).await;
    let contact = house.ada().await;
    house.moves(&[1], house.world.staff).await;
    let back = house.ada().await;
    assert_eq!(back, employee);
    let archived = house.shown(contact.id).await;
    assert_eq!((archived.status, archived.successor), (Status::Archived, Some(employee.id)));
    assert_eq!(house.world.texts(ARCHIVED_AS).await, [format!("person1_archived {}_archived", mail(1))]);
    assert_eq!(house.world.text("SELECT active || ' ' || inactive FROM people_count").await, "1 0");
    house.moves(&[1], house.clients).await;
    assert_eq!(house.ada().await.id, contact.id, "and there again");
    assert_eq!(house.world.number("SELECT count(*) FROM record").await, 2);
}

#[tokio::test]
async fn m8_a_record_in_use_is_archived_for_good_and_the_next_archive_gets_a_number() {
    let house = House::of(&[1]).await;
    let employee = house.ada().await;
    house.world.change("UPDATE record SET in_use = TRUE").await;
    house.moves(&[1], house.clients).await;
    let archived = house.shown(employee.id).await.updated_at;
    house.moves(&[1], house.world.staff).await;
    let second = house.ada().await;
    assert_ne!(second.id, employee.id, "a new one, since the former is in use");
    assert_eq!((second.kind, &second.email), (Kind::Employee, &employee.email));
    house.moves(&[1], house.clients).await;
    let names: Vec<String> =
        ["", "2"].map(|number| format!("person1_archived{number} {}_archived{number}", mail(1))).into();
    let mut found = house.world.texts(ARCHIVED_AS).await;
    found.sort();
    assert_eq!(found, names);
    let old = house.shown(employee.id).await;
    assert_eq!((old.updated_at, old.in_use), (archived, true), "never touched again");
    assert_eq!(house.world.number(LIVE).await, 1);
}

#[tokio::test]
async fn m7_an_archived_name_that_somebody_has_gets_a_number() {
    let house = House::of(&[1]).await;
    let taken = "UPDATE record SET username = 'person1_Archived', username_key = 'person1_archived' WHERE username_key = 'person2'";
    house.sync(&[2], house.world.staff).await;
    house.world.change(taken).await;
    house.moves(&[1], house.clients).await;
    let names = house.world.texts(ARCHIVED_AS).await;
    assert_eq!(names, [format!("person1_archived2 {}_archived", mail(1))]);
}

#[tokio::test]
async fn semantics_what_an_admin_switched_off_stays_off_in_the_other_kind() {
    let house = House::of(&[1]).await;
    house.world.change("UPDATE record SET status = 'inactive', reasons = '[\"by_hand\"]', inactive_since = 1").await;
    house.world.change("UPDATE people_count SET active = 0, inactive = 1").await;
    house.moves(&[1], house.clients).await;
    let contact = house.ada().await;
    assert_eq!((contact.kind, contact.status), (Kind::Contact, Status::Inactive));
    assert_eq!(contact.reasons, [Reason::ByHand].into());
    assert!(contact.inactive_since.is_some());
    assert_eq!(house.world.text("SELECT active || ' ' || inactive FROM people_count").await, "0 1");
    assert_eq!(house.world.number("SELECT count(*) FROM removal").await, 0, "nobody lost access");
}

#[tokio::test]
async fn d6_a_change_of_kind_is_held_as_a_whole_until_the_old_kind_wins_again() {
    let house = House::of(&[1]).await;
    let (world, employee) = (&house.world, house.ada().await);
    house.sync(&[1], house.clients).await;
    world.wait(Duration::from_secs(30));
    let hold = Judgement::Hold { limit: "lost scope: 20 people in 30 minutes".to_owned() };
    let applied = house.moves_against(house.clients, hold).await;
    assert_eq!((applied.held, &applied.per_person[..]), (1, &[PersonOutcome::Held][..]));
    assert_eq!((house.ada().await, world.number(LIVE).await), (employee.clone(), 1));
    let holds = world.store.list_holds(&HoldFilter::default()).await.unwrap();
    assert_eq!(holds[0].people[0].cause, [Reason::KindChanged].into());

    world.wait(Duration::from_secs(60));
    let applied = house.moves_against(house.clients, Judgement::Go).await;
    assert_eq!(applied.per_person, [PersonOutcome::Held], "time lets nobody out");
    let profile_alone = PersonRead { membership: None, ..world.read(1, &mail(1), true, &[]).await };
    world.sync(&[profile_alone]).await.unwrap();
    assert_eq!(world.text("SELECT state FROM hold_person").await, "held", "nor does a look that cannot tell");

    house.sync(&[1], world.staff).await;
    assert_eq!(world.text("SELECT state FROM hold_person").await, "back");
    assert_eq!(house.ada().await.id, employee.id);
    assert_eq!(world.number("SELECT count(*) FROM removal").await, 0);
}

#[tokio::test]
async fn m7_a_question_of_an_earlier_version_is_closed_by_the_change() {
    let house = House::of(&[1]).await;
    house.sync(&[1], house.clients).await;
    house
        .world
        .change(
            "INSERT INTO review (id, connection_id, kind, entra_id, candidates, choices, why, state, opened_at)
             SELECT id, connection_id, 'kind_change', entra_id, '[]', '[]', 'asked before', 'open', 1 FROM record",
        )
        .await;
    house.world.wait(Duration::from_secs(30));
    house.sync(&[1], house.clients).await;
    assert_eq!(house.world.text("SELECT state FROM review").await, "obsolete");
}

#[tokio::test]
async fn many_people_change_their_kind_at_once_and_come_back() {
    let people: Vec<u128> = (1..=300).collect();
    let house = House::of(&people).await;
    let applied = house.moves(&people, house.clients).await;
    assert_eq!(applied.updated, 300, "{applied:?}");
    assert_eq!(house.world.number(LIVE).await, 300);
    house.moves(&people, house.world.staff).await;
    assert_eq!(house.world.number("SELECT count(*) FROM record").await, 600);
    assert_eq!(house.world.number("SELECT active FROM people_count").await, 300);
}
