//! Connections with live subscriptions, as a renewer would have left them, and the POSTs that Microsoft would send them.
//! Several, because the receiver takes 2,000 POSTs a second of each (TH-04).

use std::time::Duration;

use lockstep_core::ObjectId;
use lockstep_store::{NewConnection, NewCredential, Resource, Store};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use crate::error::{BenchError, During as _};
use crate::load::Post;

const SUBSCRIBED_FOR: Duration = Duration::from_secs(86_400);

/// What a notification must name to be authentic.
struct Endpoint {
    path: String,
    tenant: Uuid,
    subscription: Uuid,
    client_state: String,
}

/// Many of them.
pub(crate) struct Fleet(Vec<Endpoint>);

impl Fleet {
    pub async fn recruit(store: &Store, connections: usize) -> Result<Self, BenchError> {
        let mut endpoints = Vec::new();
        for number in 0..connections {
            endpoints.push(subscribed(store, number).await?);
        }
        Ok(Self(endpoints))
    }

    /// One POST for each connection.
    pub fn posts(&self, items: usize) -> Vec<Post> {
        self.0.iter().map(|endpoint| endpoint.post(items, &endpoint.client_state)).collect()
    }

    /// The same by somebody who knows everything but the secret: what costs most to reject (BI-18).
    pub fn forged(&self, items: usize) -> Vec<Post> {
        let guess = Uuid::new_v4().to_string();
        self.0.iter().map(|endpoint| endpoint.post(items, &guess)).collect()
    }
}

impl Endpoint {
    fn post(&self, items: usize, client_state: &str) -> Post {
        let numbered = format!("{}000000000000", &Uuid::new_v4().to_string()[..24]);
        let item = |place| {
            let user = if place == 0 { numbered.clone() } else { Uuid::new_v4().to_string() };
            json!({
                "changeType": "updated",
                "clientState": client_state,
                "resource": format!("Users/{user}"),
                "resourceData": {
                    "@odata.type": "#Microsoft.Graph.User",
                    "@odata.id": format!("Users/{user}"),
                    "id": user,
                    "organizationId": self.tenant,
                },
                "subscriptionExpirationDateTime": "2027-01-05T09:15:00+00:00",
                "subscriptionId": self.subscription,
                "tenantId": self.tenant,
            })
        };
        let body = json!({"value": (0..items).map(item).collect::<Vec<_>>()}).to_string();
        Post::to(&self.path, &body, &numbered)
    }
}

async fn subscribed(store: &Store, number: usize) -> Result<Endpoint, BenchError> {
    const ATTEMPT: &str = "making a connection to be notified";
    let connection = NewConnection {
        name: format!("bench-{number}"),
        tenant_id: ObjectId(Uuid::new_v4()),
        domain: format!("bench-{number}.example"),
        client_id: Uuid::new_v4().to_string(),
        credential: NewCredential::ClientSecret(SecretString::from("unused")),
        cloud: "global".to_owned(),
        realm: None,
        guests: false,
        match_domains: Vec::new(),
        test_users: Vec::new(),
    };
    let connection = store.add_connection(connection).await.during(ATTEMPT)?;
    let client_state = Uuid::new_v4().to_string();
    let secret = SecretString::from(client_state.clone());
    let intent = store.open_subscription_intent(connection.id, Resource::Users, &secret).await.during(ATTEMPT)?;
    let subscription = Uuid::new_v4();
    let until = store.now() + SUBSCRIBED_FOR;
    store.activate_subscription(intent, subscription, until, until).await.during(ATTEMPT)?;
    let token = store.path_token(&connection).await.during(ATTEMPT)?;
    let path = format!("/graph/{}/notifications", token.expose_secret());
    Ok(Endpoint { path, tenant: connection.tenant_id.0, subscription, client_state })
}
