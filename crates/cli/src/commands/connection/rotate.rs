//! `lockstep connection rotate`: another client secret or certificate in place of the one in use (C7).

use clap::Args;

use super::credential::CredentialFile;
use crate::app::{App, named_connection};
use crate::connecting::rotate_credential;
use crate::failure::Outcome;
use crate::output::{self, Format};

#[derive(Args)]
pub struct Rotate {
    /// The connection's name
    name: String,
    #[command(flatten)]
    credential: CredentialFile,
}

impl Rotate {
    pub async fn run(self, app: &App) -> Outcome {
        let wanted = self.credential.read()?;
        let store = app.store().await?;
        let connection = named_connection(&store, &self.name).await?;
        rotate_credential(&store, &app.graph(), &connection, wanted).await?;
        match app.format {
            Format::Json => super::list::show(app, &self.name).await,
            Format::Table => output::line(&format!(
                "{} signs in with the new {} from now on, without a restart; the old one can be deleted in Entra",
                self.name,
                store.lookup_connection(connection.id).await?.unwrap_or(connection).credential_kind.noun(),
            )),
        }
    }
}
