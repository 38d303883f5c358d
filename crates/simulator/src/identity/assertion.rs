//! Client assertions: a short JWT signed by the key of a registered certificate
//! (`graph-contract.md` section 9, CERT).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

use super::certificate::{Algorithm, Certificate};
use super::error::IdentityError;
use crate::sync::{lock, read};
use crate::world::TenantState;

/// The `client_assertion_type` there is.
pub(super) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How far the clocks may be apart; microseconds.
const LEEWAY: i64 = 5 * 60 * 1_000_000;
const LOGIN_HOSTS: [&str; 3] = ["login.microsoftonline.com", "login.microsoftonline.us", "login.chinacloudapi.cn"];

#[derive(Deserialize)]
struct Header {
    alg: String,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    /// Seconds; Microsoft's Python library sends fractions.
    exp: f64,
    nbf: Option<f64>,
}

/// What an assertion is checked against.
pub(super) struct Expected<'a> {
    pub tenant: &'a TenantState,
    /// The hosts the token endpoint is known by, with ports.
    pub hosts: &'a [String],
    /// Whether a `jti` is good only once.
    pub once: bool,
    /// Microseconds.
    pub now: i64,
}

/// Checks one assertion and notes that it was used.
pub(super) fn check(text: &str, expected: &Expected<'_>) -> Result<(), IdentityError> {
    let (signed, signature) = text.rsplit_once('.').ok_or_else(IdentityError::assertion_malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(IdentityError::assertion_malformed)?;
    let (header, claims): (Header, Claims) = (part(header)?, part(claims)?);
    let signature = decoded(signature)?;
    check_signature(&header, signed.as_bytes(), &signature, expected)?;
    let app = expected.tenant.app.client_id.to_string();
    if [&claims.iss, &claims.sub].iter().any(|claimed| !claimed.eq_ignore_ascii_case(&app)) {
        return Err(IdentityError::assertion_of_another_app());
    }
    if !is_our_endpoint(&claims.aud, expected) {
        return Err(IdentityError::assertion_for_another_audience());
    }
    check_time(&claims, expected.now)?;
    if expected.once { use_once(claims, expected) } else { Ok(()) }
}

fn check_signature(
    header: &Header,
    signed: &[u8],
    signature: &[u8],
    expected: &Expected<'_>,
) -> Result<(), IdentityError> {
    let algorithm = match header.alg.as_str() {
        "PS256" => Algorithm::Ps256,
        "RS256" => Algorithm::Rs256,
        _ => return Err(IdentityError::assertion_malformed()),
    };
    let certificates = read(&expected.tenant.certificates);
    let named = |certificate: &&Certificate| certificate.is_named(header.x5t.as_deref(), header.x5t_s256.as_deref());
    let certificate = certificates.iter().find(named).ok_or_else(IdentityError::certificate_unknown)?;
    let refused = |reason| Err(IdentityError::certificate_refused(reason, certificate));
    if certificate.end <= expected.now {
        return refused("The key used is expired.");
    }
    if certificate.start > expected.now + LEEWAY {
        return refused("The key used is not yet valid.");
    }
    if !certificate.has_signed(algorithm, signed, signature) {
        return refused("The provided signature value did not match the expected signature value.");
    }
    Ok(())
}

/// `https://<known host>/<this tenant>/oauth2/v2.0/token`; http only by our own address, which is
/// how the simulator itself is reached.
fn is_our_endpoint(audience: &str, expected: &Expected<'_>) -> bool {
    let Ok(url) = Url::parse(audience) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default();
    let place = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let ours = expected.hosts.iter().any(|known| known.eq_ignore_ascii_case(&place));
    let known = match url.scheme() {
        "https" => ours || LOGIN_HOSTS.contains(&place.as_str()),
        "http" => ours,
        _ => false,
    };
    let tenant = url.path().strip_prefix('/').and_then(|path| path.strip_suffix("/oauth2/v2.0/token"));
    let names_us = |name: &str| {
        let is_id = Uuid::parse_str(name).is_ok_and(|id| id == expected.tenant.id);
        is_id || name.eq_ignore_ascii_case(&expected.tenant.spec.domain)
    };
    known && tenant.is_some_and(names_us)
}

fn check_time(claims: &Claims, now: i64) -> Result<(), IdentityError> {
    let (from, until) = (claims.nbf.map_or(now, micros), micros(claims.exp));
    match from <= now + LEEWAY && now < until.saturating_add(LEEWAY) {
        true => Ok(()),
        false => Err(IdentityError::assertion_out_of_time(now, from, until)),
    }
}

/// A `jti` is good once, for as long as the assertion could be repeated.
fn use_once(claims: Claims, expected: &Expected<'_>) -> Result<(), IdentityError> {
    let mut used = lock(&expected.tenant.used_assertions);
    used.retain(|_, end| *end > expected.now);
    let end = micros(claims.exp).saturating_add(LEEWAY);
    match used.insert(claims.jti, end) {
        None => Ok(()),
        Some(_) => Err(IdentityError::assertion_repeated()),
    }
}

/// Microseconds of seconds; absurd values end at the ends of time.
fn micros(seconds: f64) -> i64 {
    (seconds * 1e6) as i64
}

fn decoded(text: &str) -> Result<Vec<u8>, IdentityError> {
    URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| IdentityError::assertion_malformed())
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, IdentityError> {
    serde_json::from_slice(&decoded(text)?).map_err(|_| IdentityError::assertion_malformed())
}
