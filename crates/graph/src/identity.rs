//! Who asks for tokens: the application as the identity library wants to know it.

use std::sync::Arc;

use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::http::{ClientOptions, RetryOptions, Transport};
use azure_identity::{
    ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
};
use lockstep_core::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::assertion::Assertion;
use crate::certificate::CertificateFile;
use crate::connection::{Credential, GraphConnection};
use crate::error::GraphError;
use crate::token_transport::TokenTransport;

/// An application in a tenant, and where it proves itself: everything but its proof.
pub(crate) struct Identity {
    tenant: String,
    client_id: String,
    login: Url,
    scope: String,
    client: reqwest::Client,
}

/// A credential built into the library's type, together with what it was built from.
pub(crate) struct Issuer {
    pub from: Credential,
    pub source: Arc<dyn TokenCredential>,
}

impl Issuer {
    /// Whether the proof itself has ended, which Entra would answer with a code among several other reasons.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        matches!(&self.from, Credential::Certificate(certificate) if certificate.expires_at() <= now)
    }
}

impl Identity {
    /// Takes the identity from a connection and checks it; no I/O.
    pub fn of(connection: &GraphConnection, client: reqwest::Client) -> Result<Self, GraphError> {
        let identity = Self {
            tenant: connection.tenant.clone(),
            client_id: connection.client_id.clone(),
            login: connection.endpoints.login().clone(),
            scope: connection.endpoints.scope(),
            client,
        };
        identity.check()?;
        Ok(identity)
    }

    pub fn scope(&self) -> &str {
        &self.scope
    }

    fn check(&self) -> Result<(), GraphError> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
        };
        if !plain(&self.tenant) || self.tenant.starts_with('.') {
            return Err(GraphError::SettingRefused { which: "tenant", why: "it must be a tenant id or a domain" });
        }
        if ["common", "organizations", "consumers"].contains(&self.tenant.to_ascii_lowercase().as_str()) {
            return Err(GraphError::SettingRefused { which: "tenant", why: "it must name one tenant" });
        }
        if !plain(&self.client_id) {
            return Err(GraphError::SettingRefused { which: "client id", why: "it must be the application's id" });
        }
        Ok(())
    }

    /// The credential in the identity library's type, holding no token yet.
    pub fn issuer(&self, from: Credential) -> Result<Issuer, GraphError> {
        let source = match &from {
            Credential::ClientSecret(secret) => self.by_secret(secret)?,
            Credential::Certificate(certificate) => self.by_certificate(certificate)?,
        };
        Ok(Issuer { from, source })
    }

    fn by_secret(&self, secret: &SecretString) -> Result<Arc<dyn TokenCredential>, GraphError> {
        let options = ClientSecretCredentialOptions { client_options: self.client_options() };
        let secret = Secret::new(secret.expose_secret().to_owned());
        let source = ClientSecretCredential::new(&self.tenant, self.client_id.clone(), secret, Some(options))
            .map_err(|_| GraphError::SettingRefused { which: "client secret", why: "it is empty or unusable" })?;
        Ok(source)
    }

    fn by_certificate(&self, certificate: &CertificateFile) -> Result<Arc<dyn TokenCredential>, GraphError> {
        let assertion = Assertion {
            certificate: certificate.clone(),
            client_id: self.client_id.clone(),
            audience: format!("{}{}/oauth2/v2.0/token", self.login, self.tenant),
        };
        let options = ClientAssertionCredentialOptions { client_options: self.client_options() };
        let source =
            ClientAssertionCredential::new(self.tenant.clone(), self.client_id.clone(), assertion, Some(options))
                .map_err(|_| GraphError::SettingRefused { which: "certificate", why: "it is unusable" })?;
        Ok(source)
    }

    fn client_options(&self) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        // Only https is taken; the transport below aims at the login host in any case.
        cloud.authority_host = match self.login.scheme() {
            "https" => self.login.to_string(),
            _ => "https://login.invalid".to_owned(),
        };
        let transport = TokenTransport { client: self.client.clone(), login: self.login.clone() };
        ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
            transport: Some(Transport::new(Arc::new(transport))),
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        }
    }
}
