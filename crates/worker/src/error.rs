//! What can go wrong in the worker.

use lockstep_core::{ConnectionId, ErrorClass, ObjectId};
use lockstep_graph::GraphError;
use lockstep_store::StoreError;

/// A failed piece of work.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Graph or the token endpoint.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue.
    #[error("the queue of hints failed")]
    Queue(#[from] lockstep_queue::QueueError),
    /// The tenant that answers is not the connection's (BI-40, FA-30). Nothing is applied.
    #[error(
        "connection {connection} reaches tenant {found}, but belongs to tenant {expected}: \
         check the tenant and the client id; a connection never changes its tenant"
    )]
    WrongTenant {
        /// The connection.
        connection: ConnectionId,
        /// Whose it is.
        expected: ObjectId,
        /// Who answered.
        found: ObjectId,
    },
    /// The connection names a cloud that does not exist.
    #[error("connection {connection} names an unknown cloud: use global, usgov, usgov-dod or china")]
    UnknownCloud {
        /// The connection, or `new`.
        connection: String,
    },
    /// A group that must be read is not there.
    #[error("group {group} does not exist in the tenant: check the object id in the rules file")]
    GroupMissing {
        /// The group.
        group: ObjectId,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    NoRandom,
    /// A checkpoint that this version cannot read.
    #[error("the checkpoint of a task cannot be read: the task starts again")]
    BadCheckpoint(#[source] serde_json::Error),
    /// The work took longer than `work_timeout`.
    #[error("the work took longer than {seconds} s and is tried again")]
    TimedOut {
        /// The bound.
        seconds: u64,
    },
    /// The work panicked.
    #[error("the work broke down and is tried again")]
    BrokenDown,
    /// The process is asked to stop; the rest is done by whoever comes next.
    #[error("stopped before the end; what is left is taken up again")]
    Stopping,
}

impl WorkerError {
    /// What kind of trouble this is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Graph(error) => error.class(),
            Self::Store(error) => error.class(),
            Self::Queue(error) => error.class(),
            Self::WrongTenant { .. } | Self::UnknownCloud { .. } | Self::GroupMissing { .. } => ErrorClass::Permanent,
            Self::NoRandom | Self::TimedOut { .. } | Self::Stopping => ErrorClass::Transient { retry_after: None },
            Self::BadCheckpoint(_) | Self::BrokenDown => ErrorClass::Bug,
        }
    }

    /// The whole connection is in trouble, so that no object is to blame.
    pub(crate) fn is_connection_wide(&self) -> bool {
        match self {
            Self::Graph(error) => error.is_connection_wide(),
            Self::WrongTenant { .. } | Self::UnknownCloud { .. } => true,
            _ => false,
        }
    }
}
