//! Delta alone: whatever notifications are lost, within `t_missed` every change reaches its record (G-12, G-16).

use std::time::Duration;

use lockstep_core::record::{Kind, Reason, Status};
use lockstep_simulator::{Fault, Twist};
use lockstep_store::{DeltaRound, DeltaState};
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, employees, eventually, minutes, rule, seconds};

/// A synced tenant at rest: relists are through, so that only a delta can tell of what changes now.
async fn quiet_staff(people: usize) -> (World, Uuid, Vec<Uuid>) {
    let (world, staff) = World::with_staff().await;
    let hired = (0..people).map(|place| world.hire(&format!("Person {place}"), &[staff])).collect();
    world.sync().await;
    world.later(minutes(16)).await;
    world.later(minutes(5)).await;
    (world, staff, hired)
}

async fn state(world: &World, round: DeltaRound) -> DeltaState {
    world.store.lookup_delta(world.connection.id, round).await.unwrap().unwrap()
}

/// The next delta run, the second reads, the settle reads: 6 of the 10 min of `t_missed`.
async fn within_t_missed(world: &World) {
    world.later(minutes(5)).await;
    world.later(seconds(11)).await;
    world.later(seconds(50)).await;
}

#[tokio::test]
async fn t_missed_every_change_arrives_without_any_notification() {
    let mut world = World::open().await;
    let (staff, team, office) = (world.group("Staff"), world.group("Team"), world.group("Office"));
    world.tenant.add_member(staff, team).unwrap();
    world.apply(vec![employees(staff), rule(office, 5, Kind::Contact, "office")]).await;
    let in_staff = |name: &str| world.hire(name, &[staff]);
    let [disabled, deleted, purged, restored, left, renamed, moved] =
        ["Disabled", "Deleted", "Purged", "Restored", "Left", "Renamed", "Moved"].map(in_staff);
    let of_office = world.hire("Clerk", &[office]);
    let stays: Vec<_> = (0..10).map(|place| world.hire(&format!("Person {place}"), &[staff])).collect();
    let nested = world.hire("Nested", &[]);
    world.tenant.delete_user(restored, false).unwrap();
    world.tenant.restore_user(restored).unwrap();
    world.work();
    world.sync().await;
    world.tenant.delete_user(restored, false).unwrap();
    within_t_missed(&world).await;
    assert_eq!(world.status(restored).await, Some(Status::Inactive));
    world.later(minutes(20)).await;
    assert_eq!(world.ledger().await.applied, 0, "nobody notified anything");

    let tenant = world.tenant.clone();
    tenant.patch_user(disabled, json!({ "accountEnabled": false })).unwrap();
    tenant.delete_user(deleted, false).unwrap();
    tenant.delete_user(purged, true).unwrap();
    tenant.restore_user(restored).unwrap();
    tenant.remove_member(staff, left).unwrap();
    tenant.patch_user(renamed, json!({ "displayName": "New Name" })).unwrap();
    tenant.remove_member(staff, moved).unwrap();
    tenant.add_member(team, moved).unwrap();
    tenant.delete_group(office, false).unwrap();
    tenant.add_member(team, nested).unwrap();
    let joined = world.hire("Joined", &[staff]);
    within_t_missed(&world).await;
    world.later(minutes(2)).await;

    assert_eq!(world.reasons(disabled).await, [Reason::UpstreamDisabled]);
    for gone in [deleted, purged, left, of_office] {
        assert_eq!(world.status(gone).await, Some(Status::Inactive), "{gone} is still in");
    }
    for there in [restored, joined, nested, moved] {
        assert_eq!(world.status(there).await, Some(Status::Active), "{there} is not in");
    }
    assert_eq!(world.record(renamed).await.unwrap().display_name.as_deref(), Some("New Name"));
    assert_eq!(world.active().await, stays.len() + 5);
    assert!(!world.reload().await.is_stale(world.store.now(), world.store.timing()));
    world.rest().await;
}

/// D2: whoever was deleted as a stranger is remembered, at the cost of no read, and let in when they are restored into a
/// group that is mapped by then, whether that is notified or not.
#[tokio::test]
async fn d2_whoever_was_deleted_as_a_stranger_is_recognised_when_restored() {
    let (mut world, staff, _) = quiet_staff(1).await;
    let office = world.group("Office");
    let [ada, grace] = ["Ada", "Grace"].map(|name| world.hire(name, &[office]));
    for user in [ada, grace] {
        world.tenant.delete_user(user, false).unwrap();
    }
    world.sim.reset_counters();
    within_t_missed(&world).await;
    assert_eq!(world.requests("GET /users/{id}"), 0, "a stranger's deletion is not looked at");

    world.apply(vec![employees(staff), rule(office, 5, Kind::Employee, "office")]).await;
    within_t_missed(&world).await;
    assert_eq!(world.status(ada).await, None);
    for user in [ada, grace] {
        world.tenant.restore_user(user).unwrap();
    }
    world.told(ada).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    within_t_missed(&world).await;
    assert_eq!(world.status(grace).await, Some(Status::Active));
    world.rest().await;
}

/// D2: deleted and restored between two rounds, nothing ever showed them as deleted. That they are older than the last
/// round tells. Whatever else changes of strangers, and new ones, cost no read.
#[tokio::test]
async fn d2_a_stranger_restored_between_two_rounds_is_recognised() {
    let (mut world, staff, _) = quiet_staff(1).await;
    let office = world.group("Office");
    let ada = world.hire("Ada", &[office]);
    let stranger = world.hire("Stranger", &[]);
    world.later(minutes(5)).await;
    world.later(minutes(4)).await;
    world.tenant.delete_user(ada, false).unwrap();
    world.apply(vec![employees(staff), rule(office, 5, Kind::Employee, "office")]).await;
    world.settled().await;
    world.tenant.restore_user(ada).unwrap();
    world.tenant.patch_user(stranger, json!({ "jobTitle": "Countess" })).unwrap();
    world.hire("New", &[]);
    world.sim.reset_counters();
    // The office is listed again only four minutes later.
    world.later(minutes(1)).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert_eq!(world.requests("GET /users/{id}"), 1, "nobody else is read");
    world.rest().await;
}

/// M2: a group that was deleted and restored is followed like any other: whatever is nested in it afterwards counts.
#[tokio::test]
async fn m2_a_group_nested_in_a_restored_group_lets_its_people_in() {
    let (mut world, staff, people) = quiet_staff(1).await;
    let team = world.group("Team");
    let ada = world.hire("Ada", &[team]);
    world.tenant.delete_group(staff, false).unwrap();
    within_t_missed(&world).await;
    world.later(minutes(5)).await;
    assert_eq!(world.active().await, 0);
    world.tenant.restore_group(staff).unwrap();
    within_t_missed(&world).await;
    assert_eq!(world.active().await, people.len());
    world.tenant.add_member(staff, team).unwrap();
    within_t_missed(&world).await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    let grace = world.hire("Grace", &[team]);
    within_t_missed(&world).await;
    assert_eq!(world.status(grace).await, Some(Status::Active));
    world.rest().await;
}

/// G-12: stopped between two pages the old link stays, and the round goes on at the page where it was.
#[tokio::test]
async fn g12_stopped_between_pages_a_round_loses_nothing() {
    let (mut world, _, people) = quiet_staff(9).await;
    let before = state(&world, DeltaRound::UsersProfile).await;
    world.sim.set_delta_page(2);
    for person in &people {
        world.tenant.patch_user(*person, json!({ "jobTitle": "Countess" })).unwrap();
    }
    world.sim.set_latency(Duration::from_millis(150));
    world.sim.clock().advance(minutes(5));
    eventually("no page is taken", async || state(&world, DeltaRound::UsersProfile).await.under_way.is_some()).await;
    world.rest().await;
    let stopped = state(&world, DeltaRound::UsersProfile).await;
    let progress = stopped.under_way.clone().expect("stopped within the round");
    assert_eq!((&stopped.link, stopped.completed_at), (&before.link, before.completed_at));

    world.sim.set_latency(Duration::ZERO);
    world.sim.reset_counters();
    world.work();
    world.settled().await;
    eventually("the round does not end", async || state(&world, DeltaRound::UsersProfile).await.under_way.is_none())
        .await;
    world.settled().await;
    let pages = world.requests("GET /users/delta");
    assert!(pages <= 1 + 5 - u64::from(progress.pages), "{pages} pages: taken ones are not asked for again");
    assert_ne!(state(&world, DeltaRound::UsersProfile).await.link, before.link);
    for person in people {
        let title = world.record(person).await.unwrap().fields.get("job_title").cloned();
        assert_eq!(title, Some(json!("Countess")));
    }
    world.rest().await;
}

/// What is sent and what is committed, in order.
#[derive(Clone, Default)]
struct Steps(std::sync::Arc<std::sync::Mutex<Vec<&'static str>>>);

impl Steps {
    fn note(&self, step: &'static str) {
        self.0.lock().unwrap().push(step);
    }
}

struct Words(String);

impl tracing::field::Visit for Words {
    fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{value:?} ");
    }
}

impl tracing::Subscriber for Steps {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event()
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut words = Words(String::new());
        event.record(&mut words);
        if words.0.contains("GET /users/delta") && words.0.contains("Calling Graph") {
            self.note("asked");
        } else if words.0.contains("delta.page_committed") {
            self.note("committed");
        }
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// performance.md, lesson 7: the next page is on its way while this one is written.
#[tokio::test]
async fn the_next_page_is_asked_for_before_this_one_is_committed() {
    let (mut world, _, people) = quiet_staff(9).await;
    world.sim.set_delta_page(2);
    for person in &people {
        world.tenant.patch_user(*person, json!({ "accountEnabled": false })).unwrap();
    }
    let steps = Steps::default();
    let watching = tracing::subscriber::set_default(steps.clone());
    world.later(minutes(5)).await;
    eventually("no round", async || steps.0.lock().unwrap().iter().filter(|step| **step == "committed").count() >= 10)
        .await;
    drop(watching);
    let steps = steps.0.lock().unwrap().clone();
    let first = steps.iter().position(|step| *step == "committed").unwrap();
    assert_eq!(steps[..first], ["asked", "asked"], "{steps:?}");
    world.rest().await;
}

/// FA-13: however Graph says that it forgot the link, everybody is compared and nobody is out by absence.
async fn a_forgotten_link_takes_nobody_out(how: Twist) {
    let (mut world, staff, people) = quiet_staff(12).await;
    let before = state(&world, DeltaRound::UsersAccess).await;
    world.tenant.patch_user(people[0], json!({ "accountEnabled": false })).unwrap();
    world.tenant.delete_user(people[1], false).unwrap();
    world.tenant.remove_member(staff, people[2]).unwrap();
    let hired = world.hire("Hired", &[staff]);
    world.sim.set_fault(Fault { twist: Some(how), remaining: Some(1), ..Fault::on("GET /users/delta") });
    // The comparison cannot be had yet: the old link is kept, and nobody who is not proven to be out is.
    world.sim.set_fault(Fault { twist: Some(Twist::NotJson), ..Fault::on("GET /groups/{id}/transitiveMembers") });
    world.sim.clock().advance(minutes(5));
    eventually("the link is not found forgotten", async || {
        state(&world, DeltaRound::UsersAccess).await.expired_at.is_some()
    })
    .await;
    assert_eq!(state(&world, DeltaRound::UsersAccess).await.link, before.link);
    for person in &people[3..] {
        assert_eq!(world.status(*person).await, Some(Status::Active));
    }

    world.sim.clear_faults();
    eventually("no full sync brings a new link", async || {
        world.later(seconds(20)).await;
        state(&world, DeltaRound::UsersAccess).await.expired_at.is_none()
    })
    .await;
    world.later(seconds(11)).await;
    world.later(seconds(50)).await;
    assert_ne!(state(&world, DeltaRound::UsersAccess).await.link, before.link);
    for person in &people[..3] {
        assert_eq!(world.status(*person).await, Some(Status::Inactive));
    }
    assert_eq!(world.status(hired).await, Some(Status::Active));
    assert_eq!(world.active().await, people.len() - 3 + 1);
    world.rest().await;
}

#[tokio::test]
async fn fa13_410_with_a_location() {
    a_forgotten_link_takes_nobody_out(Twist::GoneWithLocation).await;
}

#[tokio::test]
async fn fa13_410_without_a_location() {
    a_forgotten_link_takes_nobody_out(Twist::Gone).await;
}

#[tokio::test]
async fn fa13_sync_state_not_found() {
    a_forgotten_link_takes_nobody_out(Twist::SyncStateNotFound).await;
}

#[tokio::test]
async fn fa13_400_unsupported_query() {
    a_forgotten_link_takes_nobody_out(Twist::TooOld).await;
}

/// After a week of standstill the tokens are too old by our own clock: they are not even tried.
#[tokio::test]
async fn fa13_after_a_week_everybody_is_compared() {
    let (mut world, staff, people) = quiet_staff(12).await;
    world.rest().await;
    world.sim.clock().advance(minutes(8 * 24 * 60));
    world.tenant.patch_user(people[0], json!({ "accountEnabled": false })).unwrap();
    world.tenant.remove_member(staff, people[1]).unwrap();
    world.sim.reset_counters();
    world.work();
    world.settled().await;
    world.later(seconds(61)).await;
    assert_eq!(world.status(people[0]).await, Some(Status::Inactive));
    assert_eq!(world.status(people[1]).await, Some(Status::Inactive));
    assert_eq!(world.active().await, people.len() - 2);
    for round in DeltaRound::ALL {
        assert_eq!(state(&world, round).await.expired_at, None, "{round:?}");
    }
    world.rest().await;
}

/// A page link that was forgotten means the round anew from its link, not a full sync.
#[tokio::test]
async fn a_forgotten_page_begins_the_round_anew() {
    let (mut world, _, people) = quiet_staff(12).await;
    world.sim.set_delta_page(1);
    for person in &people[..4] {
        world.tenant.patch_user(*person, json!({ "accountEnabled": false })).unwrap();
    }
    world.sim.set_latency(Duration::from_millis(150));
    world.sim.clock().advance(minutes(5));
    eventually("no page is taken", async || state(&world, DeltaRound::UsersAccess).await.under_way.is_some()).await;
    world.rest().await;
    assert!(state(&world, DeltaRound::UsersAccess).await.under_way.is_some(), "stopped within the round");

    world.sim.set_latency(Duration::ZERO);
    world.sim.set_fault(Fault { twist: Some(Twist::Gone), remaining: Some(1), ..Fault::on("GET /users/delta") });
    world.sim.reset_counters();
    world.work();
    world.settled().await;
    eventually("the round does not end", async || state(&world, DeltaRound::UsersAccess).await.under_way.is_none())
        .await;
    world.settled().await;
    assert_eq!(world.active().await, 8);
    assert_eq!(state(&world, DeltaRound::UsersAccess).await.expired_at, None);
    assert_eq!(world.requests("GET /groups/{id}/transitiveMembers"), 0, "nobody was listed");
    world.rest().await;
}

/// Empty pages, rows and rounds told again, groups in slices, reasons nobody has heard of: all end at the truth.
#[tokio::test]
async fn odd_deltas_end_at_the_truth() {
    let (mut world, staff, people) = quiet_staff(12).await;
    let odd = [Twist::EmptyPage, Twist::RepeatedRows, Twist::SplitGroups, Twist::Replay, Twist::OddReason];
    for (place, twist) in odd.into_iter().enumerate() {
        world.sim.clear_faults();
        for route in ["GET /users/delta", "GET /groups/delta"] {
            world.sim.set_fault(Fault { twist: Some(twist), ..Fault::on(route) });
        }
        let joined: Vec<_> = (0..4).map(|number| world.hire(&format!("Joined {place} {number}"), &[staff])).collect();
        let gone = people[place];
        match place % 2 {
            0 => world.tenant.delete_user(gone, false).unwrap(),
            _ => world.tenant.remove_member(staff, gone).unwrap(),
        }
        within_t_missed(&world).await;
        assert_eq!(world.status(gone).await, Some(Status::Inactive), "{twist:?}");
        for person in joined {
            assert_eq!(world.status(person).await, Some(Status::Active), "{twist:?}");
        }
    }
    world.rest().await;
}

/// BI-30: a link that leads elsewhere is not followed; the old link stays and the connection becomes stale.
#[tokio::test]
async fn bi30_a_link_to_another_host_leaves_the_old_link() {
    let (mut world, staff, people) = quiet_staff(8).await;
    let before = state(&world, DeltaRound::Groups).await;
    world.sim.set_fault(Fault { twist: Some(Twist::LinkOtherHost), ..Fault::on("GET /groups/delta") });
    world.tenant.remove_member(staff, people[0]).unwrap();
    world.later(minutes(6)).await;
    world.later(minutes(6)).await;
    assert_eq!(state(&world, DeltaRound::Groups).await.link, before.link);
    assert!(world.reload().await.is_stale(world.store.now(), world.store.timing()), "G-21");
    assert_eq!(world.active().await, 8);

    world.sim.clear_faults();
    within_t_missed(&world).await;
    assert_eq!(world.status(people[0]).await, Some(Status::Inactive));
    assert!(!world.reload().await.is_stale(world.store.now(), world.store.timing()));
    world.rest().await;
}

/// BI-33: a round with a row that is nobody's is not complete, its other rows count all the same.
#[tokio::test]
async fn bi33_a_round_with_unusable_rows_is_told_again() {
    let (mut world, staff, people) = quiet_staff(8).await;
    let before = state(&world, DeltaRound::UsersAccess).await;
    world.sim.set_fault(Fault { twist: Some(Twist::NoId), ..Fault::on("GET /users/delta") });
    world.tenant.patch_user(people[0], json!({ "accountEnabled": false })).unwrap();
    world.later(minutes(5)).await;
    assert_eq!(state(&world, DeltaRound::UsersAccess).await.link, before.link);
    world.sim.clear_faults();
    within_t_missed(&world).await;
    assert_eq!(world.status(people[0]).await, Some(Status::Inactive));
    assert!(world.tenant.truth().iter().any(|user| user.groups.contains(&staff)));
    world.rest().await;
}

/// A gap is closed by a delta run at once, without listing anybody.
#[tokio::test]
async fn g04_a_gap_is_closed_by_a_delta_at_once() {
    let (mut world, staff, people) = quiet_staff(8).await;
    world.sim.reset_counters();
    world.tenant.remove_member(staff, people[0]).unwrap();
    world.publish(vec![lockstep_core::hint::Subject::Unclear]).await;
    eventually("the gap stays open", async || {
        world.ledger().await.applied == 1 && world.reload().await.gap_since.is_none()
    })
    .await;
    world.settled().await;
    world.later(seconds(11)).await;
    assert_eq!(world.status(people[0]).await, Some(Status::Inactive));
    assert_eq!(world.requests("GET /groups/{id}/transitiveMembers"), 0, "nobody was listed");
    world.rest().await;
}

/// `settle`: who is still shown in the group that a hint says they left is read again after 1, 5 and 15 min.
#[tokio::test]
async fn fa15_a_removal_that_a_lagging_replica_contradicts_is_read_again() {
    let (mut world, staff, people) = quiet_staff(8).await;
    world.tenant.remove_member(staff, people[0]).unwrap();
    let lagging = |route, lag: u64| Fault { lag_ms: Some(1_000 * 60 * lag), ..Fault::on(route) };
    world.sim.set_fault(lagging("GET /users/{id}/transitiveMemberOf", 4));
    // No delta tells of it in time.
    world.sim.set_fault(lagging("GET /groups/delta", 25));
    world.notify_members(staff, &[(people[0], true)]).await;
    world.settled().await;
    world.later(seconds(61)).await;
    assert_eq!(world.status(people[0]).await, Some(Status::Active));
    world.later(seconds(4 * 60)).await;
    world.later(seconds(11)).await;
    assert_eq!(world.reasons(people[0]).await, [Reason::OutOfScope]);
    assert_eq!(world.active().await, 7);
    world.rest().await;
}

/// Thousands changed at once: beyond a thousand the rows themselves refresh the fields.
#[tokio::test]
async fn t5_a_round_of_thousands_refreshes_fields_from_its_rows() {
    let mut world = World::open().await;
    let (people, groups) = world.tenant.seed(1_300, 1_300, &["Staff"]);
    world.apply(vec![employees(groups[0])]).await;
    world.work();
    world.sync().await;
    world.later(minutes(16)).await;
    world.later(minutes(5)).await;
    for person in &people {
        world.tenant.patch_user(*person, json!({ "jobTitle": "Countess" })).unwrap();
    }
    world.sim.reset_counters();
    world.later(minutes(5)).await;
    let by_id = world.requests("GET /users/{id}");
    assert!(by_id <= 1_000, "{by_id} reads by id");
    let connection = world.reload().await;
    let mirrored = world.store.load_people(&connection, lockstep_store::People::After(None, 10_000)).await.unwrap();
    let new_title = mirrored.iter().filter(|person| {
        person.record.as_ref().is_some_and(|record| record.fields.get("job_title") == Some(&json!("Countess")))
    });
    assert_eq!(new_title.count(), 1_300);

    // FA-15: what the rows told is settled like every hint, 15 people in a filter.
    world.sim.reset_counters();
    world.later(seconds(61)).await;
    let settled = world.sim.counters().inner.get("GET /users").copied().unwrap_or(0);
    assert!(settled >= 1_300 / 15, "{settled} filters: {:?}", world.sim.counters());
    world.rest().await;
}

/// Whoever was deleted is kept for 31 days and comes back as the same record with the same groups.
#[tokio::test]
async fn g17_somebody_restored_after_weeks_comes_back_as_the_same_record() {
    let (mut world, _, people) = quiet_staff(8).await;
    let before = world.record(people[0]).await.unwrap().id;
    world.tenant.delete_user(people[0], false).unwrap();
    within_t_missed(&world).await;
    assert_eq!(world.status(people[0]).await, Some(Status::Inactive));
    for _ in 0..4 {
        world.later(minutes(5 * 24 * 60)).await;
    }
    world.tenant.restore_user(people[0]).unwrap();
    within_t_missed(&world).await;
    let after = world.record(people[0]).await.unwrap();
    assert_eq!((after.id, after.status), (before, Status::Active));
    world.rest().await;
}
