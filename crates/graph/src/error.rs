//! What can go wrong between us and Microsoft, by what follows from it.

use std::time::Duration;

use lockstep_core::{ErrorClass, ObjectId};
use uuid::Uuid;

/// A failed call. Carries the call's name, never an address, a token, a name or a body (G-27).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// 429 (FA-11), or a call kept back because an earlier 429 still stands.
    #[error("{call} must wait {} s: Microsoft throttles this connection", retry_after.as_secs_f64().ceil())]
    Throttled {
        /// The call.
        call: &'static str,
        /// What Microsoft asked for, 1 s to 15 min; our own back-off where it asked for nothing usable (BI-39).
        retry_after: Duration,
    },
    /// Not sent: the breaker of this connection is open after failures in a row (FA-12).
    #[error("{call} was not sent: Microsoft Graph failed several times in a row, next try in {} s", retry_after.as_secs_f64().ceil())]
    Resting {
        /// The call.
        call: &'static str,
        /// When a probe is let through.
        retry_after: Duration,
    },
    /// No answer: refused, cut off, too slow, certificate not trusted (FA-12, BI-41).
    #[error("{call} got no answer: {reason}")]
    Unreachable {
        /// The call.
        call: &'static str,
        /// What was in the way.
        reason: Unreached,
    },
    /// 5xx (FA-12).
    #[error("{call} was answered {status}")]
    ServerError {
        /// The call.
        call: &'static str,
        /// HTTP status.
        status: u16,
        /// `Retry-After`, 1 s to 15 min, where given in seconds.
        retry_after: Option<Duration>,
    },
    /// An answer that is not what Graph says (FA-12, BI-32).
    #[error("{call} was answered with {what}")]
    BadAnswer {
        /// The call.
        call: &'static str,
        /// What was wrong with it.
        what: &'static str,
    },
    /// The token endpoint cannot be reached or is not itself.
    #[error("no access token: {reason}")]
    TokenUnavailable {
        /// What was in the way.
        reason: &'static str,
    },
    /// The token endpoint refused the application (FA-14).
    #[error("no access token: refused{}", aadsts.map(|code| format!(" (AADSTS{code})")).unwrap_or_default())]
    TokenRefused {
        /// Microsoft's code: chooses the operator's sentence and nothing else [AADSTS].
        aadsts: Option<u32>,
    },
    /// AADSTS90002: there is no such tenant in this cloud.
    #[error("no access token: the tenant is unknown in this cloud (AADSTS90002)")]
    UnknownTenant,
    /// 401 even with a new token (FA-14).
    #[error("{call} was answered 401 with a fresh access token")]
    AccessTokenRejected {
        /// The call.
        call: &'static str,
    },
    /// 401 `Authorization_IdentityNotFound`: the enterprise application was deleted in the tenant [FIELD].
    #[error("{call} was answered 401: the application no longer exists in the tenant")]
    IdentityGone {
        /// The call.
        call: &'static str,
    },
    /// 403 (FA-14). Never evidence about a person (G-09).
    #[error("{call} was answered 403: it needs {permission}")]
    PermissionMissing {
        /// The call.
        call: &'static str,
        /// The application permission it needs.
        permission: &'static str,
    },
    /// An endpoint or another part of the connection's own settings that cannot be used.
    #[error("the {which} address is refused: {why}")]
    HostRefused {
        /// Which setting.
        which: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A tenant, client id or credential that no token endpoint would take.
    #[error("the {which} is refused: {why}")]
    SettingRefused {
        /// Which setting.
        which: &'static str,
        /// Why.
        why: &'static str,
    },
    /// A link that Graph gave or the store kept leads elsewhere (BI-30, TH-15). No request was sent.
    #[error("{call} gave a link that is not followed: {fault}")]
    LinkRefused {
        /// The call.
        call: &'static str,
        /// What is wrong with the link; the link itself is not kept.
        fault: LinkFault,
    },
    /// 3xx: redirects are not followed (BI-41).
    #[error("{call} was answered with a redirect ({status}), which is not followed")]
    Redirected {
        /// The call.
        call: &'static str,
        /// HTTP status.
        status: u16,
    },
    /// 400 `Directory_ExpiredPageToken`: the listing must begin anew.
    #[error("{call} was refused: the page link has expired")]
    PageLinkExpired {
        /// The call.
        call: &'static str,
    },
    /// 410, or another of Graph's ways to say that it no longer knows where a round of delta stood (FA-13).
    #[error("{call} was refused: Microsoft no longer knows the delta link")]
    DeltaExpired {
        /// The call.
        call: &'static str,
    },
    /// 409: a live subscription for this resource exists [WH26].
    #[error("a subscription for this resource exists already")]
    SubscriptionExists {
        /// The existing one, when the message names it. Its clientState is not readable: delete it and create anew.
        id: Option<Uuid>,
    },
    /// 403 because of Microsoft's limit on subscriptions [OV25].
    #[error("no further subscription: Microsoft's limit is reached")]
    SubscriptionQuota,
    /// 400: Microsoft called our notification address and did not get the expected answer.
    #[error("the subscription was not created: Microsoft's call to the notification address failed")]
    NotificationAddressFailed,
    /// Any other refusal of the request as we made it.
    #[error("{call} was refused with {status} {code}")]
    Rejected {
        /// The call.
        call: &'static str,
        /// HTTP status.
        status: u16,
        /// Graph's code, cut to plain characters.
        code: String,
    },
    /// The object in the answer cannot be the one asked for (BI-33).
    #[error("{call} answered with an unusable object{}: {why}", id.map(|id| format!(" for {id}")).unwrap_or_default())]
    ObjectRefused {
        /// The call.
        call: &'static str,
        /// The object asked for.
        id: Option<ObjectId>,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreached {
    /// No connection: name not found, refused, no route.
    #[error("no connection")]
    Connect,
    /// TLS: the certificate is not trusted or names another host (BI-41).
    #[error("the server's certificate is not trusted")]
    Certificate,
    /// Took longer than the limit.
    #[error("timed out")]
    TimedOut,
    /// The connection broke in the middle.
    #[error("connection broken")]
    Broken,
}

/// What is wrong with a link (BI-30, BI-31).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// Longer than 8 KiB.
    #[error("it is longer than 8 KiB")]
    TooLong,
    /// Not an absolute URL.
    #[error("it is not a URL")]
    NotAUrl,
    /// `http` where `https` is configured, or another scheme.
    #[error("it has another scheme")]
    Scheme,
    /// User name or password in it.
    #[error("it carries user-info")]
    UserInfo,
    /// Not the connection's Graph host.
    #[error("it leads to another host")]
    Host,
    /// Not the port of the connection's Graph host.
    #[error("it leads to another port")]
    Port,
    /// Not below `/v1.0/`.
    #[error("it leads outside /v1.0/")]
    Path,
    /// Encoded separators or dots, backslashes, control characters, a fragment.
    #[error("it is encoded in a misleading way")]
    Encoding,
    /// The listing leads in a circle.
    #[error("it was followed before")]
    Repeats,
    /// Not the delta it should lead to, or no place in it.
    #[error("it does not lead to a place in this delta")]
    NotThisDelta,
    /// More pages than any listing has.
    #[error("it leads past 100,000 pages")]
    TooManyPages,
}

impl GraphError {
    /// What kind of trouble this is. No catch-all: a new variant must be judged.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Throttled { retry_after, .. } | Self::Resting { retry_after, .. } => {
                ErrorClass::Transient { retry_after: Some(*retry_after) }
            }
            Self::ServerError { retry_after, .. } => ErrorClass::Transient { retry_after: *retry_after },
            Self::Unreachable { .. }
            | Self::BadAnswer { .. }
            | Self::TokenUnavailable { .. }
            | Self::PageLinkExpired { .. }
            | Self::DeltaExpired { .. }
            | Self::SubscriptionExists { .. }
            | Self::NotificationAddressFailed => ErrorClass::Transient { retry_after: None },
            Self::TokenRefused { .. }
            | Self::UnknownTenant
            | Self::AccessTokenRejected { .. }
            | Self::IdentityGone { .. }
            | Self::PermissionMissing { .. }
            | Self::HostRefused { .. }
            | Self::SettingRefused { .. }
            | Self::LinkRefused { .. }
            | Self::Redirected { .. }
            | Self::SubscriptionQuota
            | Self::ObjectRefused { .. } => ErrorClass::Permanent,
            Self::Rejected { .. } => ErrorClass::Bug,
        }
    }

    /// A fault of the connection, not of the object: it spends none of the object's attempts, and the work is due at
    /// once when it ends (guarantees.md, `attempts`).
    pub fn is_connection_wide(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::Resting { .. }
            | Self::Unreachable { .. }
            | Self::ServerError { .. }
            | Self::TokenUnavailable { .. }
            | Self::TokenRefused { .. }
            | Self::UnknownTenant
            | Self::AccessTokenRejected { .. }
            | Self::IdentityGone { .. }
            | Self::PermissionMissing { .. }
            | Self::HostRefused { .. }
            | Self::SettingRefused { .. }
            | Self::Redirected { .. }
            | Self::SubscriptionQuota => true,
            Self::BadAnswer { .. }
            | Self::LinkRefused { .. }
            | Self::PageLinkExpired { .. }
            | Self::DeltaExpired { .. }
            | Self::SubscriptionExists { .. }
            | Self::NotificationAddressFailed
            | Self::Rejected { .. }
            | Self::ObjectRefused { .. } => false,
        }
    }
}
