//! Where the receiver listens and what it bears. The constants of guarantees.md §1 that no test needs to change stand
//! beside the code that keeps them.

use std::net::SocketAddr;
use std::time::Duration;

/// What the receiver needs to know.
#[derive(Clone, Debug)]
pub struct ReceiverConfig {
    /// The public listener; port 0 takes a free one.
    pub bind: SocketAddr,
    /// How much it bears.
    pub limits: Limits,
}

/// Bounds of the public listener (TH-04, TH-05, G-30).
#[derive(Clone, Debug)]
pub struct Limits {
    /// From the first byte of a request, or from the connection's start, until its headers are complete.
    pub header_timeout: Duration,
    /// From the end of the headers until the body is complete.
    pub body_timeout: Duration,
    /// A connection without a request is closed after this. Longer than common proxies keep theirs, so that we are not
    /// the ones who close while a notification is on its way.
    pub idle_timeout: Duration,
    /// Connections at a time; more are closed at once.
    pub connections: usize,
    /// Notification bodies being read, judged and published at a time; more are answered 503.
    pub posts_in_work: usize,
    /// POSTs per second and path token; more are answered 429.
    pub posts_per_second: u32,
    /// Rejected requests per second and address; more are answered 429. Accepted ones never count: Graph's addresses
    /// are shared by all tenants.
    pub rejections_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            connections: 2_048,
            posts_in_work: 512,
            posts_per_second: 2_000,
            rejections_per_second: 200,
        }
    }
}
