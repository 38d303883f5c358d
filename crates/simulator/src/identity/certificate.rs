//! A certificate registered on the app.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use x509_parser::oid_registry::OID_PKCS1_RSAENCRYPTION;
use x509_parser::pem::parse_x509_pem;

/// What verifying an assertion needs of a certificate.
pub(crate) struct Certificate {
    sha1: Vec<u8>,
    sha256: Vec<u8>,
    /// PKCS#1.
    public_key: Vec<u8>,
    /// Microseconds.
    pub start: i64,
    /// Microseconds.
    pub end: i64,
}

/// How an assertion may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Ps256,
    Rs256,
}

impl Certificate {
    /// Reads the first block of the text; says in words why it is of no use.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let (_, block) = parse_x509_pem(pem.as_bytes()).map_err(|_| "a certificate must be given as PEM".to_owned())?;
        if block.label != "CERTIFICATE" {
            return Err(format!("a certificate was expected, not a {}", block.label));
        }
        let certificate = block.parse_x509().map_err(|_| "the certificate cannot be read".to_owned())?;
        let key = certificate.public_key();
        if key.algorithm.algorithm != OID_PKCS1_RSAENCRYPTION {
            return Err("the certificate's key must be RSA: Entra takes no other for assertions".to_owned());
        }
        let micros = |seconds: i64| seconds.saturating_mul(1_000_000);
        Ok(Self {
            sha1: digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &block.contents).as_ref().to_vec(),
            sha256: digest::digest(&digest::SHA256, &block.contents).as_ref().to_vec(),
            public_key: key.subject_public_key.data.to_vec(),
            start: micros(certificate.validity().not_before.timestamp()),
            end: micros(certificate.validity().not_after.timestamp()),
        })
    }

    /// Whether this is the certificate an assertion's header names.
    pub fn is_named(&self, x5t: Option<&str>, x5t_s256: Option<&str>) -> bool {
        // Microsoft's Python library pads, though a JWT should not.
        let is_of = |text: &str, own: &[u8]| text.trim_end_matches('=') == URL_SAFE_NO_PAD.encode(own);
        let same = |named: Option<&str>, own: &[u8]| named.is_none_or(|text| is_of(text, own));
        (x5t.is_some() || x5t_s256.is_some()) && same(x5t, &self.sha1) && same(x5t_s256, &self.sha256)
    }

    /// The SHA-1 thumbprint as Entra writes it: upper case, hexadecimal.
    pub fn thumbprint(&self) -> String {
        self.sha1.iter().map(|byte| format!("{byte:02X}")).collect()
    }

    pub fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let parameters = match algorithm {
            Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(parameters, &self.public_key).verify(message, signature).is_ok()
    }
}
