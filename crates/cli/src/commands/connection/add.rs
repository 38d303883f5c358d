//! `lockstep connection add`.

use clap::{Args, ValueEnum};
use lockstep_store::Connection;

use super::credential::CredentialFile;
use crate::app::App;
use crate::connecting::{WantedConnection, add_connection};
use crate::failure::Outcome;
use crate::output::{self, Format};

/// Microsoft's clouds.
#[derive(Clone, Copy, ValueEnum)]
enum Cloud {
    Global,
    Usgov,
    UsgovDod,
    China,
}

#[derive(Args)]
#[command(after_help = crate::rules::SAMPLE_HELP)]
pub struct Add {
    /// What you will call it
    name: String,
    /// Tenant id or one of its domains
    #[arg(long, value_name = "ID_OR_DOMAIN")]
    tenant: String,
    /// Application (client) id of the app registration
    #[arg(long, value_name = "ID")]
    client_id: String,
    #[command(flatten)]
    credential: CredentialFile,
    /// E-mail domain people may be matched by; repeat for several [default: the tenant's verified domains]
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<String>,
    /// Set of records to link to and create in [default: its own, named like the connection]
    #[arg(long)]
    realm: Option<String>,
    /// Guests get access too
    #[arg(long)]
    guests: bool,
    /// Touch only this person; repeat for several
    #[arg(long = "test-user", value_name = "UPN")]
    test_users: Vec<String>,
    /// Which of Microsoft's clouds the tenant is in
    #[arg(long, value_enum, default_value = "global")]
    cloud: Cloud,
}

impl Add {
    pub async fn run(self, app: &App) -> Outcome {
        let wanted = WantedConnection {
            credential: self.credential.read()?,
            name: self.name,
            tenant: self.tenant,
            client_id: self.client_id,
            cloud: self.cloud.to_possible_value().map(|cloud| cloud.get_name().to_owned()).unwrap_or_default(),
            realm: self.realm,
            guests: self.guests,
            domains: self.domains,
            test_users: self.test_users,
        };
        let store = app.store().await?;
        let connection = add_connection(&store, &app.graph(), wanted).await?;
        match app.format {
            Format::Json => super::list::show(app, &connection.name).await,
            Format::Table => output::line(&next_step(&connection)),
        }
    }
}

fn next_step(connection: &Connection) -> String {
    let domains: Vec<&str> = connection.match_domains.iter().map(String::as_str).collect();
    let name = &connection.name;
    format!(
        "connected {name} to tenant {} ({}); people are matched by: {}\n\
         next: write which groups give access into rules.toml (`lockstep connection add --help` shows a sample), then\n  \
         lockstep rule plan {name} rules.toml",
        connection.tenant_id,
        connection.domain,
        domains.join(", "),
    )
}
