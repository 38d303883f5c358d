//! Where a world keeps its queue: a file beside its store, or, with `LOCKSTEP_TEST_AMQP_URL`, a queue of its own at that
//! broker. The broker is thrown away afterwards, and the queue with it.

use std::path::Path;

use lockstep_queue::QueueUrl;
use uuid::Uuid;

const KEPT_IN: &str = "queue-name";

/// Where a world keeps its queue.
pub(crate) struct QueuePlace;

impl QueuePlace {
    /// Whether this run of the tests has a broker.
    pub fn is_a_broker() -> bool {
        broker().is_some()
    }

    /// Gives the installation in this folder its queue.
    pub fn kept_in(folder: &Path) {
        let name = format!("lockstep.test.{}", Uuid::now_v7());
        std::fs::write(folder.join(KEPT_IN), name).expect("the folder can be written");
    }

    /// The queue of a folder: that of the file where it was given none.
    pub fn url_in(folder: &Path) -> QueueUrl {
        let file = || QueueUrl::Embedded(folder.join("queue.db"));
        let (Some(address), Ok(name)) = (broker(), std::fs::read_to_string(folder.join(KEPT_IN))) else {
            return file();
        };
        match address.parse().expect("LOCKSTEP_TEST_AMQP_URL is an amqp:// URL") {
            QueueUrl::Rabbit(mut url) => {
                url.queue = name;
                QueueUrl::Rabbit(url)
            }
            QueueUrl::Embedded(_) => file(),
        }
    }
}

fn broker() -> Option<String> {
    std::env::var("LOCKSTEP_TEST_AMQP_URL").ok().filter(|url| !url.is_empty())
}
