//! A root certificate and a leaf for this machine, made at start and kept in memory only.

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::error::SimulatorError;

/// What the https listener shows, and the root that vouches for it.
pub(crate) struct Identity {
    pub config: RustlsConfig,
    pub root_pem: String,
}

/// Makes both certificates, good for `localhost` and the loopback addresses.
pub(crate) async fn identity() -> Result<Identity, SimulatorError> {
    let (chain, key, root_pem) = certificates().map_err(SimulatorError::Certificate)?;
    // Somebody may have installed a provider already, and theirs is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = RustlsConfig::from_pem(chain.into_bytes(), key.into_bytes()).await.map_err(SimulatorError::Tls)?;
    Ok(Identity { config, root_pem })
}

fn certificates() -> Result<(String, String, String), rcgen::Error> {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    root.distinguished_name.push(DnType::CommonName, "Lockstep simulator root");
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;

    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
    let mut leaf = CertificateParams::new(names)?;
    leaf.distinguished_name.push(DnType::CommonName, "Lockstep simulator");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Strict clients (Python 3.13) refuse a leaf that does not name its issuer's key.
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let leaf = leaf.signed_by(&key, &root)?;
    Ok((format!("{}{}", leaf.pem(), root.pem()), key.serialize_pem(), root.pem()))
}
