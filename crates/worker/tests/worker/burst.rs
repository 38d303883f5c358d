//! Bursts: many changes cost few requests, and one that is slow or broken holds nobody up (T5).

use std::time::{Duration, Instant};

use lockstep_core::ObjectId;
use lockstep_core::hint::{Claim, Subject};
use lockstep_core::record::{Reason, Status};
use lockstep_simulator::{Fault, Twist};
use lockstep_store::view::event::EventStatus;
use lockstep_store::{ConnectionState, DueKind, DueReason, MarkDue};
use serde_json::json;
use uuid::Uuid;

use crate::world::{World, employees, eventually, minutes, seconds};

/// So many people in a mapped group, synced and settled; nobody at work.
async fn staff_of(people: usize) -> (World, Vec<Uuid>) {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    let (people, _) = world.tenant.seed(people, people, &["Staff"]);
    world.apply(vec![employees(staff)]).await;
    world.work();
    world.sync().await;
    world.later(minutes(2)).await;
    world.rest().await;
    (world, people)
}

/// Something about each of them changed.
async fn tell(world: &World, people: &[Uuid]) {
    for some in people.chunks(100) {
        let changed = |user: &Uuid| Subject::User { id: ObjectId(*user), claim: Claim::Changed };
        world.publish(some.iter().map(changed).collect()).await;
    }
}

fn rename(world: &World, people: &[Uuid]) {
    for user in people {
        world.tenant.patch_user(*user, json!({ "jobTitle": "Countess" })).unwrap();
    }
}

/// Requests to Graph; the token, and what a restart asks, not counted.
fn requests(world: &World) -> u64 {
    let counters = world.sim.counters();
    let of_a_start: u64 = ["POST token", "GET /organization"].iter().map(|route| world.requests(route)).sum();
    counters.total_requests - of_a_start
}

/// Reads by id, within batches too.
fn by_id(world: &World) -> u64 {
    let inner = world.sim.counters().inner.get("GET /users/{id}").copied().unwrap_or(0);
    inner + world.requests("GET /users/{id}")
}

#[tokio::test]
async fn t5_two_thousand_renamed_people_cost_a_hundredth_of_a_request_each() {
    const PEOPLE: u64 = 2_000;
    let (mut world, people) = staff_of(PEOPLE as usize).await;
    rename(&world, &people);
    // A duplicate that comes before the read costs nothing.
    for some in people.chunks(100) {
        tell(&world, some).await;
        tell(&world, some).await;
    }
    world.sim.reset_counters();
    world.work();
    world.settled().await;

    let (sent, units) = (requests(&world), world.sim.counters().units["GET /users"]);
    assert!(sent <= PEOPLE / 100 + 5, "{sent} requests: {:?}", world.sim.counters());
    assert!(units <= PEOPLE * 7 / 100 + 5, "{units} units");
    assert_eq!(world.requests("GET /users/{id}"), 0);
    let sums = world.ledger().await;
    assert_eq!((sums.applied, sums.superseded), (PEOPLE, PEOPLE));
    let title = world.record(people[1_234]).await.unwrap().fields["job_title"].clone();
    assert_eq!(title, "Countess");

    world.sim.reset_counters();
    world.later(seconds(61)).await;
    let settled = requests(&world);
    assert!((1..=PEOPLE / 100 + 5).contains(&settled), "{settled} requests to settle");
    world.rest().await;
}

/// G-10: whoever loses access in a burst is read by id, and only they are.
#[tokio::test]
async fn g10_who_is_disabled_in_a_burst_is_read_by_id() {
    let (mut world, people) = staff_of(60).await;
    rename(&world, &people);
    for user in &people[..5] {
        world.tenant.patch_user(*user, json!({ "accountEnabled": false })).unwrap();
    }
    tell(&world, &people).await;
    world.sim.reset_counters();
    world.work();
    world.settled().await;

    for user in &people[..5] {
        assert_eq!(world.reasons(*user).await, [Reason::UpstreamDisabled]);
    }
    assert_eq!(world.active().await, 55);
    assert_eq!(by_id(&world), 5);
    world.rest().await;
}

/// G-10, T5: a mass disable is read by id, 20 people in a request.
#[tokio::test]
async fn t5_a_thousand_disabled_people_cost_sixty_requests() {
    const PEOPLE: usize = 1_000;
    let (mut world, people) = staff_of(PEOPLE).await;
    for user in &people {
        world.tenant.patch_user(*user, json!({ "accountEnabled": false })).unwrap();
    }
    tell(&world, &people).await;
    world.sim.reset_counters();
    world.work();
    world.settled().await;

    assert_eq!(by_id(&world), PEOPLE as u64);
    let sent = requests(&world);
    assert!(sent <= 60, "{sent} requests: {:?}", world.sim.counters());
    let sums = world.ledger().await;
    assert_eq!(sums.applied + sums.held, PEOPLE as u64, "the brake keeps some");
    assert_eq!(world.active().await as u64, sums.held);
    assert!(sums.applied > 0);
    world.rest().await;
}

/// G-09: whoever a filtered answer leaves out is read by id, not taken for gone.
#[tokio::test]
async fn g09_whoever_a_filtered_answer_leaves_out_is_read_by_id() {
    let (mut world, people) = staff_of(60).await;
    rename(&world, &people);
    world.sim.set_fault(Fault { share: Some(0.5), ..Fault::on("GET /users") });
    tell(&world, &people).await;
    world.sim.reset_counters();
    world.work();
    world.settled().await;

    assert!(by_id(&world) >= 20);
    assert_eq!(world.active().await, 60);
    assert_eq!(world.ledger().await.applied, 60);
    world.rest().await;
}

/// Many who join at once: memberships are read 20 in a request.
#[tokio::test]
async fn t5_a_hundred_newcomers_are_read_together() {
    let (mut world, staff) = World::with_staff().await;
    let people: Vec<Uuid> = (0..100).map(|place| world.hire(&format!("Person {place}"), &[staff])).collect();
    world.rest().await;
    world.sim.reset_counters();
    let members: Vec<(Uuid, bool)> = people.iter().map(|user| (*user, false)).collect();
    world.notify_members(staff, &members[..50]).await;
    world.notify_members(staff, &members[50..]).await;
    world.work();
    world.settled().await;

    assert_eq!(world.active().await, 100);
    let sent = requests(&world);
    assert!(sent <= 15, "{sent} requests: {:?}", world.sim.counters());
    world.rest().await;
}

/// FA-11: who was throttled inside a batch waits for the longest `Retry-After`; the others are applied.
#[tokio::test]
async fn fa11_a_429_inside_a_batch_keeps_off_those_it_is_about() {
    let (mut world, people) = staff_of(60).await;
    rename(&world, &people);
    world.sim.set_fault(Fault {
        status: Some(429),
        retry_after: Some(40),
        remaining: Some(1),
        ..Fault::on("GET /users")
    });
    tell(&world, &people).await;
    world.work();
    eventually("the others are not applied", async || world.ledger().await.applied == 45).await;
    eventually("nobody says why the rest waits", async || world.ledger().await.waiting == 15).await;
    let connection = world.reload().await;
    assert_eq!(connection.state, ConnectionState::Degraded);
    assert!(connection.next_try_at.is_some_and(|at| at > world.store.now() + seconds(30)));
    let waiting = world.events(EventStatus::Waiting).await;
    assert!(waiting[0].reason.as_ref().is_some_and(|reason| reason.contains("throttles")), "{waiting:?}");

    // The client's own pause is real time: a process that starts later has none.
    world.rest().await;
    world.work();
    world.later(seconds(41)).await;
    eventually("they do not go on", async || world.ledger().await.applied == 60).await;
    world.rest().await;
}

/// A server error about some while others are answered is no outage: each of them is read by itself at once.
#[tokio::test]
async fn fa12_a_500_inside_a_batch_is_no_outage() {
    let (mut world, people) = staff_of(60).await;
    rename(&world, &people);
    world.sim.set_fault(Fault { status: Some(500), remaining: Some(1), ..Fault::on("GET /users") });
    tell(&world, &people).await;
    world.work();
    world.settled().await;
    assert_eq!(world.reload().await.state, ConnectionState::Active);
    assert_eq!(world.ledger().await.applied, 60);
    assert_eq!(by_id(&world), 15);
    world.rest().await;
}

/// FA-24: a request about many that always fails over one of them takes nobody along.
#[tokio::test]
async fn fa24_who_spoils_whole_batches_is_found_out() {
    let (mut world, people) = staff_of(60).await;
    rename(&world, &people);
    world.sim.set_fault(Fault { status: Some(500), over: Some(people[7]), ..Fault::on("*") });
    tell(&world, &people).await;
    world.work();
    eventually("the others are not applied", async || world.ledger().await.applied == 59).await;
    eventually("the sick one is not given up", async || {
        world.sim.clock().advance(minutes(16));
        world.waited().await;
        world.ledger().await.failed == 1
    })
    .await;
    assert_eq!(world.reload().await.state, ConnectionState::Active);
    let failed = world.events(EventStatus::Failed).await;
    assert_eq!(failed[0].object_id, Some(ObjectId(people[7])));
    world.rest().await;
}

/// BI-32, BI-33: an answer inside a batch that is none spends attempts of those it is about, and heals.
#[tokio::test]
async fn bi32_a_broken_answer_inside_a_batch_spoils_no_other() {
    let (mut world, people) = staff_of(60).await;
    rename(&world, &people);
    world.sim.set_fault(Fault { twist: Some(Twist::ValueNoList), remaining: Some(1), ..Fault::on("GET /users") });
    tell(&world, &people).await;
    world.work();
    eventually("the others are not applied", async || world.ledger().await.applied >= 45).await;
    world.later(seconds(2)).await;
    eventually("they are not tried again", async || world.ledger().await.applied == 60).await;
    assert_eq!(world.reload().await.state, ConnectionState::Active);
    world.rest().await;
}

#[tokio::test]
async fn one_slow_answer_holds_nobody_up() {
    let (mut world, people) = staff_of(5).await;
    rename(&world, &people);
    let slow = Duration::from_secs(8);
    let delay_ms = Some(slow.as_millis() as u64);
    world.sim.set_fault(Fault { delay_ms, remaining: Some(1), ..Fault::on("GET /users/{id}") });
    tell(&world, &people).await;
    let began = Instant::now();
    world.work();
    eventually("the others wait for the slow one", async || world.ledger().await.applied == 4).await;
    assert!(began.elapsed() < slow, "they waited");
    eventually("the slow one is lost", async || world.ledger().await.applied == 5).await;
    assert_eq!(world.status(people[0]).await, Some(Status::Active));
    world.rest().await;
}

/// T14: what was put off, or replayed, by the thousand is in hand and hangs; whoever a hint names meanwhile is looked at.
#[tokio::test]
async fn t14_a_backlog_that_hangs_keeps_no_hint_waiting() {
    const IN_HAND: u64 = 600;
    const HANGS: Duration = Duration::from_secs(20);
    let (mut world, people) = staff_of(801).await;
    let Some((gone, others)) = people.split_first() else { panic!("there are people") };
    let look = |user: &Uuid| MarkDue {
        object: ObjectId(*user),
        kind: DueKind::User,
        at: world.store.now(),
        urgent: false,
        read_profile: true,
        read_membership: false,
        reason: DueReason::Replay,
    };
    let mut tx = world.store.begin("a backlog").await.unwrap();
    tx.mark_due(world.connection.id, &others.iter().map(look).collect::<Vec<_>>()).await.unwrap();
    tx.commit().await.unwrap();
    let delay_ms = Some(HANGS.as_millis() as u64);
    world.sim.set_fault(Fault { delay_ms, ..Fault::on("POST /$batch") });
    let began = Instant::now();
    world.work();
    eventually("two batches are in hand", async || world.store.work_in_hand().await.unwrap() == IN_HAND).await;
    world.tenant.patch_user(*gone, json!({ "accountEnabled": false })).unwrap();
    tell(&world, &[*gone]).await;
    eventually("one person is out", async || world.status(*gone).await == Some(Status::Inactive)).await;
    assert!(began.elapsed() < HANGS, "they waited for the others");
}
