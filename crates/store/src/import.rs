//! The application's existing people, brought in so that there is something to match (R6).
//!
//! Imported records are linked to nobody and belong to no connection yet, only to its realm: they are not counted among
//! the connection's people until a directory user is linked to them. Nothing that is there is ever overwritten, and a
//! file may be imported again and again.

use lockstep_core::{RecordId, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::audit::{Actor, AuditEntry};
use crate::connection::Connection;
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::sql::{Bind, ROWS_PER_STATEMENT, sql};
use crate::view::word;

mod clash;
mod line;

use clash::{Known, Verdict};
pub use line::{ImportedRecord, RefusedLine};

/// What became of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOutcome {
    /// New records.
    pub imported: u64,
    /// Lines that an earlier import brought in already.
    pub unchanged: u64,
    /// Lines that clash with a record that is there; nothing was written for them.
    pub refused: Vec<RefusedLine>,
}

const INSERT_RECORDS: &str = "INSERT INTO record (id, realm, kind, status, reasons, role, permissions, email, email_key, \
     username, username_key, display_name, fields, host_id, privileged, in_use, created_at, updated_at) VALUES ";

const INSERT_HISTORY: &str = "INSERT INTO history (id, connection_id, record_id, at, trigger, changes, source) VALUES ";

impl Store {
    /// Whether records of the connection's realm belong to nobody in Entra yet: a first sync may match people with them.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_unlinked_records(&self, connection: &Connection) -> Result<bool, StoreError> {
        const UNLINKED: &str = " AND entra_id IS NULL AND NOT root AND status <> 'archived' LIMIT 1";
        let query = sql("SELECT id FROM record WHERE realm = ").value(connection.realm.as_str()).push(UNLINKED);
        let query = query.within_realm(connection.id, &connection.realm);
        Ok(self.one("has_unlinked_records", query).await?.is_some())
    }

    /// Imports people into the connection's realm, in transactions of at most 200 lines. An import that breaks off may
    /// simply be run again.
    ///
    /// # Errors
    /// When the database cannot be written; a clash is no error but a refused line.
    pub async fn import_records(
        &self,
        connection: &Connection,
        lines: &[ImportedRecord],
    ) -> Result<ImportOutcome, StoreError> {
        let mut outcome = ImportOutcome::default();
        for some in lines.chunks(ROWS_PER_STATEMENT) {
            let mut tx = self.begin_everywhere("import_records").await?;
            let mut known = tx.known_people(connection, some).await?;
            let mut fresh = Vec::new();
            for line in some {
                match known.judge(line) {
                    Verdict::Import => {
                        known.add(Known::from_line(line));
                        fresh.push(line);
                    }
                    Verdict::Unchanged => outcome.unchanged += 1,
                    Verdict::Refuse(why) => outcome.refused.push(RefusedLine { line: line.line, why }),
                }
            }
            tx.insert_imported(connection, &fresh).await?;
            tx.commit().await?;
            outcome.imported += u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        }
        Ok(outcome)
    }
}

impl Tx {
    async fn insert_imported(&mut self, connection: &Connection, lines: &[&ImportedRecord]) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let fresh: Vec<(RecordId, &ImportedRecord)> =
            lines.iter().map(|line| (RecordId(Uuid::now_v7()), *line)).collect();
        self.run(sql(INSERT_RECORDS).rows(fresh.iter().map(|(id, line)| record_row(*id, line, connection, now))))
            .await?;
        self.run(sql(INSERT_HISTORY).rows(fresh.iter().map(|(id, line)| history_row(*id, line, connection, now))))
            .await?;
        let audit: Vec<AuditEntry> = fresh.iter().map(|(id, line)| audit_entry(*id, line, connection)).collect();
        self.audit_all(&audit).await
    }
}

fn record_row(id: RecordId, line: &ImportedRecord, connection: &Connection, now: Timestamp) -> Vec<Bind> {
    vec![
        id.into(),
        connection.realm.as_str().into(),
        word(line.kind).into(),
        "active".into(),
        Bind::json(&json!([])),
        line.role.clone().into(),
        Bind::json(&line.permissions),
        line.email.clone().into(),
        line.email_key().into(),
        line.username.clone().into(),
        line.username_key().into(),
        line.display_name.clone().into(),
        Bind::json(&line.fields),
        line.host_id.clone().into(),
        line.privileged.into(),
        line.in_use.into(),
        now.into(),
        now.into(),
    ]
}

fn history_row(id: RecordId, line: &ImportedRecord, connection: &Connection, now: Timestamp) -> Vec<Bind> {
    vec![
        Uuid::now_v7().into(),
        connection.id.into(),
        id.into(),
        now.into(),
        "import".into(),
        Bind::json(&changes(line)),
        Bind::json(&json!({})),
    ]
}

/// What the record starts with; what the line leaves out is not a change.
fn changes(line: &ImportedRecord) -> Vec<Value> {
    let mut after = vec![("kind".to_owned(), json!(line.kind))];
    let texts = [
        ("role", &line.role),
        ("email", &line.email),
        ("username", &line.username),
        ("display_name", &line.display_name),
        ("host_id", &line.host_id),
    ];
    after.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?)))));
    if !line.permissions.is_empty() {
        after.push(("permissions".to_owned(), json!(line.permissions)));
    }
    after.extend(line.fields.iter().map(|(name, value)| (format!("fields.{name}"), value.clone())));
    after.into_iter().map(|(field, after)| json!({ "field": field, "before": null, "after": after })).collect()
}

fn audit_entry(id: RecordId, line: &ImportedRecord, connection: &Connection) -> AuditEntry {
    AuditEntry {
        connection: Some(connection.id),
        actor: Actor::Cli,
        action: "record.import",
        object_kind: "record",
        object_id: id.to_string(),
        detail: json!({ "realm": connection.realm, "line": line.line, "privileged": line.privileged }),
    }
}
