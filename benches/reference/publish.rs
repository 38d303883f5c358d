//! The reference *publish*: a bare pipelined lapin loop on a quorum queue, one message a publish, each confirmed before its
//! publisher goes on; all publishers share one channel.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use uuid::Uuid;

use crate::error::{BenchError, During as _};
use crate::statistics::number;

const ATTEMPT: &str = "publishing as the reference does";

/// Confirmed messages of so many bytes a second.
pub(crate) async fn rate(url: &str, publishers: usize, bytes: usize, length: Duration) -> Result<f64, BenchError> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.during(ATTEMPT)?;
    let channel = connection.create_channel().await.during(ATTEMPT)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.during(ATTEMPT)?;
    let queue = format!("lockstep.bench.{}", Uuid::new_v4());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.as_str().into(), durable, arguments).await.during(ATTEMPT)?;
    let (confirmed, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let publishing = (0..publishers).map(|_| {
        let publisher =
            publish(channel.clone(), queue.clone(), vec![b'x'; bytes], began + length, Arc::clone(&confirmed));
        tokio::spawn(publisher)
    });
    for publisher in join_all(publishing).await {
        publisher.during(ATTEMPT)?.during(ATTEMPT)?;
    }
    let rate = number(confirmed.load(Ordering::Relaxed)) / began.elapsed().as_secs_f64();
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.during(ATTEMPT)?;
    let _ = connection.close(200, "done".into()).await;
    Ok(rate)
}

async fn publish(
    channel: Channel,
    queue: String,
    body: Vec<u8>,
    end: Instant,
    confirmed: Arc<AtomicUsize>,
) -> Result<(), lapin::Error> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    while Instant::now() < end {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let sent = channel.basic_publish("".into(), queue.as_str().into(), options, &body, persistent).await?;
        if sent.await? == Confirmation::Ack(None) {
            confirmed.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
