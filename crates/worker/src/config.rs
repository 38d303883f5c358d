//! What the worker is told at start.

use lockstep_graph::IDS_PER_BATCH;
use url::Url;

/// Where Graph is, when it is not where the connection's cloud says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GraphSettings {
    /// `LOCKSTEP_GRAPH_URL`; `None`: the Graph host of the connection's cloud.
    pub graph_url: Option<Url>,
    /// `LOCKSTEP_LOGIN_URL`; `None`: the login host of the connection's cloud.
    pub login_url: Option<Url>,
}

/// What this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// Takes hints, reads Graph, applies.
    pub worker: bool,
    /// Keeps subscriptions alive, starts what is owed, sweeps.
    pub renewer: bool,
}

impl Default for Roles {
    fn default() -> Self {
        Self { worker: true, renewer: true }
    }
}

/// Settings of one worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Where Graph is.
    pub graph: GraphSettings,
    /// What Graph calls; `None`: there are no subscriptions.
    pub public_url: Option<Url>,
    /// Requests to Graph at a time, whatever number of objects each is about.
    pub places: usize,
    /// Objects claimed at a time, and so in one request to Graph at most.
    pub objects_at_a_time: usize,
    /// What this process does.
    pub roles: Roles,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            graph: GraphSettings::default(),
            public_url: None,
            places: 8,
            // What fits into one request (T5).
            objects_at_a_time: IDS_PER_BATCH,
            roles: Roles::default(),
        }
    }
}
