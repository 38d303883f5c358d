//! What can go wrong with a queue.

use std::sync::Arc;

use lockstep_core::ErrorClass;

/// A queue operation that failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueueError {
    /// The address has another form. It is not repeated: it may hold a password.
    #[error("the queue URL is not understood: use `embedded:` or `embedded:PATH`")]
    BadUrl,
    /// `amqp(s)://`.
    #[error("RabbitMQ is not in this version yet: use `embedded:` or `embedded:PATH` as the queue URL")]
    BrokerNotYet,
    /// Too much waits to be committed.
    #[error("publishing a hint was refused: too many hints wait to be written to disk")]
    Busy,
    /// No commit within `confirm_timeout`; it may still happen.
    #[error("publishing a hint was not confirmed in time: the disk or another process keeps the queue file busy")]
    Unconfirmed,
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
            Self::Busy | Self::Unconfirmed => ErrorClass::Transient { retry_after: None },
            Self::BadUrl
            | Self::BrokerNotYet
            | Self::Closed
            | Self::Folder(_)
            | Self::NotAQueue
            | Self::Newer { .. } => ErrorClass::Permanent,
            Self::TooLarge { .. } => ErrorClass::Bug,
            Self::Database { source, .. } => class_of(source),
        }
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
