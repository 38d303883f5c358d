//! `lockstep connection remove`.

use clap::Args;
use lockstep_store::Store;
use lockstep_worker::remove_connection;

use crate::app::{App, named_connection};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format};

#[derive(Args)]
pub struct Remove {
    /// The connection's name
    name: String,
    /// Do it; without, only what would happen is said
    #[arg(long)]
    yes: bool,
}

impl Remove {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let connection = named_connection(&store, &self.name).await?;
        if !self.yes {
            return Err(self.what_would_happen(&store).await?);
        }
        let removed = remove_connection(&store, &connection, &app.graph()).await?;
        match app.format {
            Format::Json => output::json(&serde_json::json!({
                "removed": self.name, "subscriptions_deleted": removed.deleted, "subscriptions_left": removed.left,
            })),
            Format::Table => output::line(&format!(
                "removed {}; {} subscriptions deleted in Microsoft, {} left to expire; its records stay as they are",
                self.name, removed.deleted, removed.left
            )),
        }
    }

    async fn what_would_happen(&self, store: &Store) -> Result<Failure, Failure> {
        let view = store.lookup_connection_view(&self.name).await?;
        let people = view.map_or(0, |view| view.people.active);
        Ok(Failure::Refused(format!(
            "removing connection {} deletes its subscriptions in Microsoft, its rules, its secret and its mirror; \
             {people} active records keep their access and are no longer kept in step; say --yes to do it",
            self.name
        )))
    }
}
