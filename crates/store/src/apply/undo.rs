//! What a record had before it was linked: its history, taken back from the newest entry to the link itself.

use lockstep_core::record::{Reason, Record, Status};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::sql;

const HISTORY: &str = "SELECT id, changes FROM history WHERE connection_id = $1 AND record_id = $2 ORDER BY id DESC";

/// One field's change, as the history keeps it.
#[derive(Deserialize)]
struct Changed {
    field: String,
    before: Value,
    after: Value,
}

impl Tx {
    /// The record as it was before it was linked to whoever it is linked to now. What an admin switched off by hand stays
    /// off. A record whose link is not in its history only loses the link.
    pub(crate) async fn before_link(&mut self, connection: &Connection, record: &Record) -> Result<Record, StoreError> {
        let user = json!(record.entra_id);
        let mut former = record.clone();
        for row in self.all(sql(HISTORY).bind(connection.id).bind(record.id)).await? {
            let changes: Vec<Changed> = row.json("history", "changes")?;
            let link = changes.iter().any(|change| change.field == "entra_id" && change.after == user);
            for change in &changes {
                take_back(&mut former, change).ok_or_else(|| row.impossible("history", "changes"))?;
            }
            if link {
                return Ok(kept_off(former, record));
            }
        }
        Ok(Record { entra_id: None, connection: None, ..record.clone() })
    }
}

fn kept_off(mut former: Record, record: &Record) -> Record {
    if record.reasons.contains(&Reason::ByHand) && former.status != Status::Archived {
        former.reasons.insert(Reason::ByHand);
        former.status = Status::Inactive;
    }
    former.inactive_since = record.inactive_since.filter(|_| former.status != Status::Active);
    // Values and the marks on them are those of before.
    former.edits.clear();
    former.sessions_valid_from = None;
    former
}

/// `None`: the entry cannot be.
fn take_back(record: &mut Record, change: &Changed) -> Option<()> {
    match change.field.as_str() {
        "connection_id" => set(&mut record.connection, &change.before),
        "entra_id" => set(&mut record.entra_id, &change.before),
        "kind" => set(&mut record.kind, &change.before),
        "status" => set(&mut record.status, &change.before),
        "reasons" => set(&mut record.reasons, &change.before),
        "role" => set(&mut record.role, &change.before),
        "permissions" => set(&mut record.permissions, &change.before),
        "email" => set(&mut record.email, &change.before),
        "username" => set(&mut record.username, &change.before),
        "display_name" => set(&mut record.display_name, &change.before),
        // Nothing that the link brought: what an admin marked stays marked, and of sessions the next person tells.
        "root" | "in_use" | "sessions_valid_from" => Some(()),
        field => {
            let name = field.strip_prefix("fields.")?;
            match &change.before {
                Value::Null => record.fields.remove(name),
                value => record.fields.insert(name.to_owned(), value.clone()),
            };
            Some(())
        }
    }
}

fn set<T: DeserializeOwned>(target: &mut T, value: &Value) -> Option<()> {
    *target = serde_json::from_value(value.clone()).ok()?;
    Some(())
}
