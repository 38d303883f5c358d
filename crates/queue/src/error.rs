//! What can go wrong with a queue.

use std::sync::Arc;

use lockstep_core::ErrorClass;

/// A queue operation that failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// The address has another form. It is not repeated: it may hold a password.
    #[error(
        "the queue URL is not understood: use `embedded:`, `embedded:PATH`, `amqp://USER:PASSWORD@HOST:PORT/VHOST` or \
         `amqps://…`"
    )]
    BadUrl,
    /// Too much waits to be committed.
    #[error("publishing a hint was refused: too many hints wait to be written to disk")]
    Busy,
    /// No commit within `confirm_timeout`; it may still happen.
    #[error("publishing a hint was not confirmed in time: the disk, another process or RabbitMQ is busy")]
    Unconfirmed,
    /// The broker cannot be reached, or the link to it broke: what was on its way may be there or not (FA-01, FA-03).
    #[error("RabbitMQ is away: check that it runs and that the queue URL reaches it; it is tried again for ever")]
    BrokerAway(#[source] Option<Arc<lapin::Error>>),
    /// The broker takes what is sent and confirms nothing (FA-02).
    #[error("RabbitMQ does not confirm: its disk or its machine is stuck; what was sent may be there or not")]
    BrokerSilent,
    /// The broker takes no messages (FA-04).
    #[error("RabbitMQ blocks publishers ({reason}): free its disk or memory")]
    BrokerBlocked {
        /// The broker's own word.
        reason: String,
    },
    /// The broker answered, and did not keep the message: the queue was gone, or is full by a policy.
    #[error("RabbitMQ did not keep a hint: its queue was gone or full; a missing queue is made anew")]
    NotKept,
    /// Another process makes the queue at the moment; nobody publishes until it has rested.
    #[error("the queue of hints in RabbitMQ is just being made by another process; it is tried again in a moment")]
    BeingMade,
    /// Another queue has its place since [`crate::Queue::recognise`]: hints were lost (FA-05).
    #[error("the queue of hints in RabbitMQ was made anew: what waited in it is lost")]
    Replaced,
    /// A queue of that name has other settings (FA-05).
    #[error(
        "RabbitMQ has a queue {queue} that is not Lockstep's kind ({why}): delete it once it is empty, or use a virtual \
         host of its own"
    )]
    WrongQueue {
        /// Its name.
        queue: String,
        /// The broker's own words.
        why: String,
    },
    /// A right is missing.
    #[error(
        "RabbitMQ refused ({why}): give the user of the queue URL the rights configure `^lockstep\\.`, \
         write `^(lockstep\\.|amq\\.default$)` and read `^lockstep\\.` on its virtual host"
    )]
    Forbidden {
        /// The broker's own words.
        why: String,
    },
    /// User, password or virtual host.
    #[error("RabbitMQ refused the login ({why}): check user, password and virtual host in the queue URL")]
    LoginRefused {
        /// The broker's own words.
        why: String,
    },
    /// Whoever answers does not prove to be the broker of the queue URL, or speaks no TLS there.
    #[error(
        "the TLS connection to RabbitMQ was given up ({why}): the queue URL must name the host that its certificate is for, and \
         an authority the machine does not know must be named in SSL_CERT_FILE"
    )]
    NotTrusted {
        /// In the words of the TLS library.
        why: String,
    },
    /// [`crate::Queue::close`] was called, or the writer is gone.
    #[error("the queue is closed")]
    Closed,
    /// A message beyond the bound that readers accept.
    #[error("publishing a hint message of {bytes} bytes was refused: the bound is {limit}")]
    TooLarge {
        /// Encoded size.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The folder of the queue file cannot be made.
    #[error("making the folder of the queue file failed: check the path and its permissions")]
    Folder(#[source] Arc<std::io::Error>),
    /// The file belongs to something else.
    #[error("the queue file is a database of another program: point the queue URL at a file of its own")]
    NotAQueue,
    /// The file's schema is newer than this program.
    #[error("the queue file has schema {found}, this version knows {known}: run the newer version")]
    Newer {
        /// In the file.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// SQLite refused.
    #[error("{operation} failed on the queue file: check its disk space and permissions")]
    Database {
        /// What was attempted.
        operation: &'static str,
        /// Why.
        #[source]
        source: Arc<sqlx::Error>,
    },
}

impl QueueError {
    /// Whether waiting, a person or a programmer helps.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Busy
            | Self::Unconfirmed
            | Self::BrokerAway(_)
            | Self::BrokerSilent
            | Self::BrokerBlocked { .. }
            | Self::NotKept
            | Self::BeingMade
            | Self::Replaced => ErrorClass::Transient { retry_after: None },
            Self::BadUrl
            | Self::WrongQueue { .. }
            | Self::Forbidden { .. }
            | Self::LoginRefused { .. }
            | Self::NotTrusted { .. }
            | Self::Closed
            | Self::Folder(_)
            | Self::NotAQueue
            | Self::Newer { .. } => ErrorClass::Permanent,
            Self::TooLarge { .. } => ErrorClass::Bug,
            Self::Database { source, .. } => class_of(source),
        }
    }

    /// A person must act: a start with this is refused.
    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self.class(), ErrorClass::Permanent)
    }

    pub(crate) fn database(operation: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { operation, source: Arc::new(source) }
    }
}

/// SQLite's primary result codes: the low byte of the extended ones.
fn class_of(error: &sqlx::Error) -> ErrorClass {
    const PERM: u32 = 3;
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const NOMEM: u32 = 7;
    const READONLY: u32 = 8;
    const IOERR: u32 = 10;
    const CORRUPT: u32 = 11;
    const FULL: u32 = 13;
    const CANTOPEN: u32 = 14;
    const NOTADB: u32 = 26;

    let code = match error {
        sqlx::Error::Database(inner) => inner.code().and_then(|code| code.parse::<u32>().ok()),
        sqlx::Error::Io(_) => return ErrorClass::Transient { retry_after: None },
        _ => None,
    };
    match code.map(|code| code & 0xff) {
        Some(BUSY | LOCKED | NOMEM | IOERR | FULL) => ErrorClass::Transient { retry_after: None },
        Some(PERM | READONLY | CORRUPT | CANTOPEN | NOTADB) => ErrorClass::Permanent,
        _ => ErrorClass::Bug,
    }
}
