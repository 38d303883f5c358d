//! A certificate with its private key, as the operator gave it: the application's proof where a secret is not wanted.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{sign, verify};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use lockstep_core::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};
use x509_parser::parse_x509_certificate;
use x509_parser::pem::parse_x509_pem;

use crate::error::GraphError;

/// RSA-PSS with SHA-256, as Entra wants it [CERT].
const ALGORITHM: Algorithm = Algorithm::PS256;

const NO_CERTIFICATE: &str = "the file holds no certificate; it must hold the certificate (BEGIN CERTIFICATE) and its private key (BEGIN PRIVATE KEY), one after the other";
const NO_KEY: &str = "the file holds no private key; it must hold the certificate (BEGIN CERTIFICATE) and its private key (BEGIN PRIVATE KEY), one after the other";
const KEY_ENCRYPTED: &str =
    "the private key is encrypted; decrypt it with `openssl pkey -in encrypted.pem -out key.pem`";
const KEY_NOT_RSA: &str = "the private key is no RSA key of 2048 bits or more, and Entra takes no other";
const UNREADABLE: &str = "the certificate in it cannot be read; export it again as PEM";
const ANOTHERS_KEY: &str =
    "the private key does not belong to the certificate; put the two that belong together into the file";

/// A certificate and its private key, checked to belong together. No `Debug`: it holds the key.
#[derive(Clone)]
pub struct CertificateFile {
    key: SecretString,
    thumbprint: String,
    expires_at: Timestamp,
}

/// What is needed of one certificate in the file.
struct Certificate {
    thumbprint: String,
    expires_at: Timestamp,
    public_key: Vec<u8>,
}

/// One `BEGIN … END` part of a file.
struct Block<'a> {
    label: &'a str,
    text: &'a str,
}

impl CertificateFile {
    /// Reads a PEM text with a certificate and its RSA private key, in any order; further certificates (a chain) are left
    /// behind. From a PKCS#12 file: `openssl pkcs12 -in file.pfx -nodes -out file.pem`. An expired certificate is taken:
    /// see [`CertificateFile::expires_at`].
    ///
    /// # Errors
    /// [`GraphError::SettingRefused`] with what is missing and how to get it.
    pub fn parse(pem: &SecretString) -> Result<Self, GraphError> {
        let blocks = blocks(pem.expose_secret());
        let key = private_key(&blocks)?;
        let certificates: Vec<&Block<'_>> = blocks.iter().filter(|block| block.label == "CERTIFICATE").collect();
        if certificates.is_empty() {
            return Err(refused(NO_CERTIFICATE));
        }
        let read: Option<Vec<Certificate>> = certificates.iter().map(|block| Certificate::read(block)).collect();
        let certificates = read.ok_or_else(|| refused(UNREADABLE))?;
        let signer = EncodingKey::from_rsa_pem(key.as_bytes()).map_err(|_| refused(KEY_NOT_RSA))?;
        let probe = sign(b"probe", &signer, ALGORITHM).map_err(|_| refused(KEY_NOT_RSA))?;
        let own = certificates.into_iter().find(|certificate| certificate.made(&probe));
        let Certificate { thumbprint, expires_at, .. } = own.ok_or_else(|| refused(ANOTHERS_KEY))?;
        Ok(Self { key: SecretString::from(key), thumbprint, expires_at })
    }

    /// When the certificate ends (`notAfter`): Entra refuses it from then on (AADSTS700027).
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// A signed token with these claims; `None` when signing fails, which [`CertificateFile::parse`] has tried.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Option<String> {
        let mut header = Header::new(ALGORITHM);
        header.x5t_s256 = Some(self.thumbprint.clone());
        let key = EncodingKey::from_rsa_pem(self.key.expose_secret().as_bytes()).ok()?;
        encode(&header, claims, &key).ok()
    }
}

impl Certificate {
    fn read(block: &Block<'_>) -> Option<Self> {
        let (_, pem) = parse_x509_pem(block.text.as_bytes()).ok()?;
        let (_, certificate) = parse_x509_certificate(&pem.contents).ok()?;
        let seconds = certificate.validity().not_after.timestamp();
        Some(Self {
            thumbprint: URL_SAFE_NO_PAD.encode(Sha256::digest(&pem.contents)),
            expires_at: Timestamp::from_micros(seconds.saturating_mul(1_000_000)),
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
        })
    }

    /// Whether this certificate's key made the probe.
    fn made(&self, probe: &str) -> bool {
        verify(probe, b"probe", &DecodingKey::from_rsa_der(&self.public_key), ALGORITHM).unwrap_or(false)
    }
}

/// The private key's block, in the clear.
fn private_key(blocks: &[Block<'_>]) -> Result<String, GraphError> {
    let key = blocks.iter().find(|block| block.label.ends_with("PRIVATE KEY")).ok_or_else(|| refused(NO_KEY))?;
    // PKCS#8 says it in the label, the older form in a header line.
    if key.text.contains("ENCRYPTED") {
        return Err(refused(KEY_ENCRYPTED));
    }
    Ok(key.text.to_owned())
}

fn blocks(pem: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = pem;
    while let Some(block) = next_block(&mut rest) {
        blocks.push(block);
    }
    blocks
}

fn next_block<'a>(rest: &mut &'a str) -> Option<Block<'a>> {
    const BEGIN: &str = "-----BEGIN ";
    let from = &rest[rest.find(BEGIN)?..];
    let label = &from[BEGIN.len()..][..from[BEGIN.len()..].find("-----")?];
    let end = format!("-----END {label}-----");
    let length = from.find(&end)? + end.len();
    *rest = &from[length..];
    Some(Block { label, text: &from[..length] })
}

fn refused(why: &'static str) -> GraphError {
    GraphError::SettingRefused { which: "certificate", why }
}
