//! Finding and showing objects for the control API.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Answered, ControlError};
use crate::clock::graph_time;
use crate::directory::object::Life;
use crate::directory::schema::Kind;
use crate::directory::{Seen, View};
use crate::sync::read;
use crate::tenant::Tenant;

/// The user, live or deleted, of this id or user principal name.
pub(super) fn user_id(tenant: &Tenant, wanted: &str) -> Answered<Uuid> {
    find(tenant, Kind::User, wanted, "userPrincipalName")
}

/// The group, live or deleted, of this id or display name.
pub(super) fn group_id(tenant: &Tenant, wanted: &str) -> Answered<Uuid> {
    find(tenant, Kind::Group, wanted, "displayName")
}

/// Anything that can be a member: by id, else a user's principal name, else a group's display name.
pub(super) fn member_id(tenant: &Tenant, wanted: &str) -> Answered<Uuid> {
    let by_id = Uuid::parse_str(wanted).ok();
    by_id.map(Ok).unwrap_or_else(|| user_id(tenant, wanted).or_else(|_| group_id(tenant, wanted)))
}

fn find(tenant: &Tenant, kind: Kind, wanted: &str, name: &str) -> Answered<Uuid> {
    let directory = read(&tenant.state().directory);
    let view = directory.now();
    let known = |seen: &Seen<'_>| seen.kind == kind && seen.life != Life::Purged;
    let by_id = Uuid::parse_str(wanted).ok().and_then(|id| view.any(id)).filter(known);
    let named = |seen: &Seen<'_>| {
        let text = seen.properties.text(name).unwrap_or_default();
        // The name a deleted user had is still good for restoring them.
        let text = text.strip_prefix(&seen.id.simple().to_string()).unwrap_or(text);
        text.eq_ignore_ascii_case(wanted)
    };
    let live = || match kind {
        Kind::User => view.user(wanted),
        _ => view.all_live(kind, None).find(|seen| named(seen)),
    };
    let deleted = || view.all(kind, None).filter(known).find(|seen| named(seen));
    let found = by_id.or_else(live).or_else(deleted);
    found.map(|seen| seen.id).ok_or_else(|| ControlError::missing(kind.word(), wanted))
}

/// The object with everything that was ever set, as answered after a change.
pub(super) fn shown(tenant: &Tenant, id: Uuid) -> Value {
    let directory = read(&tenant.state().directory);
    let view = directory.now();
    view.any(id).map_or(Value::Null, |seen| show(view, &seen))
}

/// All live and soft-deleted objects of this kind.
pub(super) fn all(tenant: &Tenant, kind: Kind) -> Vec<Value> {
    let directory = read(&tenant.state().directory);
    let view = directory.now();
    view.all(kind, None).filter(|seen| seen.life != Life::Purged).map(|seen| show(view, &seen)).collect()
}

fn show(view: View<'_>, seen: &Seen<'_>) -> Value {
    let mut shown: Map<String, Value> =
        seen.properties.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
    shown.insert("id".to_owned(), json!(seen.id));
    if let Life::Deleted { at } = seen.life {
        shown.insert("deletedDateTime".to_owned(), json!(graph_time(at)));
    }
    if seen.kind == Kind::Group {
        shown.insert("memberCount".to_owned(), json!(view.live_members(seen.id).len()));
    }
    Value::Object(shown)
}
