//! The files in which an operator gives the credential of a connection.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};

use crate::connecting::WantedCredential;
use crate::failure::Failure;

/// More is no client secret: Microsoft's are about 40 characters.
const MAX_SECRET_BYTES: u64 = 4096;
/// A key of 4,096 bits and a chain of ten certificates fit.
const MAX_CERTIFICATE_BYTES: u64 = 64 * 1024;

/// One of the two.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct CredentialFile {
    /// File that holds the client secret; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<PathBuf>,
    /// File that holds the certificate and its RSA private key, both as PEM; - reads it from stdin
    #[arg(long, value_name = "FILE")]
    certificate_file: Option<PathBuf>,
}

impl CredentialFile {
    pub fn read(&self) -> Result<WantedCredential, Failure> {
        match (&self.client_secret_file, &self.certificate_file) {
            (Some(file), _) => read_secret(file).map(WantedCredential::ClientSecret),
            (None, Some(file)) => {
                read_file(file, "the certificate", MAX_CERTIFICATE_BYTES).map(WantedCredential::Certificate)
            }
            (None, None) => Err(Failure::Usage("--client-secret-file or --certificate-file is needed".to_owned())),
        }
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
