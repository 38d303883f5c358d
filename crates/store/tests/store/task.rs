//! Longer work goes on from its checkpoint; old rows are swept.

use std::time::Duration;

use lockstep_store::{SyncProgress, TaskKind, TaskState};
use serde_json::json;
use uuid::Uuid;

use crate::world::World;

#[tokio::test]
async fn a_second_full_sync_joins_the_first() {
    let world = World::new().await;
    let first = world.store.start_full_sync(world.connection.id).await.unwrap();
    assert_eq!(world.store.start_full_sync(world.connection.id).await.unwrap(), first);
    let group = Some(world.staff);
    let listing = world.store.start_task(world.connection.id, TaskKind::ListGroup, group, world.now()).await.unwrap();
    assert_ne!(listing, first);
}

#[tokio::test]
async fn fa_18_a_lost_workers_task_goes_on_from_its_checkpoint() {
    let world = World::new().await;
    let id = world.store.start_full_sync(world.connection.id).await.unwrap();
    let lost = Uuid::new_v4();
    let task = world.store.claim_task(lost).await.unwrap().expect("the task");
    assert!(world.store.claim_task(Uuid::new_v4()).await.unwrap().is_none());
    let progress = SyncProgress { users: 999, step: "listing".into(), ..SyncProgress::default() };
    let mut tx = world.store.begin("page").await.unwrap();
    tx.checkpoint_task(&task, &json!({ "page": 2 }), &progress).await.unwrap();
    tx.commit().await.unwrap();
    world.wait(Duration::from_secs(16));
    let other = Uuid::new_v4();
    let task = world.store.claim_task(other).await.unwrap().expect("taken over");
    assert_eq!((task.id, &task.checkpoint, &task.progress), (id, &json!({ "page": 2 }), &progress));
    assert!(!world.store.extend_task(lost, &task).await.unwrap(), "the lost worker must stop");
    assert!(world.store.extend_task(other, &task).await.unwrap());
    let mut tx = world.store.begin("done").await.unwrap();
    tx.finish_task(&task, &progress).await.unwrap();
    tx.commit().await.unwrap();
    let view = world.store.lookup_task(id).await.unwrap().unwrap();
    assert_eq!((view.state, view.progress.users), (TaskState::Done, 999));
}

#[tokio::test]
async fn a_full_sync_closes_the_gap_that_was_known_when_it_began() {
    let mut world = World::new().await;
    world.store.take_hints(&[world.message(vec![lockstep_core::hint::Subject::Unclear])]).await.unwrap();
    world.store.start_full_sync(world.connection.id).await.unwrap();
    let task = world.store.claim_task(Uuid::new_v4()).await.unwrap().unwrap();
    let mut tx = world.store.begin("done").await.unwrap();
    tx.finish_task(&task, &SyncProgress::default()).await.unwrap();
    tx.close_gap(task.connection, task.created_at).await.unwrap();
    tx.commit().await.unwrap();
    world.reload().await;
    assert_eq!(world.connection.gap_since, None);
    assert_eq!(world.text("SELECT status FROM event").await, "applied");
}

#[tokio::test]
async fn what_has_had_its_time_is_swept() {
    let world = World::new().await;
    world.store.take_hints(&[world.about(1)]).await.unwrap();
    world.store.beat(Uuid::new_v4(), "worker").await.unwrap();
    let task = world.store.start_full_sync(world.connection.id).await.unwrap();
    let claimed = world.store.claim_task(Uuid::new_v4()).await.unwrap().unwrap();
    world.store.fail_task(&claimed, "gave up").await.unwrap();
    assert_eq!(world.store.workers_alive(Duration::from_secs(10)).await.unwrap(), 1);
    world.wait(Duration::from_secs(29 * 60));
    world.store.sweep_old(world.now()).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM seen").await, 1);
    world.wait(Duration::from_secs(8 * 24 * 3600));
    world.store.sweep_old(world.now()).await.unwrap();
    assert_eq!(world.number("SELECT count(*) FROM seen").await, 0);
    assert!(world.store.lookup_task(task).await.unwrap().is_none());
    assert_eq!(world.store.workers_alive(Duration::from_secs(10)).await.unwrap(), 0);
}
