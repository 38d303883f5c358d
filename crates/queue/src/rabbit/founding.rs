//! The first seconds of a queue, in which nobody publishes (G-01, FA-01).
//!
//! RabbitMQ writes down which files belong to a new quorum queue 0.5 to 1 s after it was made (`names.dets` of its Ra
//! library, `auto_save` 500 ms; read in 3.10.8). A broker killed before that comes back with the queue's name and none of
//! its files: what it had confirmed is lost, and the queue elects no leader any more, so that nothing is ever confirmed
//! again. So a queue rests before it is used, and as long as it rests an exchange stands as the sign of it: under the sign
//! nothing was ever confirmed, and a queue that does not serve may be deleted and made anew.

use std::time::Duration;

use lapin::Connection;
use tokio::time::{sleep, timeout};

use super::{in_time, topology};
use crate::error::QueueError;

/// Twice what RabbitMQ takes to write down which files are the queue's.
const REST: Duration = Duration::from_secs(2);
/// A queue with a leader takes a consumer at once; one without never does.
const SERVES_WITHIN: Duration = Duration::from_millis(1_500);
/// RabbitMQ waits 5 s for a leader before it deletes without one.
const DELETED_WITHIN: Duration = Duration::from_secs(10);

/// Makes sure that the queue is there and may be published to.
///
/// # Errors
/// The queue is of another kind, a right is missing, the broker went away, or another process founds it at the moment.
pub(super) async fn ready(connection: &Connection, queue: &str) -> Result<(), QueueError> {
    if !in_time(is_founded(connection, queue)).await? {
        found(connection, queue).await?;
    }
    // Compares the settings too.
    in_time(topology::declare(connection, queue)).await
}

async fn is_founded(connection: &Connection, queue: &str) -> Result<bool, QueueError> {
    Ok(topology::queue_exists(connection, queue).await? && !topology::exchange_exists(connection, &sign(queue)).await?)
}

/// One process at a time: the lock goes with its connection, and so does its right to delete.
async fn found(connection: &Connection, queue: &str) -> Result<(), QueueError> {
    let lock = format!("{queue}.founder");
    in_time(topology::lock(connection, &lock)).await?;
    // Somebody else may have done it since we looked.
    if !in_time(is_founded(connection, queue)).await? {
        make(connection, queue).await?;
    }
    in_time(topology::delete_queue(connection, &lock)).await
}

async fn make(connection: &Connection, queue: &str) -> Result<(), QueueError> {
    if in_time(topology::queue_exists(connection, queue)).await? && !serves(connection, queue).await {
        tracing::warn!(
            queue,
            "RabbitMQ lost the files of queue {queue} before anything was kept in it; making it anew"
        );
        let deleted = timeout(DELETED_WITHIN, topology::delete_queue(connection, queue)).await;
        deleted.unwrap_or(Err(QueueError::BrokerAway(None)))?;
    }
    in_time(topology::put_exchange(connection, &sign(queue))).await?;
    in_time(topology::declare(connection, queue)).await?;
    sleep(REST).await;
    if !serves(connection, queue).await {
        // The next try deletes it.
        return Err(QueueError::BrokerSilent);
    }
    in_time(topology::delete_exchange(connection, &sign(queue))).await
}

async fn serves(connection: &Connection, queue: &str) -> bool {
    timeout(SERVES_WITHIN, topology::consume_for_a_moment(connection, queue)).await.is_ok_and(|asked| asked.is_ok())
}

/// An exchange of this name stands from before the queue is made until it has rested.
fn sign(queue: &str) -> String {
    format!("{queue}.founding")
}
