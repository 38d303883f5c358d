//! A connection in trouble: nobody loses access over it, no attempt is spent, and work goes on by itself (C5).

use lockstep_core::record::Status;
use lockstep_simulator::{Fault, Twist};
use lockstep_store::{ConnectionState, NewCredential, TaskKind};
use secrecy::SecretString;
use serde_json::json;

use crate::world::{World, eventually, minutes, seconds};

/// A status of Graph on every read: records unchanged, events wait and spend no attempt, then they are applied (C5).
async fn trouble_takes_nothing(status: u16, state: ConnectionState) {
    let fault = Fault { status: Some(status), retry_after: Some(1), ..Fault::on("GET /users/{id}") };
    a_fault_takes_nothing(fault, state).await;
}

async fn a_fault_takes_nothing(fault: Fault, state: ConnectionState) {
    let (mut world, staff) = World::with_staff().await;
    let [ada, _] = ["Ada", "Grace"].map(|name| world.hire(name, &[staff]));
    world.sync().await;
    world.tenant.patch_user(ada, json!({ "displayName": "Ada Lovelace" })).unwrap();
    world.sim.set_fault(fault);
    world.notify(ada).await;
    eventually("the connection is not in trouble", async || world.reload().await.state == state).await;
    for _ in 0..15 {
        world.sim.clock().advance(minutes(61));
        world.waited().await;
        assert_eq!(world.status(ada).await, Some(Status::Active));
    }
    assert_eq!(world.ledger().await.failed, 0, "no attempt is spent");
    assert!(world.reload().await.remedy.is_some());

    world.sim.clear_faults();
    eventually("the change does not arrive after the trouble", async || {
        world.sim.clock().advance(minutes(5));
        world.waited().await;
        world.record(ada).await.unwrap().display_name.as_deref() == Some("Ada Lovelace")
    })
    .await;
    // A delta round may have brought the name while the next try was still an hour away.
    eventually("the trouble stays noted", async || {
        world.sim.clock().advance(minutes(5));
        world.waited().await;
        world.reload().await.state == ConnectionState::Active
    })
    .await;
    world.rest().await;
}

#[tokio::test]
async fn c5_a_refused_token_takes_nobody_out() {
    trouble_takes_nothing(401, ConnectionState::NeedsAttention).await;
}

#[tokio::test]
async fn c5_a_missing_permission_takes_nobody_out() {
    trouble_takes_nothing(403, ConnectionState::NeedsAttention).await;
}

#[tokio::test]
async fn fa11_throttling_takes_nobody_out() {
    trouble_takes_nothing(429, ConnectionState::Degraded).await;
}

#[tokio::test]
async fn fa12_a_graph_that_fails_takes_nobody_out() {
    trouble_takes_nothing(503, ConnectionState::Degraded).await;
}

/// C7: another secret is used from the next task on, without a restart: after the old one had ended, and before.
#[tokio::test]
async fn c7_a_replaced_secret_is_used_at_once_and_nothing_is_missed() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    let id = world.connection.id;
    let called =
        async |world: &World, name: &str| world.record(ada).await.unwrap().display_name.as_deref() == Some(name);
    let secret = |secret: &str| NewCredential::ClientSecret(SecretString::from(secret));

    world.tenant.set_client_secret("second");
    world.sim.clock().advance(minutes(90));
    world.tenant.patch_user(ada, json!({ "displayName": "Ada Byron" })).unwrap();
    world.notify(ada).await;
    eventually("the old secret still works", async || world.reload().await.state == ConnectionState::NeedsAttention)
        .await;
    world.store.rotate_credential(id, &secret("second")).await.unwrap();
    eventually("the new secret is not used", async || called(&world, "Ada Byron").await).await;

    world.tenant.set_client_secret("third");
    world.store.rotate_credential(id, &secret("third")).await.unwrap();
    world.sim.clock().advance(minutes(90));
    world.tenant.patch_user(ada, json!({ "displayName": "Ada Lovelace" })).unwrap();
    world.notify(ada).await;
    eventually("the change does not arrive", async || called(&world, "Ada Lovelace").await).await;
    // Microsoft takes two secrets at a time, the simulator one: somebody may have asked in between.
    eventually("the trouble stays", async || world.reload().await.state == ConnectionState::Active).await;
    world.rest().await;
}

/// BI-32: answers that are none, about everybody, are an outage like any other.
#[tokio::test]
async fn fa12_answers_that_are_none_take_nobody_out() {
    let fault = Fault { twist: Some(Twist::NotJson), ..Fault::on("GET /users/{id}") };
    a_fault_takes_nothing(fault, ConnectionState::Degraded).await;
}

/// Staff at rest, and Graph fails over the first of them in this way.
async fn sick(fault: Fault) -> (World, [uuid::Uuid; 3]) {
    let (world, staff) = World::with_staff().await;
    let people = ["Ada", "Grace", "Joan"].map(|name| world.hire(name, &[staff]));
    world.sync().await;
    world.later(minutes(2)).await;
    world.sim.set_fault(Fault { over: Some(people[0]), ..fault });
    (world, people)
}

/// FA-24, G-16: what Graph always fails over is given up after its attempts, while others are answered; it is shown with
/// the reason, nobody else waits, and it runs again daily.
async fn the_sick_one_is_given_up(fault: Fault, why: &str) {
    let (mut world, [ada, grace, _]) = sick(fault).await;
    world.tenant.patch_user(ada, json!({ "accountEnabled": false })).unwrap();
    world.notify(ada).await;
    for round in 0..30 {
        world.sim.clock().advance(minutes(16));
        world.waited().await;
        assert_eq!(world.reload().await.state, ConnectionState::Active, "round {round}");
        if world.ledger().await.failed > 0 {
            break;
        }
    }
    let failed = world.events(lockstep_store::view::event::EventStatus::Failed).await;
    assert_eq!((failed.len(), failed[0].object_id), (1, Some(lockstep_core::ObjectId(ada))));
    assert_eq!(failed[0].attempts, 12);
    assert!(failed[0].reason.as_ref().is_some_and(|reason| reason.contains(why)), "{failed:?}");
    assert_eq!(world.status(ada).await, Some(Status::Active), "an error takes nobody out (G-09)");
    world.tenant.patch_user(grace, json!({ "displayName": "Grace Hopper" })).unwrap();
    world.notify(grace).await;
    eventually("somebody else waits", async || {
        world.record(grace).await.unwrap().display_name.as_deref() == Some("Grace Hopper")
    })
    .await;

    world.sim.clear_faults();
    world.sim.clock().advance(minutes(24 * 60 + 16));
    eventually("it does not run again", async || world.ledger().await.failed == 0).await;
    eventually("the change is lost", async || world.status(ada).await == Some(Status::Inactive)).await;
    world.rest().await;
}

#[tokio::test]
async fn fa24_who_is_always_answered_500_is_given_up() {
    let fault = Fault { status: Some(500), ..Fault::on("GET /users/{id}") };
    the_sick_one_is_given_up(fault, "500").await;
}

#[tokio::test]
async fn fa24_whose_answer_is_always_cut_is_given_up() {
    the_sick_one_is_given_up(Fault { drop: true, ..Fault::on("GET /users/{id}") }, "broken").await;
}

#[tokio::test]
async fn fa24_whose_answer_is_never_readable_is_given_up() {
    let fault = Fault { twist: Some(Twist::NotJson), ..Fault::on("GET /users/{id}") };
    the_sick_one_is_given_up(fault, "JSON").await;
}

#[tokio::test]
async fn fa24_whose_memberships_always_fail_is_given_up() {
    let (mut world, [ada, ..]) =
        sick(Fault { status: Some(500), ..Fault::on("GET /users/{id}/transitiveMemberOf") }).await;
    world.store.request_on_demand(world.connection.id, lockstep_core::ObjectId(ada)).await.unwrap();
    eventually("it is not given up", async || {
        world.sim.clock().advance(minutes(16));
        world.waited().await;
        world.ledger().await.failed == 1
    })
    .await;
    assert_eq!(world.reload().await.state, ConnectionState::Active);
    world.rest().await;
}

/// FA-14: a wrong secret needs a person; with the right one work goes on without a restart.
#[tokio::test]
async fn fa14_a_refused_secret_needs_attention_and_heals_by_itself() {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    world.apply(vec![crate::world::employees(staff)]).await;
    let secret = world.tenant.client_secret();
    world.tenant.set_client_secret("rotated in the portal, not here");
    let task = world.store.start_full_sync(world.connection.id).await.unwrap();
    world.work();
    eventually("nobody is told", async || world.reload().await.state == ConnectionState::NeedsAttention).await;
    let connection = world.reload().await;
    assert!(connection.remedy.is_some_and(|remedy| remedy.contains("AADSTS7000215")), "the remedy names the code");
    assert!(connection.next_try_at.is_some());

    world.tenant.set_client_secret(&secret);
    world.sim.clock().advance(seconds(121));
    eventually("the sync does not go on", async || {
        let view = world.store.lookup_task(task).await.unwrap().unwrap();
        view.state == lockstep_store::TaskState::Done
    })
    .await;
    assert_eq!(world.reload().await.state, ConnectionState::Active);
    world.rest().await;
}

/// "On recovery: delta from the last good token, then a compare" (C5); after a short trouble the delta alone.
#[tokio::test]
async fn c5_after_a_long_trouble_everybody_is_compared() {
    let (mut world, _staff) = World::with_staff().await;
    world.later(minutes(16)).await;
    world.later(minutes(6)).await;
    let secret = world.tenant.client_secret();
    let listed = || world.requests("GET /groups/{id}/transitiveMembers");
    for (lasts, heals_within, compared) in [(seconds(0), seconds(121), false), (minutes(10), minutes(9), true)] {
        world.sim.reset_counters();
        world.tenant.set_client_secret("rotated in the portal, not here");
        world.tenant.expire_tokens();
        world.store.start_task(world.connection.id, TaskKind::Delta, None, world.store.now()).await.unwrap();
        eventually("nobody is told", async || world.reload().await.state == ConnectionState::NeedsAttention).await;
        world.sim.clock().advance(lasts);
        world.tenant.set_client_secret(&secret);
        world.sim.clock().advance(heals_within);
        let healed = world.store.now();
        eventually("it does not heal", async || world.reload().await.state == ConnectionState::Active).await;
        let caught_up = async || world.reload().await.last_delta_at.is_some_and(|at| at >= healed);
        eventually("nobody asks for what changed", caught_up).await;
        if compared {
            eventually("nobody is compared", async || {
                world.sim.clock().advance(seconds(5));
                listed() > 0
            })
            .await;
        } else {
            world.later(seconds(61)).await;
            assert_eq!(listed(), 0, "after {lasts:?}");
        }
    }
    world.rest().await;
}

/// BI-45: what cannot be read is parked, everybody else goes on.
#[tokio::test]
async fn bi45_a_hint_for_an_unknown_connection_is_parked() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    let stray = lockstep_core::hint::HintMessage {
        version: lockstep_core::hint::VERSION,
        id: uuid::Uuid::now_v7(),
        connection: lockstep_core::ConnectionId(uuid::Uuid::now_v7()),
        received_at: world.store.now(),
        items: Vec::new(),
    };
    world.queue.publish(&stray).await.unwrap();
    world.notify_members(staff, &[(ada, false)]).await;
    world.settled().await;
    assert_eq!(world.status(ada).await, Some(Status::Active));
    assert_eq!(world.events(lockstep_store::view::event::EventStatus::Parked).await.len(), 1);
    world.rest().await;
}

/// G-05: what was accepted is accounted for, whatever becomes of it.
#[tokio::test]
async fn g05_every_event_has_a_status() {
    let (mut world, staff) = World::with_staff().await;
    let people: Vec<_> = (0..30).map(|place| world.hire(&format!("Person {place}"), &[staff])).collect();
    world.sync().await;
    world.sim.set_fault(Fault { status: Some(503), probability: 0.3, ..Fault::on("*") });
    for person in &people {
        world.tenant.patch_user(*person, json!({ "jobTitle": "Engineer" })).unwrap();
        world.notify(*person).await;
    }
    for _ in 0..5 {
        world.sim.clock().advance(seconds(31));
        world.waited().await;
    }
    world.sim.clear_faults();
    eventually("not every event is applied", async || {
        world.sim.clock().advance(seconds(31));
        world.waited().await;
        world.ledger().await.applied >= people.len() as u64
    })
    .await;
    assert_eq!(world.ledger().await.failed, 0);
    world.rest().await;
}

/// FA-30: the row names a tenant that Microsoft does not know; nothing is applied, a person is told.
#[tokio::test]
async fn fa30_a_connection_to_another_tenant_applies_nothing() {
    let mut world = World::open().await;
    let staff = world.group("Staff");
    world.hire("Ada", &[staff]);
    let mut wrong = crate::world::connection_to(&world.tenant);
    wrong.name = "wrong".to_owned();
    wrong.tenant_id = lockstep_core::ObjectId(uuid::Uuid::new_v4());
    world.connection = world.store.add_connection(wrong).await.unwrap();
    world.apply(vec![crate::world::employees(staff)]).await;
    world.store.start_full_sync(world.connection.id).await.unwrap();
    world.work();
    eventually("the connection goes on", async || world.reload().await.state == ConnectionState::NeedsAttention).await;
    assert_eq!(world.active().await, 0);
    world.rest().await;
}

/// FA-24: what kills its worker each time is given up after 12 attempts; everybody else goes on.
#[tokio::test]
async fn fa24_an_object_that_no_worker_survives_is_given_up() {
    let (mut world, staff) = World::with_staff().await;
    let (poison, ada) = (world.hire("Poison", &[staff]), world.hire("Ada", &[staff]));
    world.sync().await;
    world.rest().await;
    world.store.request_on_demand(world.connection.id, lockstep_core::ObjectId(poison)).await.unwrap();
    for _ in 0..12 {
        // A worker that takes it and is never heard of again: its lease runs out.
        assert_eq!(world.store.claim_due(uuid::Uuid::now_v7(), 8).await.unwrap().len(), 1);
        world.sim.clock().advance(seconds(16));
    }
    world.tenant.patch_user(ada, json!({ "displayName": "Ada Lovelace" })).unwrap();
    world.notify(ada).await;
    world.work();
    world.settled().await;
    assert_eq!(world.ledger().await.failed, 1);
    assert_eq!(world.record(ada).await.unwrap().display_name.as_deref(), Some("Ada Lovelace"));
    world.rest().await;
}

/// An event of Ada's that was given up: the answer was about nobody.
async fn with_failed() -> (World, uuid::Uuid) {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.tenant.patch_user(ada, json!({ "displayName": "Ada Lovelace" })).unwrap();
    world.sim.set_fault(Fault { twist: Some(Twist::NoId), ..Fault::on("GET /users/{id}") });
    world.told(ada).await;
    assert_eq!(world.ledger().await.failed, 1);
    world.sim.clear_faults();
    world.rest().await;
    (world, ada)
}

#[tokio::test]
async fn failed_events_run_again_when_their_connection_recovers() {
    let (mut world, ada) = with_failed().await;
    world.sim.clock().advance(minutes(2));
    let away = lockstep_store::Trouble {
        state: ConnectionState::Degraded,
        reason: "away".to_owned(),
        remedy: "wait".to_owned(),
        next_try_at: None,
    };
    world.store.note_connection_trouble(&world.connection, &away).await.unwrap();
    world.work();
    eventually("it does not run again", async || world.ledger().await.failed == 0).await;
    world.settled().await;
    assert_eq!(world.record(ada).await.unwrap().display_name.as_deref(), Some("Ada Lovelace"));
    assert_eq!(world.ledger().await.applied, 1, "the same event");
    world.rest().await;
}

#[tokio::test]
async fn failed_events_run_again_daily() {
    let (mut world, _) = with_failed().await;
    world.sim.clock().advance(minutes(24 * 60 + 1));
    world.work();
    eventually("it does not run again", async || world.ledger().await.applied == 1).await;
    world.rest().await;
}

/// R2: a replay reads now and converges; what it answers is superseded.
#[tokio::test]
async fn r2_a_replayed_event_is_read_now() {
    let (mut world, ada) = with_failed().await;
    let replays = world.store.replay_failed(&lockstep_store::FailedFilter::default()).await.unwrap();
    assert_eq!(replays.len(), 1);
    world.work();
    world.settled().await;
    assert_eq!(world.record(ada).await.unwrap().display_name.as_deref(), Some("Ada Lovelace"));
    let sums = world.ledger().await;
    assert_eq!((sums.applied, sums.superseded, sums.failed), (1, 1, 0));
    world.rest().await;
}

/// `attempts`: what the connection's fault keeps off waits, says why, and spends none.
#[tokio::test]
async fn c5_events_wait_with_the_reason_of_the_trouble() {
    let (mut world, staff) = World::with_staff().await;
    let ada = world.hire("Ada", &[staff]);
    world.sync().await;
    world.sim.set_fault(Fault { status: Some(503), ..Fault::on("GET /users/{id}") });
    world.notify(ada).await;
    eventually("the event does not wait", async || world.ledger().await.waiting == 1).await;
    let event = world.events(lockstep_store::view::event::EventStatus::Waiting).await.remove(0);
    assert!(event.reason.is_some_and(|reason| reason.contains("503")));
    assert_eq!(event.attempts, 0);
    world.rest().await;
}
