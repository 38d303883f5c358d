//! `lockstep connection add`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, ValueEnum};
use lockstep_store::Connection;
use secrecy::{ExposeSecret as _, SecretString};

use crate::app::App;
use crate::connecting::{WantedConnection, WantedCredential, add_connection};
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
#[command(group(ArgGroup::new("credential").required(true).args(["client_secret_file", "certificate_file"])))]
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
    client_secret_file: Option<PathBuf>,
    /// File that holds the certificate and its RSA private key, both as PEM; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    certificate_file: Option<PathBuf>,
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
/// A key of 4,096 bits and a chain of ten certificates fit.
const MAX_CERTIFICATE_BYTES: u64 = 64 * 1024;

impl Add {
    pub async fn run(self, app: &App) -> Outcome {
        let wanted = WantedConnection {
            credential: read_credential(self.client_secret_file.as_deref(), self.certificate_file.as_deref())?,
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

/// Exactly one of them is given: the command line sees to it.
fn read_credential(secret: Option<&Path>, certificate: Option<&Path>) -> Result<WantedCredential, Failure> {
    match (secret, certificate) {
        (Some(file), _) => read_secret(file).map(WantedCredential::ClientSecret),
        (None, Some(file)) => {
            read_file(file, "the certificate", MAX_CERTIFICATE_BYTES).map(WantedCredential::Certificate)
        }
        (None, None) => Err(Failure::Usage("--client-secret-file or --certificate-file is needed".to_owned())),
    }
}

/// Reads the secret and takes off the line end that editors add.
fn read_secret(file: &Path) -> Result<SecretString, Failure> {
    let secret = read_file(file, "the client secret", MAX_SECRET_BYTES)?;
    let secret = secret.expose_secret().trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::Usage(format!("{} holds no client secret", file.display())));
    }
    Ok(SecretString::from(secret))
}

fn read_file(file: &Path, what: &str, limit: u64) -> Result<SecretString, Failure> {
    let failed = |error: std::io::Error| Failure::of(format!("reading {what} from {}", file.display()), &error);
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(limit).read_to_string(&mut text).map_err(failed)?;
    } else {
        let file = std::fs::File::open(file).map_err(failed)?;
        file.take(limit).read_to_string(&mut text).map_err(failed)?;
    }
    Ok(SecretString::from(text))
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
