//! What only the file owes us.

use std::time::{Duration, Instant};

use lockstep_core::ErrorClass;
use lockstep_queue::{Queue, QueueError};

use crate::file::File;
use crate::world::{ids, large_message, message, publish, tags, take};

async fn open(file: &File) -> Queue {
    try_open(file).await.unwrap()
}

async fn try_open(file: &File) -> Result<Queue, QueueError> {
    Queue::open(&file.url()).await
}

#[tokio::test]
async fn t_3_a_thousand_publishers_share_commits() {
    let file = File::new();
    let queue = open(&file).await;
    let written_before = file.bytes_written();
    let publishing = (0..1_000).map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.publish(&message()).await })
    });
    for publisher in publishing.collect::<Vec<_>>() {
        publisher.await.unwrap().unwrap();
    }

    // A commit of its own costs each message at least one page of 4 KiB: 4 MB together.
    let written = file.bytes_written() - written_before;
    assert!(written < 1_500_000, "{written} bytes written");
}

/// G-01: `publish` says yes when the message is on the disk, and not before.
#[tokio::test]
async fn g_01_what_was_published_outlives_a_power_cut() {
    let file = File::new();
    let queue = open(&file).await;
    file.lose_log();
    queue.publish(&message()).await.unwrap();
    let left = open(&file.copy_without_log()).await;
    assert_eq!(left.depth().await.unwrap().messages, 1);
}

#[tokio::test]
async fn another_process_counts_what_this_one_leased() {
    let file = File::new();
    let queue = open(&file).await;
    publish(&queue, 3).await;
    let taken = take(&queue, 1).await;
    assert_eq!(open(&file).await.depth().await.unwrap().messages, 3);
    queue.ack(&tags(&taken)).await.unwrap();
    assert_eq!(open(&file).await.depth().await.unwrap().messages, 2);
}

#[tokio::test]
async fn fa_05_a_file_made_anew_has_another_generation() {
    let generation = open(&File::new()).await.recognise(None).await.unwrap();
    assert_ne!(open(&File::new()).await.recognise(Some(generation)).await.unwrap(), generation);
}

#[tokio::test]
async fn fa_08_a_locked_queue_refuses_in_time_keeps_nothing_and_recovers() {
    let file = File::new();
    let queue = open(&file).await;
    let lock = file.lock().await;
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
    let file = File::new();
    let queue = open(&file).await;
    let lock = file.lock().await;
    let publishers: Vec<_> = (0..200)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.publish(&large_message()).await })
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
async fn g_29_a_file_of_a_newer_version_or_of_another_program_is_refused_untouched() {
    let file = File::new();
    open(&file).await.close().await;
    file.run("PRAGMA user_version = 2").await;
    assert!(matches!(try_open(&file).await, Err(QueueError::Newer { found: 2, known: 1 })));

    let file = File::new();
    file.run("CREATE TABLE theirs (id INTEGER)").await;
    assert!(matches!(try_open(&file).await, Err(QueueError::NotAQueue)));
}

#[tokio::test]
async fn processes_that_start_at_once_make_one_generation() {
    let file = File::new();
    let (one, two, three) = tokio::join!(open(&file), open(&file), open(&file));
    let generation = one.recognise(None).await.unwrap();
    assert_eq!(two.recognise(None).await.unwrap(), generation);
    assert_eq!(three.recognise(None).await.unwrap(), generation);
}
