//! Audit entries as they are shown.

use lockstep_core::{RecordId, Timestamp};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, sql};

/// Entries looked at in one query: a filter that matches little must not make it endless.
const WINDOW: i64 = 20_000;

/// Who changed what. No Debug: the detail may hold personal data (G-27).
#[derive(Clone, Serialize)]
pub struct AuditView {
    /// Ours.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Name of the connection; null when it concerns none or it was removed.
    pub connection: Option<String>,
    /// `sync`: Lockstep, following Microsoft; `cli`: a person at the command line.
    pub actor: String,
    /// What was done, for example `record.create`.
    pub action: String,
    /// What it was done to.
    pub object_kind: String,
    /// Its id.
    pub object_id: String,
    /// More about it, without secrets.
    pub detail: Value,
    /// Its place in the chain, from 1; null: not sealed yet.
    pub position: Option<i64>,
}

/// Which entries to list.
#[derive(Clone, Copy)]
pub struct AuditFilter<'a> {
    /// Of the connection of this name.
    pub connection: Option<&'a str>,
    /// About this record.
    pub record: Option<RecordId>,
    /// At most so many.
    pub limit: usize,
    /// Older than this one.
    pub after: Option<Uuid>,
}

impl Default for AuditFilter<'_> {
    fn default() -> Self {
        Self { connection: None, record: None, limit: super::PAGE, after: None }
    }
}

const ENTRIES: &str = "SELECT a.id, a.at, c.name AS connection, a.actor, a.action, a.object_kind, a.object_id, a.detail, \
     s.position FROM audit a LEFT JOIN connection c ON c.id = a.connection_id LEFT JOIN audit_seal s ON s.entry_id = a.id \
     WHERE a.id < ";
const EDGE: &str = "SELECT id FROM audit WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2";

impl AuditView {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            at: row.at("at")?,
            connection: row.get("connection")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            object_kind: row.get("object_kind")?,
            object_id: row.get("object_id")?,
            detail: row.json("audit", "detail")?,
            position: row.get("position")?,
        })
    }
}

impl Store {
    /// Audit entries, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_audit(&self, filter: &AuditFilter<'_>) -> Result<Vec<AuditView>, StoreError> {
        let mut found = Vec::new();
        let mut below = filter.after.unwrap_or(Uuid::max());
        loop {
            let edge = self.one("listing audit entries", sql(EDGE).bind(below).bind(WINDOW)).await?;
            let edge: Option<Uuid> = edge.map(|row| row.get("id")).transpose()?;
            let query = sql(ENTRIES)
                .value(below)
                .and("a.id >= ", edge)
                .and("c.name = ", filter.connection)
                .and("a.object_kind = ", filter.record.map(|_| "record"))
                .and("a.object_id = ", filter.record.map(|id| id.to_string()))
                .page(" ORDER BY a.id DESC", filter.limit - found.len());
            for row in &self.all("listing audit entries", query).await? {
                found.push(AuditView::from_row(row)?);
            }
            match edge {
                Some(edge) if found.len() < filter.limit => below = edge,
                _ => return Ok(found),
            }
        }
    }
}
