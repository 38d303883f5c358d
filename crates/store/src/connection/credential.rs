//! How a connection signs in to Microsoft: what is kept of it, and when it runs out (C3).

use std::time::Duration;

use lockstep_core::Timestamp;
use secrecy::SecretString;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Days before the end at which an operator is told, since Entra tells nobody (C3).
const TOLD_AT: [u64; 4] = [1, 7, 14, 30];

/// A credential to keep. Has no `Debug`.
pub enum NewCredential {
    /// A client secret of the app registration; nobody knows here when it runs out.
    ClientSecret(SecretString),
    /// A certificate that is registered at the app registration.
    Certificate {
        /// The certificate and its private key, as PEM.
        pem: SecretString,
        /// The end of the certificate's validity.
        expires_at: Timestamp,
    },
}

impl NewCredential {
    pub(super) fn kind(&self) -> CredentialKind {
        match self {
            Self::ClientSecret(_) => CredentialKind::ClientSecret,
            Self::Certificate { .. } => CredentialKind::Certificate,
        }
    }

    pub(super) fn secret(&self) -> &SecretString {
        match self {
            Self::ClientSecret(secret) | Self::Certificate { pem: secret, .. } => secret,
        }
    }

    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        match self {
            Self::ClientSecret(_) => None,
            Self::Certificate { expires_at, .. } => Some(*expires_at),
        }
    }
}

/// What a kept credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// A client secret.
    ClientSecret,
    /// A certificate with its private key, as PEM.
    Certificate,
}

impl CredentialKind {
    /// As shown and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecret => "client_secret",
            Self::Certificate => "certificate",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::ClientSecret, Self::Certificate].into_iter().find(|kind| kind.as_str() == word)
    }

    /// For sentences.
    pub const fn noun(self) -> &'static str {
        match self {
            Self::ClientSecret => "client secret",
            Self::Certificate => "certificate",
        }
    }
}

/// A credential that has run out, or soon will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunningOut {
    kind: CredentialKind,
    expires_at: Timestamp,
    days: Option<u64>,
}

impl RunningOut {
    /// `None` while more than 30 days are left, or while nobody knows.
    pub fn of(kind: CredentialKind, expires_at: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        let expires_at = expires_at?;
        let left = expires_at.since(now);
        let days = (expires_at > now).then(|| left.as_secs() / DAY.as_secs());
        (left < DAY * 30).then_some(Self { kind, expires_at, days })
    }

    /// 30, 14, 7 or 1 days before the end, or 0 after it: an operator is told once at each.
    pub fn stage(&self) -> u64 {
        self.days.map_or(0, |days| TOLD_AT.into_iter().find(|stage| days < *stage).unwrap_or(30))
    }

    /// It cannot sign in any more.
    pub fn is_over(&self) -> bool {
        self.days.is_none()
    }

    /// What is the matter, for an operator.
    pub fn reason(&self) -> String {
        let (noun, at) = (self.kind.noun(), self.expires_at);
        match self.days {
            None => format!("the {noun} ran out on {at}"),
            Some(0) => format!("the {noun} runs out within a day ({at})"),
            Some(1) => format!("the {noun} runs out in 1 day ({at})"),
            Some(days) => format!("the {noun} runs out in {days} days ({at})"),
        }
    }

    /// What the operator can do about it.
    pub fn remedy(&self) -> String {
        let noun = self.kind.noun();
        format!(
            "make a new {noun} under the app registration's \"Certificates & secrets\" before this one ends, and hand it over with `lockstep connection rotate`"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    fn with_days_left(days: u64) -> Option<RunningOut> {
        RunningOut::of(CredentialKind::Certificate, Some(NOW + DAY * u32::try_from(days).expect("few")), NOW)
    }

    #[test]
    fn c3_the_end_is_announced_30_14_7_and_1_days_before() {
        assert_eq!(with_days_left(30), None);
        let stage = |days| with_days_left(days).map(|running_out| running_out.stage());
        assert_eq!([29, 14, 13, 7, 6, 1].map(stage), [30, 30, 14, 14, 7, 7].map(Some));
        let hours = RunningOut::of(CredentialKind::Certificate, Some(NOW + DAY / 2), NOW).expect("soon");
        assert_eq!((hours.stage(), hours.is_over()), (1, false));
        let over = RunningOut::of(CredentialKind::Certificate, Some(NOW), NOW).expect("over");
        assert_eq!((over.stage(), over.is_over()), (0, true));
        assert!(over.reason().contains("ran out"), "{}", over.reason());
        assert_eq!(RunningOut::of(CredentialKind::ClientSecret, None, NOW), None, "unknown is not soon");
    }
}
