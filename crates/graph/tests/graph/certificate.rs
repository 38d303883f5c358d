//! Certificates as the application's proof: what is read of the file, what goes to the token endpoint.

use std::collections::BTreeSet;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use lockstep_core::{ErrorClass, Timestamp};
use lockstep_graph::{CertificateFile, Credential, GraphClient, GraphConnection, GraphError};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use secrecy::SecretString;
use serde_json::Value;
use url::form_urlencoded;

use crate::server::{Server, json};
use crate::stand::{Stand, connection, endpoints};

const CLIENT: &str = "4f0c8c0e-6a1d-4a53-9c9b-2d2b7e9f3a33";

struct Made {
    certificate: String,
    key: String,
    public_key: String,
}

impl Made {
    /// A self-signed certificate that ends at the beginning of this year.
    fn until(year: i32) -> Self {
        Self::with(KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(), year)
    }

    fn with(key: KeyPair, year: i32) -> Self {
        let mut params = CertificateParams::new(vec!["lockstep.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, key: key.serialize_pem(), public_key: key.public_key_pem() }
    }

    fn file(&self) -> CertificateFile {
        parsed(&format!("{}{}", self.certificate, self.key)).unwrap()
    }
}

fn parsed(pem: &str) -> Result<CertificateFile, GraphError> {
    CertificateFile::parse(&SecretString::from(pem))
}

fn refusal(pem: &str) -> String {
    let refused = parsed(pem).err().expect("refused");
    assert_eq!(refused.class(), ErrorClass::Permanent);
    refused.operator_sentence()
}

fn with_certificate(base: &str, file: CertificateFile) -> GraphClient {
    let connection = GraphConnection {
        tenant: "contoso.example".to_owned(),
        client_id: CLIENT.to_owned(),
        credential: Credential::Certificate(file),
        endpoints: endpoints(base),
    };
    GraphClient::connect(connection).unwrap()
}

#[test]
fn a_file_with_certificate_and_key_is_read_in_any_order_and_with_its_chain() {
    let (own, other) = (Made::until(2031), Made::until(2030));
    let ends = Some(own.file().expires_at());
    assert_eq!(ends, Timestamp::parse("2031-01-01T00:00:00Z"));
    for pem in [
        format!("{}{}", own.key, own.certificate),
        format!("Bag Attributes\n{}\r\n{}{}", other.certificate, own.key, own.certificate),
        format!("{}{}", own.certificate, own.key).replace('\n', "\r\n"),
    ] {
        assert_eq!(parsed(&pem).ok().map(|file| file.expires_at()), ends, "the certificate that fits the key");
    }
}

#[test]
fn what_is_missing_in_the_file_is_told_in_words_that_help() {
    let (own, other) = (Made::until(2031), Made::until(2031));
    let elliptic = Made::with(KeyPair::generate().unwrap(), 2031);
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked_long_ago = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pem, told) in [
        (String::new(), "no private key"),
        ("a client secret".to_owned(), "no private key"),
        (own.certificate.clone(), "no private key"),
        (own.key.clone(), "no certificate"),
        (format!("{}{locked}", own.certificate), "openssl pkey -in encrypted.pem"),
        (format!("{}{locked_long_ago}", own.certificate), "openssl pkey -in encrypted.pem"),
        (format!("{}{}", other.certificate, own.key), "does not belong"),
        (format!("{}{}", elliptic.certificate, elliptic.key), "no RSA key"),
        (format!("{broken}{}", own.key), "cannot be read"),
        (own.certificate.clone() + &own.key[..own.key.len() / 2], "no private key"),
    ] {
        let sentence = refusal(&pem);
        assert!(sentence.contains(told), "{told}: {sentence}");
        assert!(!sentence.contains("MII"), "nothing of the file is told (G-27)");
    }
}

#[tokio::test]
async fn the_token_endpoint_gets_a_fresh_ps256_assertion_each_time() {
    let own = Made::until(2031);
    let server = Server::start(|_| json(r#"{"value":[]}"#)).await;
    let mut seen = BTreeSet::new();
    for _ in 0..2 {
        with_certificate(&server.base, own.file()).check_token().await.unwrap();
    }
    for form in server.token_forms() {
        let field = |name: &str| {
            form_urlencoded::parse(form.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        assert_eq!(field("client_assertion_type").as_deref(), Some(kind));
        assert_eq!(field("client_secret"), None);
        let key = DecodingKey::from_rsa_pem(own.public_key.as_bytes()).unwrap();
        let mut validation = Validation::new(Algorithm::PS256);
        validation.set_audience(&[format!("{}/contoso.example/oauth2/v2.0/token", server.base)]);
        validation.set_issuer(&[CLIENT]);
        let assertion = decode::<Value>(field("client_assertion").unwrap(), &key, &validation).unwrap();
        assert_eq!(assertion.header.typ.as_deref(), Some("JWT"));
        assert_eq!(assertion.header.x5t_s256.map(|thumbprint| thumbprint.len()), Some(43));
        let claims = assertion.claims;
        assert_eq!(claims["sub"], CLIENT);
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap(), 300);
        assert!(seen.insert(claims["jti"].to_string()), "never the same twice");
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn an_expired_certificate_is_told_before_microsoft_is_asked() {
    let server = Server::start(|_| json(r#"{"value":[]}"#)).await;
    let graph = with_certificate(&server.base, Made::until(2020).file());
    let refused = graph.check_token().await.unwrap_err();
    assert!(matches!(refused, GraphError::SettingRefused { which: "certificate", .. }));
    assert!(refused.is_connection_wide() && refused.operator_sentence().contains("it has expired"));
    assert_eq!(server.token_requests(), 0);

    graph.replace_credential(Credential::Certificate(Made::until(2031).file())).unwrap();
    graph.check_token().await.unwrap();
}

#[tokio::test]
async fn a_registered_certificate_opens_the_tenant_and_another_does_not() {
    let stand = Stand::start().await;
    let (own, other) = (Made::until(2031), Made::until(2031));
    stand.tenant.add_certificate(&own.certificate).unwrap();
    let mut connection = connection(&stand.simulator, &stand.tenant);
    connection.credential = Credential::Certificate(own.file());
    let graph = GraphClient::connect(connection).unwrap();
    assert_eq!(graph.organization().await.unwrap().id.0, stand.tenant.id());

    graph.replace_credential(Credential::Certificate(other.file())).unwrap();
    let refused = graph.organization().await.unwrap_err();
    assert_eq!(refused, GraphError::TokenRefused { aadsts: Some(700_027) });
    assert!(refused.operator_sentence().contains("not registered"));
}
