//! A change notification subscription and the items it gives rise to (`graph-contract.md`,
//! sections 1 to 3; bodies as in `graph-samples/`).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::timestamp;
use crate::directory::Event;
use crate::directory::schema::Kind;
use crate::simulator::RemovedForm;

/// A live subscription of the tenant's app.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub id: Uuid,
    /// As the client wrote it.
    pub resource: String,
    pub watched: Watched,
    pub change_type: String,
    pub notification_url: String,
    pub lifecycle_url: Option<String>,
    /// Microseconds.
    pub expires: i64,
    pub client_state: Option<String>,
    pub tls_version: String,
}

/// What a subscription is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub kind: Kind,
    pub id: Option<Uuid>,
    pub members_only: bool,
}

impl Watched {
    /// Reads `users`, `users/{id}`, `groups`, `groups/{id}`, `groups/{id}/members`.
    pub fn parse(resource: &str) -> Option<Self> {
        let lower = resource.trim_matches('/').to_ascii_lowercase();
        let segments: Vec<&str> = lower.split('/').collect();
        let (kind, id, members_only) = match segments.as_slice() {
            ["users"] => (Kind::User, None, false),
            ["users", id] => (Kind::User, Some(*id), false),
            ["groups"] => (Kind::Group, None, false),
            ["groups", id] => (Kind::Group, Some(*id), false),
            ["groups", id, "members"] => (Kind::Group, Some(*id), true),
            _ => return None,
        };
        let id = id.map(Uuid::parse_str).transpose().ok()?;
        Some(Self { kind, id, members_only })
    }
}

/// The lifecycle notifications Graph sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LifecycleEvent {
    /// Something may have been lost: catch up.
    Missed,
    /// Renew or reauthorize, or deliveries stop.
    ReauthorizationRequired,
    /// Gone: create it anew and catch up.
    SubscriptionRemoved,
}

impl Subscription {
    /// Whether its change types, compared as sets, are the same.
    pub fn same_changes(&self, change_type: &str) -> bool {
        let set = |list: &str| {
            let mut words: Vec<String> = list.split(',').map(|word| word.trim().to_ascii_lowercase()).collect();
            words.sort();
            words
        };
        set(&self.change_type) == set(change_type)
    }

    pub fn wants(&self, event: &Event) -> bool {
        let change = if event.purged { "deleted" } else { "updated" };
        self.watched.kind == event.kind
            && self.watched.id.is_none_or(|id| id == event.id)
            && (!self.watched.members_only || event.member.is_some())
            && self.change_type.split(',').any(|word| word.trim().eq_ignore_ascii_case(change))
    }

    /// The notification item about this event.
    pub fn item(&self, tenant: Uuid, event: &Event, form: RemovedForm) -> Value {
        let (collection, type_name) = match event.kind {
            Kind::User => ("Users", "#Microsoft.Graph.User"),
            Kind::Group => ("Groups", "#Microsoft.Graph.Group"),
            Kind::Device => ("Devices", "#Microsoft.Graph.Device"),
        };
        let path = format!("{collection}/{}", event.id);
        let mut data = json!({
            "@odata.type": type_name,
            "@odata.id": path,
            "id": event.id,
            "organizationId": tenant,
        });
        if let Some((member, kind, removed)) = event.member {
            data["members@delta"] = json!([member_item(member, kind, removed, form)]);
        }
        json!({
            "changeType": if event.purged { "deleted" } else { "updated" },
            "clientState": self.client_state,
            "resource": path,
            "resourceData": data,
            "subscriptionExpirationDateTime": self.expiry_in_notification(),
            "subscriptionId": self.id,
            "tenantId": tenant,
        })
    }

    /// The lifecycle item of this kind.
    pub fn lifecycle_item(&self, tenant: Uuid, event: LifecycleEvent) -> Value {
        json!({
            "subscriptionId": self.id,
            "subscriptionExpirationDateTime": self.expiry_in_notification(),
            "tenantId": tenant,
            "clientState": self.client_state,
            "lifecycleEvent": event,
        })
    }

    /// The subscription as Graph answers it; only the answer to its creation shows `clientState`.
    pub fn show(&self, app: Uuid, service_principal: Uuid, with_client_state: bool) -> Value {
        json!({
            "id": self.id,
            "resource": self.resource,
            "applicationId": app,
            "changeType": self.change_type,
            "clientState": self.client_state.as_ref().filter(|_| with_client_state),
            "notificationUrl": self.notification_url,
            "notificationQueryOptions": null,
            "lifecycleNotificationUrl": self.lifecycle_url,
            "expirationDateTime": timestamp(self.expires).to_string(),
            "creatorId": service_principal,
            "includeResourceData": null,
            "latestSupportedTlsVersion": self.tls_version,
            "encryptionCertificate": null,
            "encryptionCertificateId": null,
            "notificationUrlAppId": null,
        })
    }

    fn expiry_in_notification(&self) -> String {
        timestamp(self.expires).strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
    }
}

fn member_item(member: Uuid, kind: Kind, removed: bool, form: RemovedForm) -> Value {
    match (removed, form) {
        (true, RemovedForm::String) => json!({"id": member, "@removed": "deleted"}),
        (true, RemovedForm::Object) => json!({"id": member, "@removed": {"reason": "deleted"}}),
        (false, RemovedForm::String) => json!({"id": member}),
        (false, RemovedForm::Object) => json!({"id": member, "@odata.type": kind.odata_type()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Subscription {
        Subscription {
            id: Uuid::from_u128(7),
            resource: "groups".to_owned(),
            watched: Watched { kind: Kind::Group, id: None, members_only: false },
            change_type: "updated,deleted".to_owned(),
            notification_url: "https://hooks.example.test/n".to_owned(),
            lifecycle_url: None,
            expires: 1_799_140_500_000_000,
            client_state: Some("state".to_owned()),
            tls_version: "v1_2".to_owned(),
        }
    }

    #[test]
    fn resources_are_read_with_any_case_and_slashes() {
        let id = Uuid::from_u128(9);
        assert_eq!(Watched::parse("/Users").map(|watched| watched.kind), Some(Kind::User));
        let members = Watched::parse(&format!("groups/{id}/members"));
        assert_eq!(members, Some(Watched { kind: Kind::Group, id: Some(id), members_only: true }));
        assert_eq!(Watched::parse("me/messages"), None);
    }

    #[test]
    fn a_membership_item_reads_as_in_the_samples() {
        let (group, member, tenant) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let event = Event { kind: Kind::Group, id: group, purged: false, member: Some((member, Kind::User, true)) };
        let expected = json!({
            "changeType": "updated",
            "clientState": "state",
            "resource": format!("Groups/{group}"),
            "resourceData": {
                "@odata.type": "#Microsoft.Graph.Group",
                "@odata.id": format!("Groups/{group}"),
                "id": group,
                "organizationId": tenant,
                "members@delta": [{"id": member, "@removed": "deleted"}],
            },
            "subscriptionExpirationDateTime": "2027-01-05T09:15:00+00:00",
            "subscriptionId": Uuid::from_u128(7),
            "tenantId": tenant,
        });
        assert_eq!(sample().item(tenant, &event, RemovedForm::String), expected);
        let object = sample().item(tenant, &event, RemovedForm::Object);
        assert_eq!(object["resourceData"]["members@delta"][0]["@removed"], json!({"reason": "deleted"}));
    }

    #[test]
    fn change_types_are_a_set() {
        assert!(sample().same_changes("deleted, updated"));
        assert!(!sample().same_changes("updated"));
    }
}
