//! What can go wrong when a simulator is started or its tenant is changed.

use std::net::SocketAddr;

use uuid::Uuid;

/// Why a simulator could not start, or a change to its tenant was refused.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// The address could not be bound.
    #[error("binding the simulator to {address} failed; is the port taken?")]
    Bind {
        /// The wanted address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate for https could not be made.
    #[error("making the simulator's https certificate failed")]
    Certificate(#[source] rcgen::Error),
    /// The certificate for https was not accepted by the TLS library.
    #[error("setting up https for the simulator failed")]
    Tls(#[source] std::io::Error),
    /// The HTTP client of the notification sender could not be made.
    #[error("setting up the notification sender failed")]
    Sender(#[source] reqwest::Error),
    /// No object of that kind has this id or name.
    #[error("there is no {kind} {id} in tenant {tenant}")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// By which id or name.
        id: String,
        /// In which tenant.
        tenant: Uuid,
    },
    /// The change makes no sense; the text says why.
    #[error("{0}")]
    Refused(String),
}
