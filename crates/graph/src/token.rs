//! Access tokens of one connection: one request at a time, the last good token kept, a new credential at any moment.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use azure_core::time::OffsetDateTime;
use lockstep_core::Timestamp;
use lockstep_core::spans::TARGET;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::connection::{Credential, GraphConnection};
use crate::error::GraphError;
use crate::identity::{Identity, Issuer};
use crate::operator::token_failure;

/// The library repeats nothing (`RetryOptions::none`), and this bounds the one try.
const TOKEN_LIMIT: Duration = Duration::from_secs(10);
/// The library calls a token stale 300 s before its end; asking later than that makes it fetch a new one.
const REFRESH_BEFORE: Duration = Duration::from_secs(240);
/// After a failed refresh, while the old token still serves.
const REFRESH_AGAIN: Duration = Duration::from_secs(30);
const CERTIFICATE_ENDED: &str = "it has expired; register a new one under the app registration's \"Certificates & secrets\" in Entra and hand it over (`lockstep connection rotate`)";
/// A token younger than this shows the application's permissions as they are.
const YOUNG: Duration = Duration::from_secs(60);

/// The token endpoint as one connection sees it.
pub(crate) struct Tokens {
    /// Everything but the credential, which can change.
    identity: Identity,
    issuer: ArcSwap<Issuer>,
    held: ArcSwapOption<AccessToken>,
    /// Held while a token is being fetched; keeps the latest failure for those who waited meanwhile.
    fetching: Mutex<Option<Failure>>,
}

#[derive(Clone)]
struct Failure {
    at: Instant,
    error: GraphError,
}

/// A token and how long it serves. No `Debug`.
pub(crate) struct AccessToken {
    secret: SecretString,
    issued_at: Instant,
    refresh_at: Instant,
    expires_at: Instant,
}

impl AccessToken {
    /// The header's value; `None` for a token that is no header text, which the transport has excluded.
    pub fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.secret.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The same token, asked to be refreshed later.
    fn postponed(&self, refresh_at: Instant) -> Self {
        Self { secret: self.secret.clone(), issued_at: self.issued_at, refresh_at, expires_at: self.expires_at }
    }
}

impl Tokens {
    /// Checks the settings and builds the first credential; no I/O.
    pub fn new(connection: &GraphConnection, client: reqwest::Client) -> Result<Self, GraphError> {
        let identity = Identity::of(connection, client)?;
        let issuer = identity.issuer(connection.credential.clone())?;
        Ok(Self {
            identity,
            issuer: ArcSwap::from_pointee(issuer),
            held: ArcSwapOption::empty(),
            fetching: Mutex::new(None),
        })
    }

    /// A token to use now.
    pub async fn current(&self) -> Result<Arc<AccessToken>, GraphError> {
        let asked_at = Instant::now();
        if let Some(token) = self.held.load_full() {
            if asked_at < token.refresh_at {
                return Ok(token);
            }
            // Somebody is fetching already, and this one still serves: a slow token endpoint must not stop reads.
            if asked_at < token.expires_at && self.fetching.try_lock().is_err() {
                return Ok(token);
            }
        }
        let mut failure = self.fetching.lock().await;
        if let Some(token) = self.held.load_full().filter(|token| Instant::now() < token.refresh_at) {
            return Ok(token);
        }
        if let Some(failed) = failure.as_ref().filter(|failed| failed.at >= asked_at) {
            return Err(failed.error.clone());
        }
        self.fetch(&mut failure).await.or_else(|error| self.keep_last(error))
    }

    /// A token other than the one Graph has just answered 401 to (FA-14).
    pub async fn renew(&self, rejected: &Arc<AccessToken>) -> Result<Arc<AccessToken>, GraphError> {
        let asked_at = Instant::now();
        let mut failure = self.fetching.lock().await;
        if let Some(token) = self.held.load_full().filter(|token| !Arc::ptr_eq(token, rejected)) {
            return Ok(token);
        }
        if let Some(failed) = failure.as_ref().filter(|failed| failed.at >= asked_at) {
            return Err(failed.error.clone());
        }
        self.held.store(None);
        self.forget_cached()?;
        self.fetch(&mut failure).await
    }

    /// Graph answered 403 to this token. Permissions stand in the token, so an old one would hide for an hour that they
    /// were granted meanwhile: the next call asks for a new one (FA-14).
    pub fn retire(&self, denied: &Arc<AccessToken>) {
        let now = Instant::now();
        let is_held = self.held.load().as_ref().is_some_and(|token| Arc::ptr_eq(token, denied));
        if is_held && now.saturating_duration_since(denied.issued_at) >= YOUNG && self.forget_cached().is_ok() {
            self.held.store(Some(Arc::new(denied.postponed(now))));
        }
    }

    /// The same for whatever token is in use.
    pub fn retire_held(&self) {
        if let Some(held) = self.held.load_full() {
            self.retire(&held);
        }
    }

    /// The library cannot be told to forget its token: the same credential in a new object can.
    fn forget_cached(&self) -> Result<(), GraphError> {
        let known = self.issuer.load();
        let fresh = self.identity.issuer(known.from.clone())?;
        // Not if the credential was replaced meanwhile: then the new one stands.
        self.issuer.compare_and_swap(&known, Arc::new(fresh));
        Ok(())
    }

    /// Changes to a new credential; tokens of the old one are no longer used.
    pub fn replace(&self, credential: Credential) -> Result<(), GraphError> {
        self.issuer.store(Arc::new(self.identity.issuer(credential)?));
        self.held.store(None);
        Ok(())
    }

    async fn fetch(&self, failure: &mut Option<Failure>) -> Result<Arc<AccessToken>, GraphError> {
        let issuer = self.issuer.load_full();
        let outcome = ask(&issuer, self.identity.scope()).await.map(Arc::new);
        match &outcome {
            Ok(token) => self.held.store(Some(token.clone())),
            Err(error) => *failure = Some(Failure { at: Instant::now(), error: error.clone() }),
        }
        // A credential replaced meanwhile must not be outlived by its token.
        if !Arc::ptr_eq(&issuer, &self.issuer.load()) {
            self.held.store(None);
        }
        outcome
    }

    /// A failed refresh is no reason to stop while the last token is good.
    fn keep_last(&self, error: GraphError) -> Result<Arc<AccessToken>, GraphError> {
        let now = Instant::now();
        let Some(last) = self.held.load_full().filter(|token| now < token.expires_at) else {
            return Err(error);
        };
        tracing::warn!(%error, "The access token could not be refreshed; the last one still serves");
        let kept = Arc::new(last.postponed(now + REFRESH_AGAIN));
        self.held.store(Some(kept.clone()));
        Ok(kept)
    }
}

async fn ask(issuer: &Issuer, scope: &str) -> Result<AccessToken, GraphError> {
    let seconds = OffsetDateTime::now_utc().unix_timestamp();
    if issuer.has_ended(Timestamp::from_micros(seconds.saturating_mul(1_000_000))) {
        return Err(GraphError::SettingRefused { which: "certificate", why: CERTIFICATE_ENDED });
    }
    let span = tracing::debug_span!(target: TARGET, "POST token", otel.kind = "client", outcome = Empty);
    let answer = timeout(TOKEN_LIMIT, issuer.source.get_token(&[scope], None)).instrument(span.clone()).await;
    span.record("outcome", outcome_label(&answer));
    metrics::counter!("lockstep_graph_requests_total", "route" => "POST token", "status" => outcome_label(&answer))
        .increment(1);
    let Ok(answer) = answer else {
        return Err(GraphError::TokenUnavailable { reason: "the login host took too long" });
    };
    let token = answer.map_err(|error| token_failure(&error))?;
    let life = Duration::try_from(token.expires_on - OffsetDateTime::now_utc()).unwrap_or_default();
    let now = Instant::now();
    // A short life leaves no room for the margin: then a fifth of it.
    let margin = REFRESH_BEFORE.min(life / 5);
    Ok(AccessToken {
        secret: SecretString::from(token.token.secret().to_owned()),
        issued_at: now,
        refresh_at: now + life - margin,
        expires_at: now + life,
    })
}

fn outcome_label<T, E, L>(answer: &Result<Result<T, E>, L>) -> &'static str {
    match answer {
        Ok(Ok(_)) => "200",
        Ok(Err(_)) => "refused",
        Err(_) => "none",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cloud::GraphEndpoints;
    use crate::http::client;

    /// A connection whose login host is not there.
    async fn cut_off() -> Tokens {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base: url::Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let connection = GraphConnection {
            tenant: "contoso.example".to_owned(),
            client_id: "4f0c8c0e-6a1d-4a53-9c9b-2d2b7e9f3a33".to_owned(),
            credential: Credential::ClientSecret(SecretString::from("secret")),
            endpoints: GraphEndpoints::custom(base.clone(), base).unwrap(),
        };
        Tokens::new(&connection, client().unwrap()).unwrap()
    }

    /// Issued an hour ago, due for a refresh, good for so much longer.
    fn old_token(left: Duration) -> Arc<AccessToken> {
        let now = Instant::now();
        let issued_at = now.checked_sub(Duration::from_secs(3600)).unwrap_or(now);
        let secret = SecretString::from("old");
        Arc::new(AccessToken { secret, issued_at, refresh_at: now, expires_at: now + left })
    }

    fn spelled(token: &AccessToken) -> &str {
        token.secret.expose_secret()
    }

    #[tokio::test]
    async fn a_failed_refresh_keeps_the_last_token_until_it_expires() {
        let tokens = cut_off().await;
        tokens.held.store(Some(old_token(Duration::from_secs(60))));
        assert_eq!(spelled(&tokens.current().await.unwrap()), "old");
        let held = tokens.held.load_full().unwrap();
        assert!(held.refresh_at > Instant::now(), "not asked again with every call");

        tokens.held.store(Some(old_token(Duration::ZERO)));
        assert!(matches!(tokens.current().await, Err(GraphError::TokenUnavailable { .. })));
    }

    #[tokio::test]
    async fn a_slow_refresh_stops_nobody_while_the_last_token_is_good() {
        let tokens = cut_off().await;
        tokens.held.store(Some(old_token(Duration::from_secs(60))));
        let _somebody_fetches = tokens.fetching.lock().await;
        assert_eq!(spelled(&tokens.current().await.unwrap()), "old");
    }

    #[tokio::test]
    async fn fa14_a_denied_old_token_is_exchanged_and_a_young_one_is_not() {
        let tokens = cut_off().await;
        let before = tokens.issuer.load_full();
        let young = Arc::new(AccessToken { issued_at: Instant::now(), ..old_copy() });
        tokens.held.store(Some(young.clone()));
        tokens.retire(&young);
        assert!(Arc::ptr_eq(&before, &tokens.issuer.load()));

        let old = old_token(Duration::from_secs(1800));
        tokens.held.store(Some(old.clone()));
        tokens.retire(&old);
        assert!(!Arc::ptr_eq(&before, &tokens.issuer.load()), "the library's own copy is forgotten");
        assert!(tokens.held.load_full().unwrap().refresh_at <= Instant::now());
    }

    fn old_copy() -> AccessToken {
        old_token(Duration::from_secs(1800)).postponed(Instant::now() + Duration::from_secs(1500))
    }

    #[tokio::test]
    async fn a_replaced_credential_takes_its_token_with_it() {
        let tokens = cut_off().await;
        tokens.held.store(Some(old_token(Duration::from_secs(1800))));
        tokens.replace(Credential::ClientSecret(SecretString::from("new"))).unwrap();
        assert!(tokens.held.load_full().is_none());
        let empty = Credential::ClientSecret(SecretString::from(""));
        assert!(matches!(tokens.replace(empty), Err(GraphError::SettingRefused { .. })));
        let issuer = tokens.issuer.load();
        assert!(matches!(&issuer.from, Credential::ClientSecret(stays) if stays.expose_secret() == "new"));
    }
}
