//! What every queue owes us. Order between keys is not part of it. A new variant gets a `World` and all of these tests.

#![allow(clippy::unwrap_used, missing_docs)]

mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockstep_core::ErrorClass;
use lockstep_core::hint::UndecodableHint;
use lockstep_queue::{Queue, QueueError, Taken};
use uuid::Uuid;

use crate::world::{World, message};

/// Long enough for any machine; nobody waits for it unless a test fails.
const AGES: Duration = Duration::from_secs(30);

fn ids(taken: &[Taken]) -> Vec<Uuid> {
    taken.iter().filter_map(|one| one.body.as_ref().ok()).map(|message| message.id).collect()
}

fn tags(taken: &[Taken]) -> Vec<i64> {
    taken.iter().map(|one| one.tag).collect()
}

async fn publish(queue: &Queue, count: usize) -> Vec<Uuid> {
    let messages: Vec<_> = (0..count).map(|_| message()).collect();
    for message in &messages {
        queue.publish(message).await.unwrap();
    }
    messages.into_iter().map(|message| message.id).collect()
}

#[tokio::test]
async fn g_01_a_published_hint_survives_the_loss_of_every_process() {
    let world = World::new();
    let queue = world.open().await;
    let sent = message();
    queue.publish(&sent).await.unwrap();

    let after_the_crash = world.as_left_by_a_kill();
    let taken = after_the_crash.open().await.take(10).await.unwrap();

    assert_eq!(taken.len(), 1);
    assert!(taken[0].body.as_ref().is_ok_and(|body| *body == sent));
}

#[tokio::test]
async fn an_unacknowledged_hint_comes_again_after_its_process_is_lost_and_an_acknowledged_one_does_not() {
    let world = World::new();
    let queue = world.open().await;
    let sent = publish(&queue, 3).await;
    let taken = queue.take(10).await.unwrap();
    assert_eq!(ids(&taken), sent);
    queue.ack(&[taken[1].tag]).await.unwrap();

    let again = world.as_left_by_a_kill().open().await.take(10).await.unwrap();

    assert_eq!(ids(&again), [sent[0], sent[2]]);
}

#[tokio::test]
async fn a_taken_hint_is_nobody_elses_until_it_is_given_back() {
    let world = World::new();
    let queue = world.open().await;
    let sent = publish(&queue, 5).await;
    let mine = queue.take(2).await.unwrap();
    let yours = queue.clone().take(2).await.unwrap();
    assert_eq!(ids(&mine), sent[..2], "oldest first");
    assert_eq!(ids(&yours), sent[2..4]);

    queue.give_back(&[mine[1].tag]).await;

    assert_eq!(ids(&queue.take(10).await.unwrap()), [sent[1], sent[4]]);
    assert!(queue.take(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn bi_45_an_undecodable_message_is_parked_alone() {
    let world = World::new();
    let queue = world.open().await;
    let before = publish(&queue, 1).await;
    world.inject(b"\x00 not a message").await;
    world.inject(br#"{"v":99,"from":"a later version"}"#).await;
    let after = publish(&queue, 1).await;

    let taken = queue.take(10).await.unwrap();

    assert_eq!(ids(&taken), [before[0], after[0]]);
    let unreadable: Vec<_> = taken.iter().filter_map(|one| one.body.as_ref().err()).collect();
    assert_eq!(unreadable[0].bytes, b"\x00 not a message");
    assert_eq!(unreadable[0].why, UndecodableHint::Garbage);
    assert_eq!(unreadable[1].why, UndecodableHint::UnknownVersion { version: 99 }, "FA-27");
    queue.ack(&tags(&taken)).await.unwrap();
    assert_eq!(queue.depth().await.unwrap().messages, 0);
}

#[tokio::test]
async fn t_3_a_thousand_publishers_share_commits_and_lose_nothing() {
    let world = World::new();
    let queue = world.open().await;
    let written_before = world.bytes_written();
    let publishers: Vec<_> = (0..1_000)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let sent = message();
                queue.publish(&sent).await.map(|()| sent.id)
            })
        })
        .collect();
    let mut sent = BTreeSet::new();
    for publisher in publishers {
        sent.insert(publisher.await.unwrap().unwrap());
    }

    // A commit of its own costs each message at least one page of 4 KiB: 4 MB together.
    let written = world.bytes_written() - written_before;
    assert!(written < 1_500_000, "{written} bytes written");
    let kept: BTreeSet<_> = ids(&queue.take(2_000).await.unwrap()).into_iter().collect();
    assert_eq!(kept, sent);
}

#[tokio::test]
async fn a_tag_never_comes_twice_so_a_late_acknowledgement_harms_nobody() {
    let world = World::new();
    let queue = world.open().await;
    publish(&queue, 1).await;
    let old = tags(&queue.take(1).await.unwrap());
    queue.ack(&old).await.unwrap();
    queue.close().await;
    drop(queue);

    let queue = world.open().await;
    publish(&queue, 1).await;
    queue.ack(&old).await.unwrap();

    assert_eq!(queue.take(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_publish_between_an_empty_take_and_the_wait_is_not_missed() {
    let world = World::new();
    let queue = world.open().await;
    assert!(queue.take(1).await.unwrap().is_empty());
    publish(&queue, 1).await;

    let began = Instant::now();
    queue.hinted(AGES).await;
    assert!(began.elapsed() < AGES);
    assert_eq!(queue.take(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_waiting_worker_is_woken_by_a_publish_of_this_process_and_of_another() {
    let world = World::new();
    let (queue, other_process) = (world.open().await, world.open().await);
    for publisher in [&queue, &other_process] {
        assert!(queue.take(10).await.unwrap().is_empty());
        let began = Instant::now();
        tokio::join!(queue.hinted(AGES), publish(publisher, 1));
        assert!(began.elapsed() < AGES);
        assert_eq!(queue.take(10).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn waiting_for_nothing_ends() {
    let world = World::new();
    let queue = world.open().await;
    queue.take(1).await.unwrap();
    let began = Instant::now();
    queue.hinted(Duration::from_millis(300)).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "returned although there was nothing");
}

#[tokio::test]
async fn depth_counts_what_is_not_acknowledged_and_another_process_sees_it() {
    let world = World::new();
    let queue = world.open().await;
    let oldest = message();
    queue.publish(&oldest).await.unwrap();
    publish(&queue, 2).await;
    let taken = queue.take(1).await.unwrap();

    let seen = world.open().await.depth().await.unwrap();
    assert_eq!((seen.messages, seen.oldest), (3, Some(oldest.received_at)), "a leased message still counts");
    queue.ack(&tags(&taken)).await.unwrap();
    assert_eq!(queue.depth().await.unwrap().messages, 2);
}

#[tokio::test]
async fn fa_05_the_generation_stays_with_the_queue_and_a_queue_made_anew_has_another() {
    let world = World::new();
    let generation = world.open().await.generation();
    assert_eq!(world.open().await.generation(), generation);
    assert_ne!(World::new().open().await.generation(), generation);
}

#[tokio::test]
async fn fa_08_a_locked_queue_refuses_in_time_keeps_nothing_and_recovers() {
    let world = World::new();
    let queue = world.open().await;
    let lock = world.lock().await;
    let began = Instant::now();
    let refused = queue.publish(&message()).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    assert_eq!(refused.class(), ErrorClass::Transient { retry_after: None }, "{refused}");
    lock.release().await;

    let sent = publish(&queue, 1).await;
    assert_eq!(ids(&queue.take(10).await.unwrap()), sent, "what was refused is not there");
}

#[tokio::test]
async fn g_30_more_than_the_writer_may_hold_is_refused_and_the_rest_is_kept() {
    let world = World::new();
    let queue = world.open().await;
    let lock = world.lock().await;
    let publishers: Vec<_> = (0..200)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.publish(&world::large_message()).await })
        })
        .collect();
    let mut busy = 0;
    for publisher in publishers {
        if matches!(publisher.await.unwrap(), Err(QueueError::Busy)) {
            busy += 1;
        }
    }
    lock.release().await;
    assert!(busy > 0, "200 messages of 100 kB are more than 16 MiB");
    publish(&queue, 1).await;
}

#[tokio::test]
async fn a_closed_queue_says_so_and_what_was_handed_in_before_is_kept() {
    let world = World::new();
    let queue = world.open().await;
    let clone = queue.clone();
    publish(&queue, 1).await;
    queue.close().await;
    assert!(matches!(clone.publish(&message()).await, Err(QueueError::Closed)));
    assert!(matches!(clone.ack(&[1]).await, Err(QueueError::Closed)));
    clone.close().await;
    assert_eq!(world.open().await.take(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn g_29_a_file_of_a_newer_version_or_of_another_program_is_refused_untouched() {
    let world = World::new();
    world.open().await.close().await;
    world.run("PRAGMA user_version = 2").await;
    assert!(matches!(world.try_open().await, Err(QueueError::Newer { found: 2, known: 1 })));

    let world = World::new();
    world.run("CREATE TABLE theirs (id INTEGER)").await;
    assert!(matches!(world.try_open().await, Err(QueueError::NotAQueue)));
}

#[tokio::test]
async fn processes_that_start_at_once_open_one_queue() {
    let world = World::new();
    let (one, two, three) = tokio::join!(world.open(), world.open(), world.open());
    assert_eq!(one.generation(), two.generation());
    assert_eq!(two.generation(), three.generation());
}
