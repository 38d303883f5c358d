//! A RabbitMQ virtual host for the time of a measurement.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use lockstep_queue::{Queue, QueueUrl};

use crate::error::{BenchError, During as _};

/// Ours as long as this lives; the queue that Lockstep makes there goes with it.
pub(super) struct Broker {
    url: String,
    queue: String,
    /// Whoever holds the queue open makes it anew when it is gone.
    opened: Mutex<Vec<Queue>>,
}

const CLOSED_WITHIN: Duration = Duration::from_secs(5);

impl Broker {
    /// Only where no hints can be waiting: a measurement empties the queue and deletes it.
    pub async fn reserve(url: &str) -> Result<Self, BenchError> {
        let Ok(QueueUrl::Rabbit(parsed)) = url.parse::<QueueUrl>() else {
            return Err(BenchError::Refused("the queue URL is not an amqp:// URL".to_owned()));
        };
        let queue = parsed.queue;
        let connection = connected(url).await?;
        let channel = connection.create_channel().await.during("opening a channel to RabbitMQ")?;
        let look = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        if channel.queue_declare(queue.as_str().into(), look, FieldTable::default()).await.is_ok() {
            return Err(BenchError::Refused(format!(
                "the queue {queue} exists in this virtual host of RabbitMQ, and a measurement would empty it: name a \
                 virtual host without one, or delete it if nobody uses it"
            )));
        }
        let _ = connection.close(200, "looked".into()).await;
        Ok(Self { url: url.to_owned(), queue, opened: Mutex::default() })
    }

    /// This one is closed before the queue is deleted.
    pub fn remember(&self, queue: Queue) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(queue);
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let (url, queue) = (std::mem::take(&mut self.url), std::mem::take(&mut self.queue));
        let opened = std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        let deleting = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // A queue that stays is named by the next measurement.
            let _ = runtime.map(|runtime| {
                runtime.block_on(async {
                    for one in opened {
                        let _ = tokio::time::timeout(CLOSED_WITHIN, one.close()).await;
                    }
                    delete(&url, queue).await
                })
            });
        };
        // A runtime cannot wait inside another one.
        let _ = std::thread::spawn(deleting).join();
    }
}

async fn delete(url: &str, queue: String) -> Result<(), BenchError> {
    let connection = connected(url).await?;
    let channel = connection.create_channel().await.during("opening a channel to RabbitMQ")?;
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.during("deleting the queue")?;
    let _ = connection.close(200, "done".into()).await;
    Ok(())
}

async fn connected(url: &str) -> Result<Connection, BenchError> {
    Connection::connect(url, ConnectionProperties::default()).await.during("connecting to RabbitMQ")
}
