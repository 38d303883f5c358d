//! `/organization` and the app registration.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Call;
use super::answer::{Answer, Failure};
use crate::clock::graph_time;
use crate::identity::certificate::Certificate;
use crate::sync::read;
use crate::world::secret_hint;

/// How long the app's secret is good; microseconds.
const SECRET_LIFETIME: i64 = 365 * 24 * 3600 * 1_000_000;

/// `GET /organization`
pub(super) fn list(call: &Call<'_>) -> Answer {
    let spec = &call.tenant.spec;
    let initial = format!("{}.onmicrosoft.com", spec.domain.split('.').next().unwrap_or("tenant"));
    let domain = |name: &str, is_default: bool, is_initial: bool| {
        json!({
            "capabilities": "Email, OfficeCommunicationsOnline",
            "isDefault": is_default,
            "isInitial": is_initial,
            "name": name,
            "type": "Managed",
        })
    };
    let organization = json!({
        "id": call.tenant.id,
        "displayName": spec.display_name,
        "tenantType": "AAD",
        "verifiedDomains": [domain(&spec.domain, true, false), domain(&initial, false, true)],
    });
    Answer::ok(json!({"@odata.context": call.context("organization"), "value": [organization]}))
}

/// `GET /applications(appId='…')`
pub(super) fn application(call: &Call<'_>, app_id: &str) -> Result<Answer, Failure> {
    let app = &call.tenant.app;
    if Uuid::parse_str(app_id).ok() != Some(app.client_id) {
        return Err(Failure::not_found(app_id));
    }
    let secret = json!({
        "customKeyIdentifier": null,
        "displayName": "simulated",
        "endDateTime": graph_time(app.created + SECRET_LIFETIME),
        "hint": secret_hint(&read(&call.tenant.secret)),
        "keyId": app.object_id,
        "secretText": null,
        "startDateTime": graph_time(app.created),
    });
    let certificate = |certificate: &Certificate| {
        json!({
            "customKeyIdentifier": certificate.thumbprint(),
            "displayName": "simulated",
            "endDateTime": graph_time(certificate.end),
            "key": null,
            "keyId": app.object_id,
            "startDateTime": graph_time(certificate.start),
            "type": "AsymmetricX509Cert",
            "usage": "Verify",
        })
    };
    let certificates: Vec<Value> = read(&call.tenant.certificates).iter().map(certificate).collect();
    let mut body = json!({
        "id": app.object_id,
        "appId": app.client_id,
        "displayName": "Lockstep",
        "passwordCredentials": [secret],
        "keyCredentials": certificates,
    });
    if let (Some(select), Value::Object(body)) = (call.query().get("$select"), &mut body) {
        let names: Vec<&str> = select.split(',').map(str::trim).collect();
        body.retain(|name, _| names.contains(&name.as_str()));
    }
    body["@odata.context"] = json!(call.context("applications/$entity"));
    Ok(Answer::ok(body))
}
