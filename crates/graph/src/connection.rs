//! What a connection needs to talk to its tenant.

use secrecy::SecretString;

use crate::certificate::CertificateFile;
use crate::cloud::GraphEndpoints;

/// How the application proves itself at the token endpoint. No `Debug`: it holds the proof.
#[derive(Clone)]
pub enum Credential {
    /// A client secret (the value, not its id).
    ClientSecret(SecretString),
    /// A certificate registered on the application, with its private key.
    Certificate(CertificateFile),
}

/// One tenant, one application in it. No `Debug`: it holds the credential.
#[derive(Clone)]
pub struct GraphConnection {
    /// The tenant's id or one of its domains; never `common` or `organizations`.
    pub tenant: String,
    /// The application (client) id.
    pub client_id: String,
    /// The application's proof.
    pub credential: Credential,
    /// Where the tenant lives.
    pub endpoints: GraphEndpoints,
}
