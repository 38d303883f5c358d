//! Errors of the token endpoint, in the words of `graph-samples/errors-token.json`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use uuid::Uuid;

use super::certificate::Certificate;
use crate::clock::timestamp;

/// An AADSTS error.
#[derive(Debug, Clone)]
pub(crate) struct IdentityError {
    status: u16,
    error: &'static str,
    code: u32,
    text: String,
    /// The discovery document's error has no trace in its description.
    traced: bool,
}

impl IdentityError {
    fn new(status: u16, error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status, error, code, text: text.into(), traced: true }
    }

    pub fn secret_expired(app: Uuid) -> Self {
        Self::new(
            401,
            "invalid_client",
            7_000_222,
            format!(
                "The provided client secret keys for app '{app}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."
            ),
        )
    }

    pub fn secret_wrong(app: Uuid) -> Self {
        Self::new(
            401,
            "invalid_client",
            7_000_215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{app}'."
            ),
        )
    }

    pub fn no_credential() -> Self {
        Self::new(
            401,
            "invalid_client",
            7_000_218,
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        )
    }

    pub fn unknown_app(app: &str, directory: &str) -> Self {
        Self::new(
            400,
            "unauthorized_client",
            700_016,
            format!(
                "Application with identifier '{app}' was not found in the directory '{directory}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."
            ),
        )
    }

    pub fn no_service_principal(app: Uuid, tenant: Uuid) -> Self {
        Self::new(
            401,
            "invalid_client",
            7_000_229,
            format!(
                "The client application {app} is missing service principal in the tenant {tenant}. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119"
            ),
        )
    }

    pub fn app_disabled(app: Uuid) -> Self {
        Self::new(400, "unauthorized_client", 7_000_112, format!("Application '{app}'(Lockstep) is disabled."))
    }

    /// As seen in the field (FIELD).
    pub fn certificate_unknown() -> Self {
        Self::new(
            401,
            "invalid_client",
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.]",
        )
    }

    /// As seen in the field (FIELD).
    pub fn certificate_refused(reason: &str, certificate: &Certificate) -> Self {
        let date = |micros: i64| timestamp(micros).strftime("%m/%d/%Y %H:%M:%S").to_string();
        Self::new(
            401,
            "invalid_client",
            700_027,
            format!(
                "Client assertion contains an invalid signature. [Reason - {reason}, Thumbprint of key used by client: '{}', Found key 'Start={}, End={}']",
                certificate.thumbprint(),
                date(certificate.start),
                date(certificate.end)
            ),
        )
    }

    /// As seen in the field (FIELD); instants in microseconds.
    pub fn assertion_out_of_time(now: i64, from: i64, until: i64) -> Self {
        // Seven digits of a second, as .NET writes it.
        let precise = |micros: i64| timestamp(micros).strftime("%Y-%m-%dT%H:%M:%S%.6f0Z").to_string();
        Self::new(
            401,
            "invalid_client",
            700_024,
            format!(
                "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry time of assertion {}.",
                precise(now),
                precise(from),
                precise(until)
            ),
        )
    }

    /// Status and text unverified, here and in the three below.
    pub fn assertion_malformed() -> Self {
        Self::new(400, "invalid_request", 50_027, "JWT token is invalid or malformed.")
    }

    pub fn assertion_of_another_app() -> Self {
        Self::new(
            401,
            "invalid_client",
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        )
    }

    pub fn assertion_for_another_audience() -> Self {
        Self::new(401, "invalid_client", 700_023, "Client assertion audience claim does not match Realm issuer.")
    }

    pub fn assertion_repeated() -> Self {
        Self::new(401, "invalid_client", 50_013, "Assertion failed validation: its identifier was used before.")
    }

    pub fn unknown_tenant(tenant: &str) -> Self {
        Self::new(
            400,
            "invalid_request",
            90_002,
            format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant."
            ),
        )
    }

    pub fn unknown_tenant_in_discovery(tenant: &str) -> Self {
        let error = Self::new(400, "invalid_tenant", 90_002, format!("Tenant '{tenant}' not found."));
        Self { traced: false, ..error }
    }

    pub fn invalid_scope(scope: &str) -> Self {
        Self::new(
            400,
            "invalid_scope",
            70_011,
            format!("The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid."),
        )
    }

    pub fn unsupported_grant(grant: &str) -> Self {
        Self::new(
            400,
            "unsupported_grant_type",
            70_003,
            format!("The app requested an unsupported grant type '{grant}'."),
        )
    }

    pub fn conditional_access() -> Self {
        Self::new(
            400,
            "access_denied",
            53_003,
            "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
        )
    }

    /// The error of this AADSTS number, for a fault that asks for it.
    pub fn of_code(code: u32, app: Uuid, tenant: Uuid) -> Self {
        match code {
            7_000_222 => Self::secret_expired(app),
            7_000_215 => Self::secret_wrong(app),
            7_000_218 => Self::no_credential(),
            7_000_229 => Self::no_service_principal(app, tenant),
            7_000_112 => Self::app_disabled(app),
            700_027 => Self::certificate_unknown(),
            700_016 => Self::unknown_app(&app.to_string(), &tenant.to_string()),
            90_002 => Self::unknown_tenant(&tenant.to_string()),
            53_003 => Self::conditional_access(),
            other => Self::new(400, "invalid_request", other, "The request failed as the simulator was told to."),
        }
    }

    /// The HTTP answer; `now` in microseconds, the correlation id as the client sent it.
    pub fn respond(self, now: i64, correlation: Option<Uuid>) -> Response {
        let (trace, correlation) = (Uuid::new_v4(), correlation.unwrap_or_else(Uuid::new_v4));
        let time = timestamp(now).strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let mut description = format!("AADSTS{}: {}", self.code, self.text);
        if self.traced {
            description += &format!(" Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}");
        }
        let mut body = json!({
            "error": self.error,
            "error_description": description,
            "error_codes": [self.code],
            "timestamp": time,
            "trace_id": trace,
            "correlation_id": correlation,
        });
        if self.error != "invalid_scope" {
            body["error_uri"] = json!(format!("https://login.microsoftonline.com/error?code={}", self.code));
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(body)).into_response()
    }
}
