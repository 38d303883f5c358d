//! A broker that dies in the first second of its queue (G-01, FA-01): RabbitMQ then forgets which files are the queue's.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use lockstep_core::hint::{Claim, Hint, HintMessage, Subject, VERSION};
use lockstep_core::{ConnectionId, ObjectId, SubscriptionId, Timestamp};
use lockstep_queue::{Queue, QueueUrl};
use lockstep_testkit::OwnRabbit;
use uuid::Uuid;

/// RabbitMQ takes 5 s to delete a queue without a leader; the rest is a busy machine.
const SERVES_AGAIN_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn message() -> HintMessage {
    let subject = Subject::User { id: ObjectId(Uuid::new_v4()), claim: Claim::Changed };
    HintMessage {
        version: VERSION,
        id: Uuid::now_v7(),
        connection: ConnectionId(Uuid::now_v7()),
        received_at: Timestamp::from_micros(1_795_000_000_000_000),
        items: vec![Hint { subscription: SubscriptionId(Uuid::now_v7()), subject }],
    }
}

async fn until_kept(queue: &Queue) -> Uuid {
    let (message, deadline) = (message(), Instant::now() + SERVES_AGAIN_WITHIN);
    while let Err(refused) = queue.publish(&message).await {
        assert!(Instant::now() < deadline, "nothing is ever confirmed: {refused} {:?}", queue.conditions());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    message.id
}

async fn holds(queue: &Queue, kept: &[Uuid]) {
    let (mut there, deadline) = (Vec::new(), Instant::now() + SERVES_AGAIN_WITHIN);
    while !kept.iter().all(|id| there.contains(id)) {
        assert!(Instant::now() < deadline, "G-01: {kept:?} were confirmed, {there:?} are there");
        queue.hinted(Duration::from_millis(100)).await;
        there
            .extend(queue.take(100).await.unwrap().into_iter().filter_map(|taken| taken.body.ok()).map(|body| body.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn g_01_what_the_first_publisher_was_confirmed_outlives_a_broker_that_is_killed_at_once() {
    let Some(mut broker) = OwnRabbit::start().await else { return };
    let url: QueueUrl = broker.url().parse().unwrap();
    let queue = Queue::open(&url).await.unwrap();
    let first = until_kept(&queue).await;
    broker.kill().await;
    broker.start_again().await;
    let second = until_kept(&queue).await;
    holds(&queue, &[first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fa_01_a_queue_whose_broker_was_killed_while_it_was_made_serves_in_the_end() {
    let Some(mut broker) = OwnRabbit::start().await else { return };
    let url: QueueUrl = broker.url().parse().unwrap();
    let opening = tokio::spawn({
        let url = url.clone();
        async move { Queue::open(&url).await }
    });
    let deadline = Instant::now() + SERVES_AGAIN_WITHIN;
    while !broker.has_files_of_a_queue() {
        assert!(Instant::now() < deadline, "no queue is made");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    broker.kill().await;
    let queue = opening.await.unwrap().expect("a broker that goes away is no reason not to start");
    broker.start_again().await;
    let kept = until_kept(&queue).await;
    holds(&queue, &[kept]).await;
}

/// Two processes that start at once: one founds the queue, and neither is confirmed anything before it has.
#[tokio::test(flavor = "multi_thread")]
async fn g_01_two_founders_of_a_queue_lose_nothing() {
    let Some(mut broker) = OwnRabbit::start().await else { return };
    let url: QueueUrl = broker.url().parse().unwrap();
    let (one, other) = tokio::join!(Queue::open(&url), Queue::open(&url));
    let (one, other) = (one.unwrap(), other.unwrap());
    let first = tokio::select! {
        kept = until_kept(&one) => kept,
        kept = until_kept(&other) => kept,
    };
    broker.kill().await;
    broker.start_again().await;
    let kept = [first, until_kept(&one).await, until_kept(&other).await];
    holds(&one, &kept[..1]).await;
}
