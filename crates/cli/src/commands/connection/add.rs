//! `lockstep connection add`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use lockstep_store::Connection;
use secrecy::SecretString;

use crate::app::App;
use crate::connecting::{WantedConnection, add_connection};
use crate::failure::{Failure, Outcome};
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
    /// File that holds the client secret; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    client_secret_file: PathBuf,
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

/// More is no client secret: Microsoft's are about 40 characters.
const MAX_SECRET_BYTES: u64 = 4096;

impl Add {
    pub async fn run(self, app: &App) -> Outcome {
        let wanted = WantedConnection {
            secret: read_secret(&self.client_secret_file)?,
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

/// Reads the secret and takes off the line end that editors add.
fn read_secret(file: &Path) -> Result<SecretString, Failure> {
    let failed =
        |error: std::io::Error| Failure::of(format!("reading the client secret from {}", file.display()), &error);
    let mut secret = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MAX_SECRET_BYTES).read_to_string(&mut secret).map_err(failed)?;
    } else {
        let file = std::fs::File::open(file).map_err(failed)?;
        file.take(MAX_SECRET_BYTES).read_to_string(&mut secret).map_err(failed)?;
    }
    let secret = secret.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::Usage(format!("{} holds no client secret", file.display())));
    }
    Ok(SecretString::from(secret))
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

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_line_end_of_the_secret_file_is_not_part_of_the_secret() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, " s3cret \r\n").expect("written");
        assert_eq!(read_secret(&file).expect("read").expose_secret(), " s3cret ");
        std::fs::write(&file, "\n").expect("written");
        assert!(matches!(read_secret(&file), Err(Failure::Usage(_))));
    }
}
