//! `lockstep connection …`: the Entra tenants Lockstep is connected to.

mod add;
mod check;
mod credential;
mod grant;
mod list;
mod pause;
mod remove;
mod rotate;
mod sync;

use clap::Subcommand;

use crate::app::App;
use crate::failure::Outcome;

#[derive(Subcommand)]
pub enum Connection {
    /// Connect a tenant: checks it by a token and a read, then stores it
    Add(add::Add),
    /// List connections and how they are
    List,
    /// Show one connection
    Show {
        /// The connection's name
        name: String,
    },
    /// Check token, permissions and subscriptions
    Check {
        /// The connection's name
        name: String,
    },
    /// Read everybody in scope, or one person, and bring records in step
    Sync(sync::Sync),
    /// Sign in with another client secret or certificate; checked by a token and a read, then stored
    Rotate(rotate::Rotate),
    /// Stop working on a connection; what Microsoft says meanwhile is kept and waits
    Pause {
        /// The connection's name
        name: String,
    },
    /// Go on with a paused connection
    Resume {
        /// The connection's name
        name: String,
    },
    /// Say which roles and permissions the rules of a connection may give
    Grant(grant::Grant),
    /// Disconnect a tenant; its records stay as they are
    Remove(remove::Remove),
}

impl Connection {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::Add(add) => add.run(app).await,
            Self::List => list::list(app).await,
            Self::Show { name } => list::show(app, &name).await,
            Self::Check { name } => check::run(app, &name).await,
            Self::Sync(sync) => sync.run(app).await,
            Self::Rotate(rotate) => rotate.run(app).await,
            Self::Pause { name } => pause::pause(app, &name).await,
            Self::Resume { name } => pause::resume(app, &name).await,
            Self::Grant(grant) => grant.run(app).await,
            Self::Remove(remove) => remove.run(app).await,
        }
    }
}
