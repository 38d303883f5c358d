//! A queue of its own at the RabbitMQ of `LOCKSTEP_TEST_AMQP_URL`, deleted in the end.

use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use lockstep_queue::QueueUrl;
use uuid::Uuid;

use crate::proxy::Proxy;

/// The queue.
pub struct Broker {
    address: String,
    queue: String,
}

impl Broker {
    /// `None` where no broker is given: a plain `cargo test` needs no service.
    pub fn given() -> Option<Self> {
        let address = std::env::var("LOCKSTEP_TEST_AMQP_URL").ok().filter(|url| !url.is_empty())?;
        Some(Self { address, queue: format!("lockstep.test.{}", Uuid::new_v4()) })
    }

    pub fn url(&self) -> QueueUrl {
        self.at(&self.address)
    }

    /// The same queue through a proxy.
    pub fn through(&self, proxy: &Proxy) -> QueueUrl {
        let (login, place) = self.address.split_once('@').unwrap_or(("amqp://guest:guest", &self.address[7..]));
        let vhost = place.split_once('/').map_or("", |(_, vhost)| vhost);
        self.at(&format!("{login}@127.0.0.1:{}/{vhost}", proxy.port()))
    }

    fn at(&self, address: &str) -> QueueUrl {
        match address.parse().unwrap() {
            QueueUrl::Rabbit(mut url) => {
                url.queue.clone_from(&self.queue);
                QueueUrl::Rabbit(url)
            }
            QueueUrl::Embedded(_) => panic!("LOCKSTEP_TEST_AMQP_URL is no broker"),
        }
    }

    pub fn with_password(&self, password: &str) -> QueueUrl {
        let (_, place) = self.address.split_once('@').unwrap_or(("", &self.address[7..]));
        self.at(&format!("amqp://guest:{password}@{place}"))
    }

    /// Host and port, for a proxy.
    pub fn socket(&self) -> String {
        let place = self.address.split_once('@').map_or(&self.address[7..], |(_, place)| place);
        let socket = place.split(['/', '?']).next().unwrap();
        if socket.contains(':') { socket.to_owned() } else { format!("{socket}:5672") }
    }

    pub async fn channel(&self) -> Channel {
        let connection = Connection::connect(&self.address, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        // It lives as long as its channels do.
        std::mem::forget(connection);
        channel
    }

    pub async fn inject(&self, bytes: &[u8]) {
        let channel = self.channel().await;
        channel.confirm_select(Default::default()).await.unwrap();
        let options = BasicPublishOptions::default();
        let sent = channel.basic_publish("".into(), self.name(), options, bytes, BasicProperties::default()).await;
        sent.unwrap().await.unwrap();
    }

    /// Somebody else's queue under our name.
    pub async fn declare_classic(&self) {
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        self.channel().await.queue_declare(self.name(), durable, FieldTable::default()).await.unwrap();
    }

    pub async fn delete(&self) {
        self.channel().await.queue_delete(self.name(), QueueDeleteOptions::default()).await.unwrap();
    }

    /// Messages that wait for a consumer, as the broker counts them.
    pub async fn ready(&self) -> u32 {
        let look = QueueDeclareOptions { passive: true, ..Default::default() };
        self.channel().await.queue_declare(self.name(), look, FieldTable::default()).await.unwrap().message_count()
    }

    fn name(&self) -> lapin::types::ShortString {
        self.queue.as_str().into()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let (address, queue) = (self.address.clone(), self.queue.clone());
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let connection = Connection::connect(&address, ConnectionProperties::default()).await?;
                let channel = connection.create_channel().await?;
                channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
                connection.close(200, "done".into()).await
            })
        });
        // A broker that is gone has nothing to delete.
        let _ = deleting.join();
    }
}
