//! What every queue owes us. Order between keys is not part of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lockstep_core::hint::UndecodableHint;
use lockstep_queue::QueueError;
use uuid::Uuid;

use crate::world::{AGES, World, ids, message, nothing_comes, publish, tags, take};

pub async fn g_01_a_published_hint_survives_the_loss_of_every_process(world: World) {
    let queue = world.open().await;
    let sent = message();
    queue.publish(&sent).await.unwrap();

    let after_the_crash = world.left_by_a_kill(queue);
    let taken = take(&after_the_crash.open().await, 1).await;

    assert!(taken[0].body.as_ref().is_ok_and(|body| *body == sent));
}

pub async fn an_unacknowledged_hint_comes_again_after_its_process_is_lost_and_an_acknowledged_one_does_not(
    world: World,
) {
    let queue = world.open().await;
    let sent = publish(&queue, 3).await;
    let taken = take(&queue, 3).await;
    assert_eq!(ids(&taken), sent);
    queue.ack(&[taken[1].tag]).await.unwrap();
    settled(&queue, 2).await;

    let after_the_crash = world.left_by_a_kill(queue);
    let queue = after_the_crash.open().await;

    assert_eq!(ids(&take(&queue, 2).await), [sent[0], sent[2]]);
    assert!(nothing_comes(&queue).await);
}

/// An acknowledgement is on its way; this queue has got it when it counts no more than this.
async fn settled(queue: &lockstep_queue::Queue, left: u64) {
    let deadline = Instant::now() + AGES;
    while queue.depth().await.unwrap().messages != left {
        assert!(Instant::now() < deadline);
        queue.hinted(Duration::from_millis(20)).await;
    }
    // What counts here is told to the broker behind what was told before.
    queue.hinted(Duration::from_millis(100)).await;
}

pub async fn a_taken_hint_is_nobody_elses_until_it_is_given_back(world: World) {
    let queue = world.open().await;
    let sent = publish(&queue, 5).await;
    let mine = take(&queue, 2).await;
    let yours = take(&queue.clone(), 2).await;
    assert_eq!(ids(&mine), sent[..2], "oldest first");
    assert_eq!(ids(&yours), sent[2..4]);

    queue.give_back(&[mine[1].tag]).await;

    let again: BTreeSet<_> = ids(&take(&queue, 2).await).into_iter().collect();
    assert_eq!(again, BTreeSet::from([sent[1], sent[4]]));
    assert!(nothing_comes(&queue).await);
}

pub async fn bi_45_an_undecodable_message_is_parked_alone(world: World) {
    let queue = world.open().await;
    let before = publish(&queue, 1).await;
    world.inject(b"\x00 not a\nmessage").await;
    world.inject(br#"{"v":99,"from":"a later version"}"#).await;
    let after = publish(&queue, 1).await;

    let taken = take(&queue, 4).await;

    assert_eq!(ids(&taken), [before[0], after[0]]);
    let unreadable: Vec<_> = taken.iter().filter_map(|one| one.body.as_ref().err()).collect();
    assert_eq!(unreadable[0].bytes, b"\x00 not a\nmessage");
    assert_eq!(unreadable[0].why, UndecodableHint::Garbage);
    assert_eq!(unreadable[1].why, UndecodableHint::UnknownVersion { version: 99 }, "FA-27");
    queue.ack(&tags(&taken)).await.unwrap();
    settled(&queue, 0).await;
}

pub async fn a_thousand_publishers_lose_nothing(world: World) {
    let queue = world.open().await;
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

    let taken = take(&queue, 1_000).await;
    let kept: BTreeSet<_> = ids(&taken).into_iter().collect();
    assert_eq!(kept, sent);

    // Each is settled alone, whatever it shared its way with.
    let (mine, yours) = taken.split_at(500);
    queue.ack(&tags(mine)).await.unwrap();
    queue.give_back(&tags(yours)).await;
    let again: BTreeSet<_> = ids(&take(&queue, 500).await).into_iter().collect();
    assert_eq!(again, ids(yours).into_iter().collect());
    queue.ack(&tags(yours)).await.unwrap();
    settled(&queue, 0).await;
}

pub async fn a_tag_never_comes_twice_so_a_late_acknowledgement_harms_nobody(world: World) {
    let queue = world.open().await;
    publish(&queue, 1).await;
    let old = tags(&take(&queue, 1).await);
    queue.ack(&old).await.unwrap();
    queue.close().await;
    drop(queue);

    let queue = world.open().await;
    publish(&queue, 1).await;
    queue.ack(&old).await.unwrap();
    let taken = take(&queue, 1).await;
    assert_ne!(tags(&taken), old);
    queue.ack(&old).await.unwrap();
    queue.give_back(&tags(&taken)).await;
    assert_eq!(take(&queue, 1).await.len(), 1);
}

pub async fn a_publish_between_an_empty_take_and_the_wait_is_not_missed(world: World) {
    let queue = world.open().await;
    assert!(queue.take(1).await.unwrap().is_empty());
    publish(&queue, 1).await;

    let began = Instant::now();
    queue.hinted(AGES).await;
    assert!(began.elapsed() < AGES);
    assert_eq!(queue.take(1).await.unwrap().len(), 1);
}

pub async fn a_waiting_worker_is_woken_by_a_publish_of_this_process_and_of_another(world: World) {
    let (queue, other_process) = (world.open().await, world.open().await);
    for publisher in [&queue, &other_process] {
        assert!(queue.take(10).await.unwrap().is_empty());
        let began = Instant::now();
        tokio::join!(queue.hinted(AGES), publish(publisher, 1));
        assert!(began.elapsed() < AGES);
        assert_eq!(queue.take(10).await.unwrap().len(), 1);
    }
}

pub async fn waiting_for_nothing_ends(world: World) {
    let queue = world.open().await;
    queue.take(1).await.unwrap();
    let began = Instant::now();
    queue.hinted(Duration::from_millis(300)).await;
    assert!(began.elapsed() >= Duration::from_millis(300), "returned although there was nothing");
}

pub async fn depth_counts_what_is_not_acknowledged(world: World) {
    let queue = world.open().await;
    let oldest = message();
    queue.publish(&oldest).await.unwrap();
    publish(&queue, 2).await;
    let taken = take(&queue, 3).await;

    settled(&queue, 3).await;
    assert_eq!(queue.depth().await.unwrap().oldest, Some(oldest.received_at), "a leased message still counts");
    queue.ack(&tags(&taken[..1])).await.unwrap();
    settled(&queue, 2).await;
}

pub async fn fa_05_a_marked_queue_is_recognised_by_every_process(world: World) {
    let queue = world.open().await;
    let first = queue.recognise(None).await.unwrap();
    queue.mark(first).await.unwrap();
    queue.mark(first).await.unwrap();

    assert_eq!(queue.recognise(Some(first)).await.unwrap(), first);
    assert_eq!(world.open().await.recognise(Some(first)).await.unwrap(), first);
    assert_ne!(world.open().await.recognise(Some(Uuid::now_v7())).await.unwrap(), Uuid::nil());
    let other = Uuid::now_v7();
    assert_ne!(queue.recognise(Some(other)).await.unwrap(), other, "another queue's generation");
}

pub async fn a_closed_queue_says_so_and_what_was_handed_in_before_is_kept(world: World) {
    let queue = world.open().await;
    let clone = queue.clone();
    publish(&queue, 1).await;
    queue.close().await;
    assert!(matches!(clone.publish(&message()).await, Err(QueueError::Closed)));
    assert!(matches!(clone.ack(&[1]).await, Err(QueueError::Closed)));
    clone.close().await;
    assert_eq!(take(&world.open().await, 1).await.len(), 1);
}

pub async fn processes_that_start_at_once_open_one_queue(world: World) {
    let (one, two, three) = tokio::join!(world.open(), world.open(), world.open());
    let sent: BTreeSet<_> = [publish(&one, 1).await, publish(&two, 1).await].concat().into_iter().collect();
    assert_eq!(ids(&take(&three, 2).await).into_iter().collect::<BTreeSet<_>>(), sent);
}
