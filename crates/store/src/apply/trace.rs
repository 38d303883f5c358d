//! History and audit of real changes (R1, R4): what was observed, which rule won, before and after per field.

use lockstep_core::mirror::ProfileFacet;
use lockstep_core::record::Record;
use lockstep_core::{RecordId, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::apply::Decided;
use crate::apply::change::Change;
use crate::audit::{Actor, AuditEntry};
use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::session::SessionEnd;
use crate::sql::{Bind, ROWS_PER_STATEMENT, sql};

const INSERT: &str =
    "INSERT INTO history (id, connection_id, record_id, at, ticket, trigger, rule_group_id, changes, source) VALUES ";

impl Tx {
    /// One history row and one audit entry per record that changed.
    pub(crate) async fn write_trace(
        &mut self,
        connection: &Connection,
        changes: &[Change<'_>],
    ) -> Result<(), StoreError> {
        let now = self.now();
        let mut history = Vec::new();
        let mut audit = Vec::new();
        for change in changes {
            let Some(effect) = change.effect() else { continue };
            for (before, after) in change.records() {
                let fields = differences(before, after);
                if fields.is_empty() {
                    continue;
                }
                let sessions_only = fields.iter().all(|field| field["field"] == SESSIONS);
                if change.session_end(before, after).is_some_and(SessionEnd::is_revoked) {
                    audit.push(audit_entry(connection, change, "sessions.end", after, &fields));
                }
                if !sessions_only {
                    audit.push(audit_entry(connection, change, effect.action(), after, &fields));
                }
                history.push(history_row(connection, change, after.id, fields, now));
            }
        }
        for chunk in history.chunks(ROWS_PER_STATEMENT) {
            self.run(sql(INSERT).rows(chunk.iter().cloned())).await?;
        }
        self.audit_all(&audit).await
    }
}

fn history_row(
    connection: &Connection,
    change: &Change<'_>,
    record: RecordId,
    fields: Vec<Value>,
    now: Timestamp,
) -> Vec<Bind> {
    let decided = change.decided;
    vec![
        Uuid::now_v7().into(),
        connection.id.into(),
        record.into(),
        now.into(),
        decided.ticket.into(),
        decided.trigger.as_str().into(),
        decided.plan.desired.grant.as_ref().filter(|_| !change.beside).map(|grant| grant.group).into(),
        Bind::json(&fields),
        // What was read is about the person, not about whoever gives something up for them.
        Bind::json(&if change.beside { json!({}) } else { observed(decided) }),
    ]
}

fn audit_entry(
    connection: &Connection,
    change: &Change<'_>,
    action: &'static str,
    after: &Record,
    fields: &[Value],
) -> AuditEntry {
    let names: Vec<&Value> = fields.iter().map(|field| &field["field"]).collect();
    let mut detail = json!({
        "entra_id": after.entra_id,
        "ticket": change.decided.ticket,
        "trigger": change.decided.trigger.as_str(),
        "rules_version": change.decided.rules_version,
        "changed": names,
        "reasons": after.reasons,
    });
    if let (Some(archived), Some(next)) = (&change.archived, &change.after) {
        let (what, other) = match after.id == next.id {
            true => ("predecessor", archived.after.id),
            false => ("successor", next.id),
        };
        detail[what] = json!(other);
    }
    AuditEntry {
        connection: Some(connection.id),
        actor: Actor::Sync,
        action,
        object_kind: "record",
        object_id: after.id.to_string(),
        detail,
    }
}

/// The observed values a change rests on.
fn observed(decided: &Decided<'_>) -> Value {
    let profile = match &decided.person.user.profile {
        ProfileFacet::Unknown => Value::Null,
        ProfileFacet::Missing { in_deleted_items, first_at, .. } => {
            json!({ "missing": true, "in_deleted_items": in_deleted_items, "missing_since": first_at })
        }
        ProfileFacet::Present { profile, .. } => json!({
            "accountEnabled": profile.account_enabled,
            "userType": profile.user_type,
            "mail": profile.mail(),
            "userPrincipalName": profile.user_principal_name(),
            "displayName": profile.text("displayName"),
        }),
    };
    json!({ "read_at": decided.read_at, "profile": profile })
}

/// When Microsoft's sign-ins began to hold, as a changed field.
const SESSIONS: &str = "sessions_valid_from";

/// `{field, before, after}` of everything that differs.
pub(crate) fn differences(before: Option<&Record>, after: &Record) -> Vec<Value> {
    let mut fields: Vec<Value> = Vec::new();
    let mut compare = |field: &str, before: &Value, after: &Value| {
        if before != after {
            fields.push(json!({ "field": field, "before": before, "after": after }));
        }
    };
    for Column { name, value, is_same } in COLUMNS {
        if before.is_none_or(|before| !is_same(before, after)) {
            compare(name, &before.map_or(Value::Null, value), &value(after));
        }
    }
    // The first one seen is nothing that changed.
    if let Some((seen, now)) = before.and_then(|record| record.sessions_valid_from).zip(after.sessions_valid_from) {
        compare(SESSIONS, &json!(seen), &json!(now));
    }
    let empty = serde_json::Map::new();
    let had = before.map_or(&empty, |record| &record.fields);
    let names: std::collections::BTreeSet<&String> = had.keys().chain(after.fields.keys()).collect();
    for name in names {
        let (before, after) = (had.get(name).unwrap_or(&Value::Null), after.fields.get(name).unwrap_or(&Value::Null));
        if before != after {
            compare(&format!("fields.{name}"), before, after);
        }
    }
    fields
}

/// A column of a record: most are the same before and after, and become no JSON.
struct Column {
    name: &'static str,
    value: fn(&Record) -> Value,
    is_same: fn(&Record, &Record) -> bool,
}

macro_rules! columns {
    ($($name:literal: $field:ident),* $(,)?) => {
        [$(Column { name: $name, value: |it| json!(it.$field), is_same: |one, other| one.$field == other.$field }),*]
    };
}

const COLUMNS: [Column; 10] = columns! {
    "connection_id": connection,
    "entra_id": entra_id,
    "kind": kind,
    "status": status,
    "reasons": reasons,
    "role": role,
    "permissions": permissions,
    "email": email,
    "username": username,
    "display_name": display_name,
};
