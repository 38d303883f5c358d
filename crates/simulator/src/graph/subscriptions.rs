//! `/subscriptions`: create with the handshake, list, renew, reauthorize, delete.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::Call;
use super::answer::{Answer, Failure};
use super::route::may_watch;
use super::users::merge;
use crate::delivery::handshake::check_url;
use crate::subscription::{Subscription, Watched};
use crate::sync::lock;

/// A shorter life is silently raised to this.
const FLOOR: Duration = Duration::from_secs(45 * 60);
/// Of `clientState`, in characters.
const CLIENT_STATE: usize = 128;

/// `POST /subscriptions`; the handshake happens while the client waits.
pub(super) async fn create(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.body()?;
    let wanted = read_new(call, &body)?;
    check_permission(call, &wanted)?;
    check_room(call, &wanted)?;
    shake_hands(call, Some(&wanted.notification_url)).await?;
    shake_hands(call, wanted.lifecycle_url.as_deref()).await?;
    // Somebody else may have been quicker during the handshake.
    check_room(call, &wanted)?;
    let mut answer = json!({"@odata.context": call.context("subscriptions/$entity")});
    merge_shown(&mut answer, call, &wanted, true);
    lock(&call.tenant.subscriptions).insert(wanted.id, wanted);
    Ok(Answer::created(answer))
}

/// `GET /subscriptions`; `clientState` is never shown again.
pub(super) fn list(call: &Call<'_>) -> Answer {
    let live = call.tenant.live_subscriptions(call.world.clock.now_micros());
    let app = &call.tenant.app;
    let rows: Vec<Value> =
        live.iter().map(|subscription| subscription.show(app.client_id, app.service_principal, false)).collect();
    Answer::ok(json!({"@odata.context": call.context("subscriptions"), "value": rows}))
}

/// `GET /subscriptions/{id}`
pub(super) fn get(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    live(call, id).map(|subscription| shown(call, &subscription))
}

/// `DELETE /subscriptions/{id}`
pub(super) fn delete(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let subscription = live(call, id)?;
    lock(&call.tenant.subscriptions).remove(&subscription.id);
    Ok(Answer::no_content())
}

/// `POST /subscriptions/{id}/reauthorize`; the expiry stays.
pub(super) fn reauthorize(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    check_permission(call, &live(call, id)?)?;
    Ok(Answer::no_content())
}

/// `PATCH /subscriptions/{id}`; a new URL is asked to shake hands again, and the old one where the
/// settings say so.
pub(super) async fn renew(call: &Call<'_>, id: &str) -> Result<Answer, Failure> {
    let mut subscription = live(call, id)?;
    check_permission(call, &subscription)?;
    let body = call.body()?;
    if body.contains_key("expirationDateTime") {
        subscription.expires = expiry(call, &body)?;
    }
    if let Some(url) = text(&body, "notificationUrl") {
        shake_hands(call, Some(url)).await?;
        url.clone_into(&mut subscription.notification_url);
    } else if call.world.settings().handshake_on_renewal {
        shake_hands(call, Some(&subscription.notification_url)).await?;
    }
    let answer = shown(call, &subscription);
    let mut subscriptions = lock(&call.tenant.subscriptions);
    match subscriptions.get_mut(&subscription.id) {
        Some(known) => *known = subscription,
        None => return Err(gone()),
    }
    Ok(answer)
}

fn read_new(call: &Call<'_>, body: &Map<String, Value>) -> Result<Subscription, Failure> {
    let required = |name: &str| text(body, name).ok_or_else(|| invalid(format!("{name} is required.")));
    let resource = required("resource")?;
    let watched = Watched::parse(resource)
        .ok_or_else(|| invalid(format!("Subscriptions to the resource '{resource}' are not supported.")))?;
    let client_state = text(body, "clientState").map(str::to_owned);
    if client_state.as_ref().is_some_and(|state| state.chars().count() > CLIENT_STATE) {
        return Err(invalid(format!("clientState must have at most {CLIENT_STATE} characters.")));
    }
    if body.get("includeResourceData").and_then(Value::as_bool) == Some(true) {
        return Err(invalid("Resource data is not supported for this resource.".to_owned()));
    }
    Ok(Subscription {
        id: Uuid::new_v4(),
        resource: resource.to_owned(),
        watched,
        change_type: change_type(required("changeType")?)?,
        notification_url: required("notificationUrl")?.to_owned(),
        lifecycle_url: text(body, "lifecycleNotificationUrl").map(str::to_owned),
        expires: expiry(call, body)?,
        client_state,
        tls_version: text(body, "latestSupportedTlsVersion").unwrap_or("v1_2").to_owned(),
    })
}

fn change_type(given: &str) -> Result<String, Failure> {
    let known = |word: &str| ["created", "updated", "deleted"].contains(&word.trim().to_ascii_lowercase().as_str());
    if given.split(',').all(known) {
        Ok(given.to_owned())
    } else {
        Err(invalid(format!("The changeType '{given}' is not supported.")))
    }
}

/// The wanted expiry in microseconds: raised to 45 min from now, refused over the cap.
fn expiry(call: &Call<'_>, body: &Map<String, Value>) -> Result<i64, Failure> {
    let wanted = text(body, "expirationDateTime").and_then(|time| time.parse::<Timestamp>().ok());
    let wanted = wanted.ok_or_else(|| invalid("expirationDateTime must be a UTC instant.".to_owned()))?;
    let now = call.world.clock.now_micros();
    let cap = call.world.settings().subscription_cap_minutes;
    if wanted.as_microsecond() > now + i64::from(cap) * 60_000_000 {
        let message = format!("Subscription expiration can only be {cap} minutes in the future.");
        return Err(Failure::new(400, "ExtensionError", message));
    }
    let floor = i64::try_from(FLOOR.as_micros()).unwrap_or(i64::MAX);
    Ok(wanted.as_microsecond().max(now + floor))
}

/// Making and keeping a subscription needs the right to read what it watches.
fn check_permission(call: &Call<'_>, subscription: &Subscription) -> Result<(), Failure> {
    match may_watch(subscription.watched.kind, call.permissions) {
        true => Ok(()),
        false => Err(Failure::denied()),
    }
}

/// Refuses a duplicate, and more than the quota.
fn check_room(call: &Call<'_>, wanted: &Subscription) -> Result<(), Failure> {
    let live = call.tenant.live_subscriptions(call.world.clock.now_micros());
    let same = |known: &&Subscription| known.watched == wanted.watched && known.same_changes(&wanted.change_type);
    if let Some(known) = live.iter().find(same) {
        return Err(duplicate(known.id));
    }
    if live.len() >= call.world.settings().subscription_quota {
        return Err(over_quota());
    }
    Ok(())
}

/// There is one already; the message names it.
pub(super) fn duplicate(of: Uuid) -> Failure {
    let message = format!("Subscription Id {of} already exists for the requested combination");
    Failure::new(409, "ObjectIdentifierInUse", message)
}

/// The app has as many subscriptions as it may have.
pub(super) fn over_quota() -> Failure {
    let message = "Operation: Create; Exception: [Status Code: Forbidden; Reason: Maximum number of subscriptions has been reached]";
    Failure::new(403, "ExtensionError", message)
}

async fn shake_hands(call: &Call<'_>, url: Option<&str>) -> Result<(), Failure> {
    match url {
        Some(url) => {
            let url: Url = check_url(url)?;
            call.world.sender.shake_hands(&url).await
        }
        None => Ok(()),
    }
}

fn live(call: &Call<'_>, id: &str) -> Result<Subscription, Failure> {
    let live = call.tenant.live_subscriptions(call.world.clock.now_micros());
    let id = Uuid::parse_str(id).ok();
    live.into_iter().find(|known| Some(known.id) == id).ok_or_else(gone)
}

/// There is no such subscription, or no more.
pub(super) fn gone() -> Failure {
    Failure::new(404, "ResourceNotFound", "The object was not found.")
}

fn shown(call: &Call<'_>, subscription: &Subscription) -> Answer {
    let mut body = json!({"@odata.context": call.context("subscriptions/$entity")});
    merge_shown(&mut body, call, subscription, false);
    Answer::ok(body)
}

fn merge_shown(body: &mut Value, call: &Call<'_>, subscription: &Subscription, with_client_state: bool) {
    let app = &call.tenant.app;
    if let Value::Object(shown) = subscription.show(app.client_id, app.service_principal, with_client_state) {
        merge(body, shown);
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(400, "InvalidRequest", message)
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    body.get(name).and_then(Value::as_str)
}
