//! Records as they are shown, and their history.

use std::collections::BTreeSet;

use lockstep_core::profile::address_key;
use lockstep_core::record::{Kind, Reason, Status};
use lockstep_core::{ObjectId, RecordId, Ticket, Timestamp};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{meaning, word};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, Sql, sql};

/// A record as every listing, the API and the console show it (R1). No Debug: it holds personal data (G-27).
#[derive(Clone, Serialize)]
pub struct RecordView {
    /// Ours, stable for life.
    pub id: RecordId,
    /// Name of the connection it is linked through; null for an imported record that nobody is linked to.
    pub connection: Option<String>,
    /// The set of records a connection may link to and create in.
    pub realm: String,
    /// Employee or contact.
    pub kind: Kind,
    /// In, out or archived.
    pub status: Status,
    /// Why it is out; empty exactly when it is active.
    pub reasons: BTreeSet<Reason>,
    /// Given by the winning rule.
    pub role: Option<String>,
    /// Given by the winning rule.
    pub permissions: Vec<String>,
    /// As Entra spells it.
    pub email: Option<String>,
    /// Sign-in name in the application.
    pub username: Option<String>,
    /// For people.
    pub display_name: Option<String>,
    /// Mapped fields.
    pub fields: Map<String, Value>,
    /// The linked directory user; of an archived record the one it was linked to.
    pub entra_id: Option<ObjectId>,
    /// Of an archived record: the person's live one (M7).
    pub successor: Option<RecordId>,
    /// Of a live record: the one of this person that was archived last.
    pub predecessor: Option<RecordId>,
    /// Exempt from everything the directory says (G-24).
    pub root: bool,
    /// Other data refers to it (M8).
    pub in_use: bool,
    /// When Entra was last seen to agree with it.
    pub verified_at: Option<Timestamp>,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What happened to a record once (R1): trigger, the values observed, the rule that won, before and after.
#[derive(Clone, Serialize)]
pub struct HistoryView {
    /// Ours.
    pub id: Uuid,
    /// The record.
    pub record: RecordId,
    /// When it was written.
    pub at: Timestamp,
    /// What made us look: `hint`, `sync`, `on_demand`, `settle`, `rule`, `import` or `admin`.
    pub trigger: String,
    /// The read it follows from.
    pub ticket: Option<Ticket>,
    /// Group of the rule that won.
    pub rule_group: Option<ObjectId>,
    /// `[{field, before, after}]`.
    pub changes: Value,
    /// The observed source values used.
    pub source: Value,
    /// Who did it: the admin's name, `cli` for an import, else `sync`.
    pub actor: String,
    /// Why, in the admin's words.
    pub reason: Option<String>,
}

/// Which records to list.
#[derive(Clone, Copy)]
pub struct RecordFilter<'a> {
    /// Linked through the connection of this name.
    pub connection: Option<&'a str>,
    /// With this status.
    pub status: Option<Status>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// E-mail address, username or display name contains this text, whatever its case.
    pub query: Option<&'a str>,
    /// Only this one.
    pub id: Option<RecordId>,
    /// At most so many.
    pub limit: usize,
    /// Older than this one: the last id of the page before.
    pub after: Option<RecordId>,
}

impl Default for RecordFilter<'_> {
    fn default() -> Self {
        let limit = super::PAGE;
        Self { connection: None, status: None, kind: None, query: None, id: None, limit, after: None }
    }
}

const RECORDS: &str = "SELECT r.id, c.name AS connection, r.realm, r.kind, r.status, r.reasons, r.role, r.permissions, \
     r.email, r.username, r.display_name, r.fields, r.entra_id, r.root, r.in_use, r.verified_at, r.updated_at, \
     CASE WHEN r.status = 'archived' THEN (SELECT l.id FROM record l WHERE l.connection_id = r.connection_id \
         AND l.entra_id = r.entra_id AND l.status <> 'archived') END AS successor, \
     CASE WHEN r.status <> 'archived' THEN (SELECT f.id FROM record f WHERE f.connection_id = r.connection_id \
         AND f.entra_id = r.entra_id AND f.status = 'archived' ORDER BY f.inactive_since DESC, f.id DESC LIMIT 1) \
         END AS predecessor \
     FROM record r LEFT JOIN connection c ON c.id = r.connection_id WHERE TRUE";

const NEWEST: &str = " ORDER BY r.id DESC";

const HISTORY: &str = "SELECT id, record_id, at, trigger, ticket, rule_group_id, changes, source, actor, reason FROM history \
     WHERE record_id = $1 ORDER BY id DESC";

impl RecordView {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: RecordId(row.get("id")?),
            connection: row.get("connection")?,
            realm: row.get("realm")?,
            kind: row.word("record", "kind", meaning)?,
            status: row.word("record", "status", meaning)?,
            reasons: row.json("record", "reasons")?,
            role: row.get("role")?,
            permissions: row.json("record", "permissions")?,
            email: row.get("email")?,
            username: row.get("username")?,
            display_name: row.get("display_name")?,
            fields: row.json("record", "fields")?,
            entra_id: row.get::<Option<Uuid>>("entra_id")?.map(ObjectId),
            successor: row.get::<Option<Uuid>>("successor")?.map(RecordId),
            predecessor: row.get::<Option<Uuid>>("predecessor")?.map(RecordId),
            root: row.get("root")?,
            in_use: row.get("in_use")?,
            verified_at: row.maybe_at("verified_at")?,
            updated_at: row.at("updated_at")?,
        })
    }
}

impl HistoryView {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            record: RecordId(row.get("record_id")?),
            at: row.at("at")?,
            trigger: row.get("trigger")?,
            ticket: row.get::<Option<i64>>("ticket")?.map(Ticket),
            rule_group: row.get::<Option<Uuid>>("rule_group_id")?.map(ObjectId),
            changes: row.json("history", "changes")?,
            source: row.json("history", "source")?,
            actor: match row.get("actor")? {
                Some(actor) => actor,
                None if row.get::<String>("trigger")? == "import" => "cli".to_owned(),
                None => "sync".to_owned(),
            },
            reason: row.get("reason")?,
        })
    }
}

impl Store {
    /// Records, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_records(&self, filter: &RecordFilter<'_>) -> Result<Vec<RecordView>, StoreError> {
        let mut query = sql(RECORDS)
            .and("c.name = ", filter.connection)
            .and("r.status = ", filter.status.map(word))
            .and("r.kind = ", filter.kind.map(word))
            .and("r.id = ", filter.id)
            .and("r.id < ", filter.after);
        if let Some(text) = filter.query {
            query = containing(query, text);
        }
        self.records("listing records", query.page(NEWEST, filter.limit)).await
    }

    /// One record by its id, its e-mail address or its username, tried in that order.
    ///
    /// # Errors
    /// `Refused` when records of several realms have that address or username.
    pub async fn lookup_record_view(&self, id_or_address: &str) -> Result<Option<RecordView>, StoreError> {
        if let Ok(id) = id_or_address.trim().parse::<RecordId>() {
            return Ok(self.records("looking up a record", sql(RECORDS).and("r.id = ", Some(id))).await?.pop());
        }
        let key = address_key(id_or_address);
        for condition in ["r.email_key = ", "r.username_key = "] {
            let query = sql(RECORDS).and(condition, Some(key.as_str())).page(NEWEST, 2);
            let mut found = self.records("looking up a record", query).await?;
            if found.len() > 1 {
                return Err(StoreError::refused("records of several realms have this address: name one by its id"));
            }
            if let Some(record) = found.pop() {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Everything that happened to a record, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn record_history(&self, record: RecordId) -> Result<Vec<HistoryView>, StoreError> {
        let rows = self.shown("reading a record's history", sql(HISTORY).bind(record)).await?;
        rows.iter().map(HistoryView::from_row).collect()
    }

    async fn records(&self, operation: &'static str, query: Sql) -> Result<Vec<RecordView>, StoreError> {
        self.shown(operation, query).await?.iter().map(RecordView::from_row).collect()
    }
}

/// Adds that an address, the username or the name contains the text. The keys hold lower case already; the name is
/// compared without regard to ASCII case.
fn containing(query: Sql, text: &str) -> Sql {
    let pattern = pattern(text);
    query
        .push(" AND (r.email_key LIKE ")
        .value(pattern.as_str())
        .push(" ESCAPE '\\' OR r.username_key LIKE ")
        .value(pattern.as_str())
        .push(" ESCAPE '\\' OR lower(r.display_name) LIKE ")
        .value(pattern.as_str())
        .push(" ESCAPE '\\')")
}

/// The LIKE pattern of a text that stands for itself: its own `%` and `_` match only themselves.
fn pattern(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in address_key(text).chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}
