//! Many workers at once (G-08, G-14, FA-08): what one reads and writes again is not overtaken by another between.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lockstep_core::{ErrorClass, Ticket};
use lockstep_store::{Due, DueKind, DueReason, EventOutcome, MarkDue, NewConnection, Store, StoreError, TaskKind};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::store_place::on_postgres;
use crate::world::{World, mail, new_connection, user};

/// A Lockstep process each.
async fn processes(world: &World, count: usize) -> Vec<Store> {
    let mut stores = vec![world.store.clone()];
    while stores.len() < count {
        stores.push(world.another_process().await);
    }
    stores
}

async fn due(world: &World, people: u128) {
    let marks: Vec<MarkDue> = (0..people)
        .map(|n| MarkDue {
            object: user(n),
            kind: DueKind::User,
            at: world.now(),
            urgent: n % 3 == 0,
            read_profile: true,
            read_membership: true,
            reason: DueReason::OnDemand,
        })
        .collect();
    let mut tx = world.store.begin("test").await.unwrap();
    tx.mark_due(world.connection.id, &marks).await.unwrap();
    tx.commit().await.unwrap();
}

/// What heals by itself is tried again, as a worker does.
fn must_run_again<T>(result: Result<T, StoreError>) -> bool {
    let Err(error) = result else { return false };
    assert!(matches!(error.class(), ErrorClass::Transient { .. }), "{error:?}");
    true
}

async fn settle_event(world: &World, n: u128, ticket: Ticket) -> Result<(), StoreError> {
    let mut tx = world.store.begin("settle").await?;
    tx.settle_events(world.connection.id, &[(user(n), ticket, EventOutcome::applied())]).await?;
    tx.commit().await
}

async fn settle_row(world: &World, due: &Due) -> Result<(), StoreError> {
    let mut tx = world.store.begin("settle").await?;
    tx.settle_due(due, None, world.now()).await?;
    tx.commit().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_workers_claim_each_row_once() {
    let world = World::new().await;
    due(&world, 400).await;
    let mut workers = JoinSet::new();
    for store in processes(&world, 2).await.into_iter().cycle().take(8) {
        workers.spawn(async move {
            let (worker, mut claimed, mut nothing) = (Uuid::now_v7(), Vec::new(), 0);
            // A row that another worker has just locked is passed over once.
            while nothing < 3 {
                let rows = store.claim_due(worker, 7).await.unwrap();
                nothing = if rows.is_empty() { nothing + 1 } else { 0 };
                claimed.extend(rows.into_iter().map(|due| due.object));
            }
            claimed
        });
    }
    let claimed: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 400);
    assert_eq!(claimed.into_iter().collect::<BTreeSet<_>>().len(), 400);
    let mut claimers = JoinSet::new();
    for kind in [TaskKind::FullSync, TaskKind::Delta, TaskKind::DailyCompare] {
        world.store.start_task(world.connection.id, kind, None, world.now()).await.unwrap();
    }
    for store in processes(&world, 2).await.into_iter().cycle().take(8) {
        claimers.spawn(async move { store.claim_task(Uuid::now_v7()).await.unwrap().map(|task| task.id.0) });
    }
    let tasks: Vec<_> = claimers.join_all().await.into_iter().flatten().collect();
    assert_eq!(tasks.iter().collect::<BTreeSet<_>>().len(), tasks.len(), "no task twice");
}

/// T14: whoever keeps its leases up waits for nobody who settles; of both, one would wait for the other until the server ends
/// one of them.
#[tokio::test]
async fn a_lease_is_kept_up_beside_rows_that_are_being_settled() {
    const AT_ONCE: Duration = Duration::from_secs(1);
    let world = World::new().await;
    due(&world, 2).await;
    let worker = Uuid::now_v7();
    let claimed = world.store.claim_due(worker, 2).await.unwrap();
    world.wait(Duration::from_secs(5));
    if on_postgres() {
        let mut tx = world.store.begin("settle").await.unwrap();
        tx.settle_due(&claimed[0], None, world.now()).await.unwrap();
        tokio::time::timeout(AT_ONCE, world.store.extend_leases(worker)).await.expect("nobody is waited for").unwrap();
        drop(tx);
        assert_eq!(world.number("SELECT count(DISTINCT lease_until) FROM due").await, 2, "the other one's");
    }
    world.store.extend_leases(worker).await.unwrap();
    assert_eq!(world.number("SELECT count(DISTINCT lease_until) FROM due").await, 1);
    world.wait(Duration::from_secs(12));
    assert!(world.store.claim_due(Uuid::now_v7(), 2).await.unwrap().is_empty(), "they would have run out after 15 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g14_two_workers_who_apply_the_same_people_at_once_leave_what_one_leaves() {
    let world = Arc::new(World::new().await);
    let mut reads = Vec::new();
    for n in 0..20 {
        reads.push(world.read(n, &mail(n), true, &[world.staff]).await);
    }
    let mut workers = JoinSet::new();
    for worker in 0..4 {
        // Each in another order: the locks are taken in one order all the same.
        let (world, mut reads) = (Arc::clone(&world), reads.clone());
        reads.rotate_left(worker * 5);
        workers.spawn(async move { while must_run_again(world.sync(&reads).await) {} });
    }
    workers.join_all().await;
    assert_eq!(world.number("SELECT count(*) FROM record").await, 20);
    assert_eq!(world.number("SELECT count(*) FROM history").await, 20);
    assert_eq!(world.number("SELECT count(*) FROM audit WHERE action = 'record.create'").await, 20);
    assert_eq!(world.number("SELECT active FROM people_count").await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g08_swapped_sets_of_people_end_without_a_deadlock_and_the_latest_read_stands() {
    let world = Arc::new(World::new().await);
    let mut workers = JoinSet::new();
    for worker in 0..8_u128 {
        let world = Arc::clone(&world);
        workers.spawn(async move {
            let mut conflicts = 0;
            for round in 0..4_u128 {
                let mut people: Vec<u128> = (0..12).map(|n| (n * (worker % 4 + 1) + round) % 15).collect();
                people.sort_unstable();
                people.dedup();
                if worker % 2 == 1 {
                    people.reverse();
                }
                loop {
                    let mut reads = Vec::new();
                    for n in &people {
                        let enabled = (worker + round) % 2 == 0;
                        reads.push(world.read(*n, &mail(*n), enabled, &[world.staff]).await);
                    }
                    match world.sync(&reads).await {
                        Ok(_) => break,
                        Err(error) => {
                            let text = format!("{error:?}");
                            assert!(matches!(error.class(), ErrorClass::Transient { .. }), "{text}");
                            assert!(!text.contains("deadlock"), "{text}");
                            conflicts += 1;
                            assert!(conflicts < 50, "{text}");
                        }
                    }
                }
            }
        });
    }
    workers.join_all().await;
    for n in 0..15 {
        let read = world.read(n, &mail(n), true, &[world.staff]).await;
        world.sync(&[read]).await.unwrap();
    }
    assert_eq!(world.number("SELECT count(*) FROM directory_user").await, 15);
    assert_eq!(world.number("SELECT count(*) FROM record").await, 15);
    let kept = world.number("SELECT active * 1000 + inactive FROM people_count").await;
    let active = world.number("SELECT count(*) FROM record WHERE status = 'active'").await;
    let inactive = world.number("SELECT count(*) FROM record WHERE status = 'inactive'").await;
    assert_eq!(kept, active * 1000 + inactive, "the counts that are kept are those that are");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_decided_when_two_workers_settle_the_last_two_of_its_people_at_once() {
    let world = Arc::new(World::new().await);
    for round in 0..10_u128 {
        let pair = [round * 2 + 100, round * 2 + 101];
        world.store.take_hints(&[world.members(&[(pair[0], false), (pair[1], false)])]).await.unwrap();
        let mut workers = JoinSet::new();
        for n in pair {
            let world = Arc::clone(&world);
            workers.spawn(async move {
                let ticket = world.store.draw_ticket().await.unwrap();
                while must_run_again(settle_event(&world, n, ticket).await) {}
            });
        }
        workers.join_all().await;
    }
    assert_eq!(world.number("SELECT count(*) FROM event WHERE status = 'applied'").await, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_that_comes_while_its_object_is_settled_is_looked_at() {
    let world = Arc::new(World::new().await);
    let known = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(&[known]).await.unwrap();
    for _ in 0..20 {
        world.store.take_hints(&[world.about(1)]).await.unwrap();
        world.wait(std::time::Duration::from_secs(60));
        let claimed = world.store.claim_due(Uuid::now_v7(), 10).await.unwrap();
        assert_eq!(claimed.len(), 1);
        let (settling, hinting) = (Arc::clone(&world), Arc::clone(&world));
        let settled = tokio::spawn(async move { while must_run_again(settle_row(&settling, &claimed[0]).await) {} });
        let hinted =
            tokio::spawn(async move { while must_run_again(hinting.store.take_hints(&[hinting.about(1)]).await) {} });
        settled.await.unwrap();
        hinted.await.unwrap();
        assert_eq!(
            world.number("SELECT count(*) FROM due WHERE lease_owner IS NULL").await,
            1,
            "the hint is owed a look"
        );
        world.wait(std::time::Duration::from_secs(60));
        world.change("DELETE FROM due").await;
    }
}

/// Waits for it until it was woken so often, and then no more.
async fn give_up_after(wakes: usize, waiting: impl Future) {
    let (mut waiting, mut polls) = (pin!(waiting), 0);
    poll_fn(|context| {
        polls += 1;
        let ended = waiting.as_mut().poll(context).is_ready() || polls > wakes;
        if ended { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// FA-08: in a transaction that was begun for somebody who does not wait any more, others would write, and nobody commits it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_waiting_leaves_no_transaction_open() {
    const OPEN: &str = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'
        AND datname = current_database()";
    let world = World::new().await;
    if world.file().is_some() {
        return;
    }
    for wakes in 0..12 {
        give_up_after(wakes, world.store.claim_due(Uuid::now_v7(), 10)).await;
        // Ended behind us, on the connection's way back.
        let ended = async { while world.number(OPEN).await > 0 {} };
        assert!(tokio::time::timeout(Duration::from_secs(3), ended).await.is_ok(), "left open after {wakes} wake-ups");
    }
}

#[tokio::test]
async fn a_worker_whose_lease_ran_out_cannot_settle_what_was_hinted_since() {
    let world = World::new().await;
    let known = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(&[known]).await.unwrap();
    world.store.take_hints(&[world.about(1), world.about(1)]).await.unwrap();
    let slow = world.store.claim_due(Uuid::now_v7(), 10).await.unwrap();
    world.wait(std::time::Duration::from_secs(60));
    let quick = world.store.claim_due(Uuid::now_v7(), 10).await.unwrap();
    for (claimed, hinted_since) in [(&quick, false), (&slow, true)] {
        if hinted_since {
            world.store.take_hints(&[world.about(1)]).await.unwrap();
        }
        settle_row(&world, &claimed[0]).await.unwrap();
    }
    assert_eq!(world.number("SELECT count(*) FROM due").await, 1, "the later hint is owed a look");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_tasks_asked_for_at_once_are_one() {
    let world = World::new().await;
    let mut asking = JoinSet::new();
    for store in processes(&world, 2).await.into_iter().cycle().take(8) {
        let connection = world.connection.id;
        asking.spawn(async move { store.start_full_sync(connection).await.unwrap().0 });
    }
    let tasks: BTreeSet<Uuid> = asking.join_all().await.into_iter().collect();
    assert_eq!(tasks.len(), 1);
}

#[tokio::test]
async fn g22_one_connections_transaction_never_writes_into_anothers() {
    let world = World::new().await;
    let fabrikam = NewConnection { realm: Some("contoso".to_owned()), ..new_connection("fabrikam") };
    let fabrikam = world.store.add_connection(fabrikam).await.unwrap();
    let read = world.read(1, &mail(1), true, &[world.staff]).await;
    world.sync(std::slice::from_ref(&read)).await.unwrap();
    let mut tx = world.store.begin("test").await.unwrap();
    let theirs = tx.mirror(&fabrikam, &[read]).await.unwrap();
    assert!(theirs[0].record.is_none(), "the other connection's record is not theirs");
    assert_eq!(theirs[0].candidates.len(), 1, "yet in one realm it stands in the way of a second one");
}
