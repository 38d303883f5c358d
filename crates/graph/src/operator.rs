//! What a person can do about it: from Microsoft's codes to one sentence. Codes choose the sentence, nothing else.

use azure_core::error::ErrorKind;
use azure_core::http::{RawResponse, StatusCode};
use serde::Deserialize;

use crate::call::RetryAfter;
use crate::error::{GraphError, Unreached};

/// Codes of passing trouble: try again later [AADSTS].
const PASSING: &[u32] = &[90033, 50196];

/// The token endpoint's codes and what to do about them [AADSTS].
const REMEDIES: &[(u32, &str)] = &[
    (
        7000222,
        "The client secret has expired. Create a new one under the app registration's \"Certificates & secrets\" in Entra and hand it over (`lockstep connection rotate`).",
    ),
    (
        7000215,
        "The client secret is wrong. Hand over the secret's value, not its id (`lockstep connection add` or `rotate`).",
    ),
    (
        7000218,
        "No credential reached Microsoft. Hand over a client secret or a certificate (`lockstep connection add` or `rotate`).",
    ),
    (
        700016,
        "The application is not known in this tenant. Check the client id and the tenant, and let an administrator of the tenant grant consent.",
    ),
    (
        7000229,
        "The application has no enterprise application in this tenant. Let an administrator of the tenant grant consent.",
    ),
    (
        7000112,
        "The application is disabled in this tenant. An administrator must enable sign-in for the enterprise application.",
    ),
    (
        70001,
        "The application is disabled or not known in this tenant. An administrator must enable the enterprise application or grant consent.",
    ),
    (90038, "The tenant lives in another Microsoft cloud. Add the connection with the endpoints of that cloud."),
    (
        700027,
        "The certificate was not accepted: it has expired or is not registered on the application. Register the current certificate under the app registration's \"Certificates & secrets\" in Entra, or hand over a registered one (`lockstep connection rotate`).",
    ),
    (700024, "The clock of this machine differs from Microsoft's. Correct the time and try again."),
    (700030, "The certificate's subject is not allowed for this application. Register another certificate."),
    (70011, "The scope is not one of this cloud's Graph. Check the Graph address of the connection."),
    (700022, "The scope is not one of this cloud's Graph. Check the Graph address of the connection."),
    (53003, "A Conditional Access policy blocks the application. Exclude it from the policy or allow this network."),
];

const UNKNOWN_REFUSAL: &str = "Microsoft refused the application's credential. Check tenant, client id and the secret or certificate in the app registration.";

impl GraphError {
    /// What a person can do, in one or two sentences without secret, name or address; AADSTS code included.
    pub fn operator_sentence(&self) -> String {
        match self {
            Self::TokenRefused { aadsts: Some(code) } => {
                format!("{} (AADSTS{code})", remedy(*code))
            }
            Self::TokenRefused { aadsts: None } => UNKNOWN_REFUSAL.to_owned(),
            Self::PermissionMissing { permission, .. } => format!(
                "The application permission {permission} is missing. Add it to the app registration and grant admin consent; it can take some minutes to count."
            ),
            Self::HostRefused { which, why } => {
                format!("The {which} address cannot be used: {why}.")
            }
            Self::SettingRefused { which, why } => format!("The {which} cannot be used: {why}."),
            Self::Throttled { retry_after, .. } => format!(
                "Microsoft throttles this connection. Nothing to do: work goes on in {} s.",
                retry_after.as_secs_f64().ceil()
            ),
            _ => self.fixed_sentence().to_owned(),
        }
    }

    fn fixed_sentence(&self) -> &'static str {
        match self {
            Self::Unreachable { reason: Unreached::Certificate, .. } => {
                "The certificate of Microsoft Graph is not trusted here. If a proxy opens TLS, put its root into SSL_CERT_FILE; otherwise somebody is in between."
            }
            Self::Unreachable { .. } | Self::Resting { .. } | Self::TokenUnavailable { .. } => {
                "Microsoft cannot be reached. Check the network, DNS and the firewall for the Graph and login hosts (port 443); it is tried again by itself."
            }
            Self::ServerError { .. } | Self::BadAnswer { .. } => {
                "Microsoft Graph answers with errors. It is tried again by itself; see Microsoft's service health if it lasts."
            }
            Self::UnknownTenant => {
                "Microsoft knows no such tenant in this cloud. Check the tenant id or domain, and the cloud. (AADSTS90002)"
            }
            Self::AccessTokenRejected { .. } => {
                "Graph refuses even a new access token. Check that login host, Graph host and tenant belong together, and the clock of this machine."
            }
            Self::IdentityGone { .. } => {
                "The enterprise application was deleted in the tenant. Let an administrator of the tenant grant consent again."
            }
            Self::LinkRefused { .. } | Self::Redirected { .. } => {
                "Graph's answer led elsewhere and was not followed. Check the connection's Graph address and whether a proxy changes answers; nothing was sent there."
            }
            Self::PageLinkExpired { .. } => "The listing took too long and begins anew by itself.",
            Self::DeltaExpired { .. } => {
                "Microsoft no longer knows where the last round of changes ended. Everybody is read anew by itself; nobody loses access by it."
            }
            Self::SubscriptionExists { .. } => {
                "Another subscription for this resource exists. It is deleted and created anew by itself."
            }
            Self::SubscriptionQuota => {
                "The tenant's or the application's limit of subscriptions is reached. Delete subscriptions of other installations of this application."
            }
            Self::NotificationAddressFailed => {
                "Microsoft could not verify the notification address. It must be reachable from the internet over https with a public certificate and TLS 1.2."
            }
            Self::ObjectRefused { .. } => {
                "Graph answered with an object that is not the one asked for. Try again; report it if it lasts."
            }
            Self::Rejected { .. } => "Graph refused a request as Lockstep makes it. Please report this.",
            Self::TokenRefused { .. }
            | Self::PermissionMissing { .. }
            | Self::HostRefused { .. }
            | Self::SettingRefused { .. }
            | Self::Throttled { .. } => UNKNOWN_REFUSAL,
        }
    }
}

fn remedy(code: u32) -> &'static str {
    REMEDIES.iter().find(|(known, _)| *known == code).map_or(UNKNOWN_REFUSAL, |(_, sentence)| sentence)
}

/// What a failed token request means. The library wraps its errors, so the chain is searched.
pub(crate) fn token_failure(error: &azure_core::Error) -> GraphError {
    let mut cause = Some(error as &(dyn std::error::Error + 'static));
    while let Some(current) = cause {
        if let Some(failure) = current.downcast_ref::<azure_core::Error>().and_then(|error| judged(error.kind())) {
            return failure;
        }
        cause = current.source();
    }
    GraphError::TokenUnavailable { reason: "the login host gave no usable answer" }
}

fn judged(kind: &ErrorKind) -> Option<GraphError> {
    match kind {
        ErrorKind::HttpResponse { status, error_code, raw_response } => {
            Some(refused(*status, error_code.as_deref(), raw_response.as_deref()))
        }
        ErrorKind::Connection | ErrorKind::Io => {
            Some(GraphError::TokenUnavailable { reason: "the login host cannot be reached" })
        }
        ErrorKind::DataConversion => {
            Some(GraphError::TokenUnavailable { reason: "the login host answered with something that is no token" })
        }
        ErrorKind::Credential | ErrorKind::Other => None,
    }
}

fn refused(status: StatusCode, codes: Option<&str>, answer: Option<&RawResponse>) -> GraphError {
    if status == StatusCode::TooManyRequests {
        return GraphError::Throttled { call: "POST token", retry_after: asked_pause(answer) };
    }
    let aadsts = codes.and_then(|codes| codes.split(',').next()).and_then(|code| code.trim().parse().ok());
    let passing = u16::from(status) >= 500
        || aadsts.is_some_and(|code| PASSING.contains(&code))
        || matches!(protocol_error(answer).as_deref(), Some("temporarily_unavailable" | "server_error"));
    match aadsts {
        _ if passing => GraphError::TokenUnavailable { reason: "the login host is in trouble" },
        Some(90002) => GraphError::UnknownTenant,
        aadsts => GraphError::TokenRefused { aadsts },
    }
}

fn asked_pause(answer: Option<&RawResponse>) -> std::time::Duration {
    let header = answer.and_then(|answer| answer.headers().get_optional_str(&"retry-after".into()));
    header.and_then(RetryAfter::parse).map_or(std::time::Duration::from_secs(10), |RetryAfter(asked)| asked)
}

/// OAuth's `error`, the field Microsoft says to decide on [AADSTS].
fn protocol_error(answer: Option<&RawResponse>) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    serde_json::from_slice::<Body>(answer?.body().as_ref()).ok().map(|body| body.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fa14_every_known_refusal_has_its_own_sentence_with_the_code() {
        for (code, _) in REMEDIES {
            let sentence = GraphError::TokenRefused { aadsts: Some(*code) }.operator_sentence();
            assert!(sentence.ends_with(&format!("(AADSTS{code})")), "{sentence}");
            assert!(!sentence.starts_with(UNKNOWN_REFUSAL), "{sentence}");
        }
        assert!(GraphError::TokenRefused { aadsts: Some(1) }.operator_sentence().starts_with(UNKNOWN_REFUSAL));
    }
}
