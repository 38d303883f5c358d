//! What faults do to the answers of Graph.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::answer::{Answer, Body, Failure, Trace};
use super::{Call, subscriptions};
use crate::fault::{Trouble, Twist};

/// A host that is nobody's.
const ELSEWHERE: &str = "graph.attacker.example";

/// The answer a fault asks for on the route of this name. A 5xx comes from a proxy in front of
/// Graph and is HTML, except inside a batch (`alone` is false there).
pub(super) fn in_trouble(status: u16, name: &str, trouble: &Trouble, trace: &Trace, alone: bool) -> Answer {
    let answer = match status {
        429 => Failure::throttled("Tenant_Application/ReadWrite").answer(trace),
        300..=399 => Answer::html(status).with_header("Location", format!("https://{ELSEWHERE}/v1.0/")),
        500.. if alone => Answer::html(status),
        503 => Failure::unavailable().answer(trace),
        401 => Failure::expired_token().answer(trace),
        403 if name == "POST /subscriptions" => subscriptions::over_quota().answer(trace),
        403 => Failure::denied().answer(trace),
        404 if name.contains("/subscriptions/") => subscriptions::gone().answer(trace),
        404 => Failure::not_found(Uuid::nil()).answer(trace),
        409 => subscriptions::duplicate(Uuid::new_v4()).answer(trace),
        410 => Failure::resync_required().answer(trace),
        other => Failure::new(other, "UnknownError", "").answer(trace),
    };
    match &trouble.retry_after {
        Some(text) => answer.with_header("Retry-After", text),
        None => answer,
    }
}

/// Makes a good answer wrong in all ways the faults in force ask for.
pub(super) fn spoil(mut answer: Answer, call: &Call<'_>) -> Answer {
    let trouble = call.trouble;
    if answer.status != 200 {
        return answer;
    }
    if let Body::Json(body) = &mut answer.body {
        if let Some(share) = trouble.share {
            shorten(body, share);
        }
        for twist in &trouble.twists {
            twist_rows(*twist, body, call);
            twist_link(*twist, body, call);
        }
        if let (Some(link), true) = (&trouble.link, body["value"].is_array()) {
            set_link(body, link);
        }
    }
    answer.body = trouble.twists.iter().fold(answer.body, |body, twist| twist_body(*twist, body));
    answer
}

/// Keeps only the first rows of a listing, and no link to the rest.
fn shorten(body: &mut Value, share: f64) {
    if body.get("@odata.deltaLink").is_some() {
        return;
    }
    if let Some(rows) = body["value"].as_array_mut() {
        rows.truncate((rows.len() as f64 * share) as usize);
        remove(body, "@odata.nextLink");
    }
}

fn twist_rows(twist: Twist, body: &mut Value, call: &Call<'_>) {
    match (twist, body.get_mut("value")) {
        (Twist::ValueNoList, Some(value)) => *value = json!("nobody"),
        (Twist::RepeatedRows, Some(Value::Array(rows))) => rows.extend(rows.clone()),
        (_, Some(Value::Array(rows))) => {
            rows.iter_mut().filter_map(Value::as_object_mut).for_each(|row| twist_row(twist, row, call));
        }
        (_, Some(_)) => {}
        (_, None) => body.as_object_mut().into_iter().for_each(|row| twist_row(twist, row, call)),
    }
}

fn twist_row(twist: Twist, row: &mut Map<String, Value>, call: &Call<'_>) {
    let mut set = |name: &str, value: Value| {
        if let Some(present) = row.get_mut(name) {
            *present = value;
        }
    };
    match twist {
        Twist::OtherId => set("id", json!(call.world.chance.id())),
        Twist::BadId => set("id", json!("not-a-guid")),
        Twist::EnabledNull => set("accountEnabled", Value::Null),
        Twist::EnabledText => set("accountEnabled", json!("yes")),
        Twist::OddReason => set("@removed", json!({"reason": "archived"})),
        Twist::NoId => drop(row.remove("id")),
        Twist::EnabledMissing => drop(row.remove("accountEnabled")),
        Twist::WrongTypes => {
            let values = row.iter_mut().filter(|(name, _)| !name.starts_with('@') && *name != "id");
            values.for_each(|(_, value)| *value = of_another_type(value));
        }
        _ => {}
    }
}

fn of_another_type(value: &Value) -> Value {
    match value {
        Value::String(_) => json!(7),
        Value::Bool(_) => json!("maybe"),
        Value::Array(_) => json!({"list": false}),
        other => other.clone(),
    }
}

fn twist_link(twist: Twist, body: &mut Value, call: &Call<'_>) {
    if !body["value"].is_array() {
        return;
    }
    let this = format!("{}/v1.0/{}?{}", call.base, call.request.path, call.query().text());
    let given = ["@odata.nextLink", "@odata.deltaLink"].iter().find_map(|name| body[*name].as_str());
    let link = given.map_or_else(|| this.clone(), str::to_owned);
    if twist == Twist::LinkRepeats {
        remove(body, "@odata.deltaLink");
        body["@odata.nextLink"] = json!(this);
    } else if let Some(twisted) = twisted_link(twist, &link, call.base) {
        set_link(body, &twisted);
    }
}

/// The link in the wrong way this twist asks for; `None` if it is no twist of links.
fn twisted_link(twist: Twist, link: &str, base: &str) -> Option<String> {
    let (scheme, authority) = base.split_once("://")?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let rest = link.strip_prefix(base).unwrap_or_default();
    let other_scheme = if scheme == "https" { "http" } else { "https" };
    Some(match twist {
        Twist::LinkOtherHost => format!("https://{ELSEWHERE}{rest}"),
        Twist::LinkOtherScheme => format!("{other_scheme}://{authority}{rest}"),
        Twist::LinkOtherPort => format!("{scheme}://{host}:9{rest}"),
        Twist::LinkUserInfo => format!("{scheme}://{authority}@{ELSEWHERE}{rest}"),
        Twist::LinkOtherPath => format!("{base}/beta{rest}"),
        Twist::LinkEncoded => format!("{base}/v1.0/%2e%2e/%2e%2e{rest}"),
        Twist::LinkTooLong => format!("{link}&padding={}", "a".repeat(9000)),
        _ => return None,
    })
}

/// Puts it where the link was, or makes it the link to a next page.
fn set_link(body: &mut Value, link: &str) {
    let name = if body.get("@odata.deltaLink").is_some() { "@odata.deltaLink" } else { "@odata.nextLink" };
    body[name] = json!(link);
}

fn remove(body: &mut Value, name: &str) {
    if let Value::Object(body) = body {
        body.remove(name);
    }
}

fn twist_body(twist: Twist, body: Body) -> Body {
    match (twist, body) {
        (Twist::NotJson, _) => Body::Raw("The service is being moved.".to_owned()),
        (Twist::Empty, _) => Body::Raw(String::new()),
        (Twist::Huge, Body::Json(mut json)) => {
            json["padding"] = json!("x".repeat(17 * 1024 * 1024));
            Body::Json(json)
        }
        (_, body) => body,
    }
}
