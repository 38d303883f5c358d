//! What must exist at the broker: one quorum queue, and a mark that tells it from one made anew.
//!
//! The mark is an exchange named after a generation and bound to the queue. It goes with the queue: it is deleted by
//! the broker together with its last binding. So it stands if and only if the queue is still the one that was marked.

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
    ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};
use uuid::Uuid;

use super::trouble;
use crate::error::QueueError;

/// Attempts are counted by us, in the store (FA-24). Unlimited is the default only before RabbitMQ 4, and has no
/// spelling that all versions take.
const DELIVERY_LIMIT: i32 = 1_000_000_000;

/// Makes the queue if it does not exist.
pub(super) async fn declare(connection: &Connection, queue: &str) -> Result<(), QueueError> {
    let refused = trouble::while_declaring(queue);
    let channel = connection.create_channel().await.map_err(&refused)?;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, arguments()).await.map_err(&refused)?;
    close(channel).await;
    Ok(())
}

/// Only arguments that RabbitMQ 3.10 to 4.x take.
fn arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(DELIVERY_LIMIT));
    // Should a policy limit the length: refuse the newest, never drop the oldest.
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    arguments
}

/// Proves the right to publish without publishing: a message for a queue that cannot exist comes back.
pub(super) async fn check_publishing(connection: &Connection, queue: &str) -> Result<(), QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(trouble::while_using)?;
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let nowhere = format!("{queue}.rights");
    let sent = channel.basic_publish("".into(), nowhere.into(), mandatory, b"", BasicProperties::default()).await;
    sent.map_err(trouble::while_using)?.await.map_err(trouble::while_using)?;
    close(channel).await;
    Ok(())
}

/// Whether this is still the queue that was marked with this generation.
pub(super) async fn is_marked(connection: &Connection, queue: &str, generation: Uuid) -> Result<bool, QueueError> {
    exchange_exists(connection, &mark(queue, generation)).await
}

pub(super) async fn exchange_exists(connection: &Connection, name: &str) -> Result<bool, QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    let look = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let found = channel.exchange_declare(name.into(), ExchangeKind::Fanout, look, FieldTable::default()).await;
    is_there(channel, found).await
}

pub(super) async fn queue_exists(connection: &Connection, queue: &str) -> Result<bool, QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(queue.into(), look, FieldTable::default()).await;
    is_there(channel, found.map(|_| ())).await
}

/// A channel that asked for what is missing was closed by the broker.
async fn is_there(channel: Channel, found: Result<(), lapin::Error>) -> Result<bool, QueueError> {
    match found {
        Ok(()) => {
            close(channel).await;
            Ok(true)
        }
        Err(error) if trouble::is_missing(&error) => Ok(false),
        Err(error) => Err(trouble::while_using(error)),
    }
}

/// Takes a name that nobody else gets as long as this connection lives: an exclusive queue.
pub(super) async fn lock(connection: &Connection, name: &str) -> Result<(), QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    let ours = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), ours, FieldTable::default()).await.map_err(trouble::while_locking)?;
    close(channel).await;
    Ok(())
}

pub(super) async fn delete_queue(connection: &Connection, name: &str) -> Result<(), QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.map_err(trouble::while_using)?;
    close(channel).await;
    Ok(())
}

/// Survives the broker; again is harmless.
pub(super) async fn put_exchange(connection: &Connection, name: &str) -> Result<(), QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let put = channel.exchange_declare(name.into(), ExchangeKind::Fanout, durable, FieldTable::default()).await;
    put.map_err(trouble::while_using)?;
    close(channel).await;
    Ok(())
}

pub(super) async fn delete_exchange(connection: &Connection, name: &str) -> Result<(), QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    channel.exchange_delete(name.into(), ExchangeDeleteOptions::default()).await.map_err(trouble::while_using)?;
    close(channel).await;
    Ok(())
}

/// Comes back once the queue has taken a consumer, which needs a leader; what it was given goes back.
pub(super) async fn consume_for_a_moment(connection: &Connection, queue: &str) -> Result<(), QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    channel.basic_qos(1, BasicQosOptions::default()).await.map_err(trouble::while_using)?;
    let consuming =
        channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    consuming.await.map_err(trouble::while_using)?;
    close(channel).await;
    Ok(())
}

/// Marks the queue with this generation; again is harmless.
pub(super) async fn put_mark(connection: &Connection, queue: &str, generation: Uuid) -> Result<(), QueueError> {
    let refused = trouble::while_declaring(queue);
    let channel = connection.create_channel().await.map_err(&refused)?;
    let kept_while_bound =
        ExchangeDeclareOptions { durable: true, auto_delete: true, ..ExchangeDeclareOptions::default() };
    let name = mark(queue, generation);
    let none = FieldTable::default;
    channel
        .exchange_declare(name.as_str().into(), ExchangeKind::Fanout, kept_while_bound, none())
        .await
        .map_err(&refused)?;
    channel
        .queue_bind(queue.into(), name.into(), "".into(), QueueBindOptions::default(), none())
        .await
        .map_err(&refused)?;
    close(channel).await;
    Ok(())
}

/// Messages that wait at the broker, those on their way to a worker not included.
pub(super) async fn waiting(connection: &Connection, queue: &str) -> Result<u64, QueueError> {
    let channel = connection.create_channel().await.map_err(trouble::while_using)?;
    let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(queue.into(), look, FieldTable::default()).await.map_err(trouble::while_using)?;
    close(channel).await;
    Ok(u64::from(found.message_count()))
}

fn mark(queue: &str, generation: Uuid) -> String {
    format!("{queue}.generation.{generation}")
}

async fn close(channel: Channel) {
    // What was asked for is done; a channel that cannot be closed goes with its connection.
    let _ = channel.close(200, "done".into()).await;
}
