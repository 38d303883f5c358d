//! Subscriptions: how Microsoft comes to tell us of changes.

use std::fmt;

use lockstep_core::Timestamp;
use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;
use uuid::Uuid;

use crate::call::{Call, Priority, Refusal, Reply, parse};
use crate::client::GraphClient;
use crate::error::GraphError;
use crate::http::Outgoing;

static CREATE: Call = call("POST /subscriptions");
static RENEW: Call = call("PATCH /subscriptions/{id}");
static REAUTHORIZE: Call = call("POST /subscriptions/{id}/reauthorize");
static DELETE: Call = call("DELETE /subscriptions/{id}");
static LIST: Call = call("GET /subscriptions");

const fn call(name: &'static str) -> Call {
    Call { name, permission: "User.Read.All and Group.Read.All", priority: Priority::Normal }
}

/// What a subscription watches: one of each per tenant, never one per group [GH9915].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchedResource {
    /// All users of the tenant.
    Users,
    /// All groups of the tenant, their members included.
    Groups,
}

impl WatchedResource {
    /// Graph's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Groups => "groups",
        }
    }

    fn permission(self) -> &'static str {
        match self {
            Self::Users => "User.Read.All",
            Self::Groups => "Group.Read.All",
        }
    }
}

/// A subscription to be made. No `Debug`: both addresses hold the path token, and the clientState is a secret.
pub struct NewSubscription {
    /// What it watches.
    pub resource: WatchedResource,
    /// Where notifications go.
    pub notification_url: Url,
    /// Where lifecycle notifications go; cannot be added later [LIFE].
    pub lifecycle_url: Url,
    /// At most 128 characters [SUB26].
    pub client_state: SecretString,
    /// Less than 29 days ahead; below 45 min Graph raises it silently [SUB26].
    pub expires_at: Timestamp,
}

/// What Graph made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatedSubscription {
    /// Graph's id.
    pub id: Uuid,
    /// What Graph granted, which may differ from what was asked for.
    pub expires_at: Timestamp,
}

/// What became of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenewOutcome {
    /// It lives on.
    Renewed {
        /// What Graph granted.
        expires_at: Timestamp,
    },
    /// 404: expired or removed. Create anew, then catch up (FA-21).
    Gone,
}

/// What became of a reauthorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReauthorizeOutcome {
    /// 204: deliveries go on; the end did not move.
    Reauthorized,
    /// 404: expired or removed. Create anew, then catch up (FA-21).
    Gone,
}

/// A subscription of this application as Graph lists it; its clientState is never shown [LIST].
#[derive(Clone, PartialEq, Eq)]
pub struct RemoteSubscription {
    /// Graph's id.
    pub id: Uuid,
    /// As Graph spells it, `users` or `groups` for ours.
    pub resource: String,
    /// Tells ours from those of another installation; holds the path token.
    pub notification_url: String,
    /// Holds the path token too; `None` where the list does not tell.
    pub lifecycle_url: Option<String>,
    /// When it ends.
    pub expires_at: Timestamp,
}

impl fmt::Debug for RemoteSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the address: its path token is a secret (G-27).
        f.debug_struct("RemoteSubscription")
            .field("id", &self.id)
            .field("resource", &self.resource)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    id: String,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    notification_url: Option<String>,
    #[serde(default)]
    lifecycle_notification_url: Option<String>,
    expiration_date_time: String,
}

impl GraphClient {
    /// Creates a subscription. Graph calls both addresses while this call is open [WH26]: the receiver must listen, and
    /// the intent must be stored, before (FA-19).
    ///
    /// # Errors
    /// [`GraphError::SubscriptionExists`], [`GraphError::SubscriptionQuota`],
    /// [`GraphError::NotificationAddressFailed`], and the rest of [`GraphError`]. After
    /// [`GraphError::Unreachable`] the subscription may exist all the same.
    pub async fn create_subscription(&self, wanted: &NewSubscription) -> Result<CreatedSubscription, GraphError> {
        let body = json!({
            "changeType": "updated,deleted",
            "notificationUrl": wanted.notification_url.as_str(),
            "lifecycleNotificationUrl": wanted.lifecycle_url.as_str(),
            "resource": wanted.resource.as_str(),
            "expirationDateTime": wanted.expires_at.to_string(),
            "clientState": wanted.client_state.expose_secret(),
            "latestSupportedTlsVersion": "v1_2",
        });
        let body = match self.post(&CREATE, &self.address(&["subscriptions"], None), &body).await? {
            Reply::Refused(refusal) => return Err(not_created(wanted.resource, refusal)),
            other => other.body(&CREATE)?,
        };
        let (id, expires_at) = identity(&CREATE, &parse(&CREATE, &body)?)?;
        Ok(CreatedSubscription { id, expires_at })
    }

    /// Moves a subscription's end; doing it twice is harmless (FA-20).
    ///
    /// # Errors
    /// See [`GraphError`].
    pub async fn renew_subscription(&self, id: Uuid, expires_at: Timestamp) -> Result<RenewOutcome, GraphError> {
        self.patch_subscription(id, &json!({ "expirationDateTime": expires_at.to_string() })).await
    }

    async fn patch_subscription(&self, id: Uuid, changes: &serde_json::Value) -> Result<RenewOutcome, GraphError> {
        let url = self.address(&["subscriptions", &id.to_string()], None);
        let request = Outgoing { method: Method::PATCH, url: &url, body: Some(changes) };
        let body = match self.send(&RENEW, request).await? {
            Reply::Refused(refusal) if is_about_the_address(&refusal) => {
                return Err(GraphError::NotificationAddressFailed);
            }
            other => match other.found(&RENEW)? {
                Some(body) => body,
                None => return Ok(RenewOutcome::Gone),
            },
        };
        let (_, expires_at) = identity(&RENEW, &parse(&RENEW, &body)?)?;
        Ok(RenewOutcome::Renewed { expires_at })
    }

    /// Has a subscription post to another address, and moves its end: both can be changed in place [SUB26]. Graph calls
    /// the new address while this call is open. Where lifecycle notifications go cannot be changed [LIFE].
    ///
    /// # Errors
    /// [`GraphError::NotificationAddressFailed`], then it posts to the old address as before; and the rest of
    /// [`GraphError`].
    pub async fn redirect_subscription(
        &self,
        id: Uuid,
        notification_url: &Url,
        expires_at: Timestamp,
    ) -> Result<RenewOutcome, GraphError> {
        let body = json!({
            "notificationUrl": notification_url.as_str(),
            "expirationDateTime": expires_at.to_string(),
        });
        self.patch_subscription(id, &body).await
    }

    /// Answers a `reauthorizationRequired` where a renewal is not wanted; a renewal does both [LIFE]. Doing it twice is
    /// harmless.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub async fn reauthorize_subscription(&self, id: Uuid) -> Result<ReauthorizeOutcome, GraphError> {
        let url = self.address(&["subscriptions", &id.to_string(), "reauthorize"], None);
        let request = Outgoing { method: Method::POST, url: &url, body: None };
        Ok(match self.send(&REAUTHORIZE, request).await?.found(&REAUTHORIZE)? {
            Some(_) => ReauthorizeOutcome::Reauthorized,
            None => ReauthorizeOutcome::Gone,
        })
    }

    /// Deletes a subscription; one that is gone already is fine.
    ///
    /// # Errors
    /// See [`GraphError`].
    pub async fn delete_subscription(&self, id: Uuid) -> Result<(), GraphError> {
        let url = self.address(&["subscriptions", &id.to_string()], None);
        let request = Outgoing { method: Method::DELETE, url: &url, body: None };
        self.send(&DELETE, request).await?.found(&DELETE).map(|_| ())
    }

    /// All subscriptions this application has in this tenant (`sub_check`).
    ///
    /// # Errors
    /// See [`GraphError`]; never a part of the list.
    pub async fn list_subscriptions(&self) -> Result<Vec<RemoteSubscription>, GraphError> {
        let first = self.address(&["subscriptions"], None);
        let objects = self.all(&LIST, &first).await?.unwrap_or_default();
        objects.into_iter().map(|object| remote(serde_json::Value::Object(object))).collect()
    }
}

fn remote(object: serde_json::Value) -> Result<RemoteSubscription, GraphError> {
    let bad = |_| GraphError::BadAnswer { call: LIST.name, what: "a subscription without id or end" };
    let wire: Wire = serde_json::from_value(object).map_err(bad)?;
    let (id, expires_at) = identity(&LIST, &wire)?;
    Ok(RemoteSubscription {
        id,
        resource: wire.resource.unwrap_or_default(),
        notification_url: wire.notification_url.unwrap_or_default(),
        lifecycle_url: wire.lifecycle_notification_url,
        expires_at,
    })
}

fn identity(call: &'static Call, wire: &Wire) -> Result<(Uuid, Timestamp), GraphError> {
    let bad = GraphError::BadAnswer { call: call.name, what: "a subscription without a usable id or end" };
    let id = Uuid::try_parse(&wire.id).map_err(|_| bad.clone())?;
    Ok((id, Timestamp::parse(&wire.expiration_date_time).ok_or(bad)?))
}

fn not_created(resource: WatchedResource, refusal: Refusal) -> GraphError {
    match refusal.status {
        409 => GraphError::SubscriptionExists { id: named_id(&refusal.message) },
        // Denied for want of a permission says so by its code; every other 403 names a limit [OV25] [GH21403].
        403 if refusal.is("Authorization_RequestDenied") => {
            GraphError::PermissionMissing { call: CREATE.name, permission: resource.permission() }
        }
        403 => GraphError::SubscriptionQuota,
        _ if is_about_the_address(&refusal) => GraphError::NotificationAddressFailed,
        _ => refusal.into_error(&CREATE),
    }
}

/// Graph called the address and did not like what it was answered [OD] [TLS26].
fn is_about_the_address(refusal: &Refusal) -> bool {
    refusal.status == 400 && (refusal.is("InvalidRequest") || refusal.is("ValidationError"))
}

/// `Subscription Id <guid> already exists for the requested combination` [WH26]: the id is found by its form, since the
/// words may change [ERR].
fn named_id(message: &str) -> Option<Uuid> {
    let words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    words.filter(|word| word.len() == 36).find_map(|word| Uuid::try_parse(word).ok())
}
