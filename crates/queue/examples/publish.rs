//! How many hints a second become durable in RabbitMQ: `Queue::publish` beside a bare pipelined lapin loop on the same
//! queue, in turns. `LOCKSTEP_TEST_AMQP_URL=… cargo run --release -p lockstep-queue --example publish [SECONDS]`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeleteOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use lockstep_core::hint::{Claim, Hint, HintMessage, Subject, VERSION, encode};
use lockstep_core::{ConnectionId, ObjectId, SubscriptionId, Timestamp};
use lockstep_queue::{Queue, QueueUrl};
use uuid::Uuid;

const PUBLISHERS: usize = 256;

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

/// Runs one publisher after the other's pattern until the time is over; messages a second and the 99th percentile.
async fn rate<F, Fut>(seconds: u64, publish: F) -> (u64, Duration)
where
    F: Fn() -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let count = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + Duration::from_secs(seconds);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let (publish, count) = (publish.clone(), count.clone());
            tokio::spawn(async move {
                let mut times = Vec::new();
                while Instant::now() < until {
                    let began = Instant::now();
                    publish().await;
                    times.push(began.elapsed());
                    count.fetch_add(1, Ordering::Relaxed);
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for publisher in publishers {
        times.extend(publisher.await.unwrap());
    }
    times.sort();
    (count.load(Ordering::Relaxed) / seconds, times[times.len() * 99 / 100])
}

async fn bare(channel: Channel, queue: String) {
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    let body = encode(&message());
    let sent = channel.basic_publish("".into(), queue.into(), options, &body, properties);
    assert_eq!(sent.await.unwrap().await.unwrap(), Confirmation::Ack(None));
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(5);
    let address = std::env::var("LOCKSTEP_TEST_AMQP_URL").expect("a throw-away broker");
    let Ok(QueueUrl::Rabbit(mut url)) = address.parse::<QueueUrl>() else { panic!("no broker") };
    url.queue = format!("lockstep.bench.{}", Uuid::new_v4());
    let name = url.queue.clone();
    let queue = Queue::open(&QueueUrl::Rabbit(url)).await.unwrap();
    let connection = Connection::connect(&address, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    for _ in 0..3 {
        let (publishing, own) = (channel.clone(), name.clone());
        let (messages, p99) = rate(seconds, move || bare(publishing.clone(), own.clone())).await;
        println!("bare   {messages:>7}/s  p99 {p99:?}");
        let publishing = queue.clone();
        let (messages, p99) = rate(seconds, move || {
            let queue = publishing.clone();
            async move { queue.publish(&message()).await.unwrap() }
        })
        .await;
        println!("shared {messages:>7}/s  p99 {p99:?}");
    }
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
}
