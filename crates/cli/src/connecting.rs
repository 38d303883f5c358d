//! Adding a connection, and another credential for it: checked by a token and a read before anything is stored.

use lockstep_core::{ObjectId, Timestamp};
use lockstep_graph::{CertificateFile, Credential, GraphError};
use lockstep_store::{Connection, NewConnection, NewCredential, Store};
use lockstep_worker::{Checked, GraphSettings, check_connection, connect};
use secrecy::SecretString;

use crate::failure::Failure;

/// A connection somebody wants. Has no `Debug`: it holds the secret.
pub struct WantedConnection {
    /// What people will call it.
    pub name: String,
    /// Tenant id or one of its domains.
    pub tenant: String,
    /// Application (client) id.
    pub client_id: String,
    /// The application's proof.
    pub credential: WantedCredential,
    /// `global`, `usgov`, `usgov-dod` or `china`.
    pub cloud: String,
    /// The set of records it may link to and create in; its own by default.
    pub realm: Option<String>,
    /// Guests get access too.
    pub guests: bool,
    /// E-mail domains it may match people by; the tenant's verified ones by default.
    pub domains: Vec<String>,
    /// When not empty, only these people are touched.
    pub test_users: Vec<String>,
}

/// How the application proves itself. Has no `Debug`.
pub enum WantedCredential {
    /// A client secret.
    ClientSecret(SecretString),
    /// A certificate and its private key, as PEM.
    Certificate(SecretString),
}

impl WantedCredential {
    /// For Microsoft and for the store; `now` tells whether a certificate has run out.
    fn read(self, now: Timestamp) -> Result<(Credential, NewCredential), Failure> {
        match self {
            Self::ClientSecret(secret) => {
                Ok((Credential::ClientSecret(secret.clone()), NewCredential::ClientSecret(secret)))
            }
            Self::Certificate(pem) => {
                let file = CertificateFile::parse(&pem).map_err(refused)?;
                let expires_at = file.expires_at();
                if expires_at <= now {
                    return Err(Failure::Failed(format!(
                        "reading the certificate: it ran out on {expires_at}; make a new one and register it at the application"
                    )));
                }
                Ok((Credential::Certificate(file), NewCredential::Certificate { pem, expires_at }))
            }
        }
    }
}

/// What is wrong with the file, and what would be right.
fn refused(error: GraphError) -> Failure {
    match error {
        GraphError::SettingRefused { which, why } => Failure::Usage(format!("the {which} file cannot be used: {why}")),
        other => other.into(),
    }
}

/// Checks and stores it. When the check fails, nothing is stored.
pub async fn add_connection(
    store: &Store,
    graph: &GraphSettings,
    wanted: WantedConnection,
) -> Result<Connection, Failure> {
    let (credential, kept) = wanted.credential.read(store.now())?;
    let client = connect(&wanted.tenant, &wanted.client_id, credential, &wanted.cloud, graph)?;
    let checked = check_connection(&client).await?;
    check_permissions("adding the connection", &checked)?;
    check_tenant("adding the connection", &wanted.tenant, &checked)?;
    let match_domains = match_domains(&wanted.domains, &checked.verified_domains)?;
    let connection = store
        .add_connection(NewConnection {
            name: wanted.name,
            tenant_id: checked.organization,
            domain: checked.verified_domains.first().cloned().unwrap_or_default(),
            client_id: wanted.client_id,
            credential: kept,
            cloud: wanted.cloud,
            realm: wanted.realm,
            guests: wanted.guests,
            match_domains,
            test_users: wanted.test_users,
        })
        .await?;
    store.note_connection_ok(connection.id).await?;
    Ok(connection)
}

/// Checks another credential for a connection and stores it in place of the one it has. When the check fails, that one stays.
pub async fn rotate_credential(
    store: &Store,
    graph: &GraphSettings,
    connection: &Connection,
    wanted: WantedCredential,
) -> Result<(), Failure> {
    const DOING: &str = "replacing the credential";
    let (credential, kept) = wanted.read(store.now())?;
    let tenant = connection.tenant_id.to_string();
    let client = connect(&tenant, &connection.client_id, credential, &connection.cloud, graph)?;
    let checked = check_connection(&client).await?;
    check_permissions(DOING, &checked)?;
    check_tenant(DOING, &tenant, &checked)?;
    Ok(store.rotate_credential(connection.id, &kept).await?)
}

fn check_permissions(doing: &str, checked: &Checked) -> Result<(), Failure> {
    let missing: Vec<&str> =
        permissions(checked).into_iter().filter(|(_, granted)| !granted).map(|(name, _)| name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{doing}: the application lacks {}; add it as an application permission of Microsoft Graph to the app registration, grant admin consent, then try again",
        missing.join(" and ")
    )))
}

/// The application permissions Lockstep reads with, and whether each is granted.
pub fn permissions(checked: &Checked) -> [(&'static str, bool); 2] {
    [("User.Read.All", checked.can_read_users), ("Group.Read.All", checked.can_read_groups)]
}

/// A tenant named by id must be the one that answers (BI-40).
fn check_tenant(doing: &str, wanted: &str, checked: &Checked) -> Result<(), Failure> {
    match wanted.parse::<ObjectId>() {
        Ok(id) if id != checked.organization => Err(Failure::Failed(format!(
            "{doing}: tenant {} answered in place of {id}; check the tenant and client ids",
            checked.organization
        ))),
        _ => Ok(()),
    }
}

/// People may be matched only by domains that the tenant has proven to own (TH-09).
fn match_domains(wanted: &[String], verified: &[String]) -> Result<Vec<String>, Failure> {
    if wanted.is_empty() {
        return Ok(verified.to_vec());
    }
    let is_verified = |domain: &String| verified.iter().any(|known| known.eq_ignore_ascii_case(domain));
    match wanted.iter().find(|domain| !is_verified(domain)) {
        None => Ok(wanted.to_vec()),
        Some(foreign) => Err(Failure::Failed(format!(
            "adding the connection: {foreign} is not a verified domain of this tenant; verified are: {}",
            verified.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn th_09_a_domain_the_tenant_does_not_own_is_refused() {
        let verified = ["contoso.example".to_owned()];
        assert_eq!(match_domains(&[], &verified).expect("default"), verified);
        assert!(match_domains(&["Contoso.Example".to_owned()], &verified).is_ok());
        let refused = match_domains(&["fabrikam.example".to_owned()], &verified);
        assert!(refused.expect_err("refused").to_string().contains("contoso.example"));
    }
}
