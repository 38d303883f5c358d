//! The client assertion: a short-lived token that we sign with the certificate's key to get Microsoft's [CERT].

use std::fmt;

use azure_core::error::ErrorKind;
use azure_core::http::ClientMethodOptions;
use azure_core::time::OffsetDateTime;
use azure_identity::ClientAssertion;
use serde::Serialize;
use uuid::Uuid;

use crate::certificate::CertificateFile;

/// Seconds; Entra recommends 5 to 10 minutes [CERT].
const LIFE: i64 = 300;

/// Makes the assertions of one application.
pub(crate) struct Assertion {
    pub certificate: CertificateFile,
    pub client_id: String,
    /// The token endpoint.
    pub audience: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    iat: i64,
    exp: i64,
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertion")
    }
}

#[async_trait::async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let claims = Claims {
            aud: &self.audience,
            iss: &self.client_id,
            sub: &self.client_id,
            // Fresh each time: an assertion seen before is refused as a replay.
            jti: Uuid::new_v4().to_string(),
            nbf: now,
            iat: now,
            exp: now + LIFE,
        };
        let unsigned = || azure_core::Error::with_message(ErrorKind::Other, "the client assertion could not be signed");
        self.certificate.sign(&claims).ok_or_else(unsigned)
    }
}
