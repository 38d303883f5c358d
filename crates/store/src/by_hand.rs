//! What an admin does to one record at the command line: each act is one transaction, with history and audit (R1, R4).
//! What may be done is decided in `lockstep_core::by_hand`.

pub(crate) mod mark;

use lockstep_core::by_hand::{self, Activation, ByHandRefused, Editor, FieldEdit};
use lockstep_core::profile::{Profile, address_key};
use lockstep_core::record::Record;
use lockstep_core::settings::Settings;
use lockstep_core::{ConnectionId, RecordId};
use lockstep_core::{ObjectId, field::FieldMap};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::apply::trace::differences;
use crate::apply::write::{Indexed, UNCONFIRMED, update, updated};
use crate::audit::{Actor, AuditEntry};
use crate::connection::Connection;
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::record::{COLUMNS, record_from};
use crate::session::SessionEnd;
use crate::sql::{Bind, lock, sql};

const HISTORY: &str = "INSERT INTO history (id, connection_id, record_id, at, trigger, changes, source, actor, reason)
    VALUES ($1, $2, $3, $4, 'admin', $5, '{}', $6, $7)";

/// Who does it, and why they say they do.
#[derive(Clone, Debug)]
pub struct Admin {
    /// As the command line knows them.
    pub name: String,
    /// In their words; kept with the history and the audit.
    pub reason: Option<String>,
}

/// A record with what says how its fields are filled.
#[derive(Clone, Debug)]
pub struct RecordAtHand {
    /// As stored.
    pub record: Record,
    /// The connection it is linked through, else one of its realm; `None` when there is none (any more).
    pub connection: Option<Connection>,
}

impl RecordAtHand {
    /// `[fields]` of the rules in force.
    pub fn fields(&self) -> FieldMap {
        self.connection.as_ref().map(|connection| connection.fields.clone()).unwrap_or_default()
    }

    /// `[settings]` of the rules in force.
    pub fn settings(&self) -> Settings {
        self.connection.as_ref().map(|connection| connection.settings.clone()).unwrap_or_default()
    }

    /// Where its history is kept.
    fn home(&self) -> ConnectionId {
        self.connection.as_ref().map_or(ConnectionId(Uuid::nil()), |connection| connection.id)
    }
}

impl From<ByHandRefused> for StoreError {
    fn from(refused: ByHandRefused) -> Self {
        Self::Refused(refused.to_string())
    }
}

impl Store {
    /// A record as it is now; nothing is locked.
    ///
    /// # Errors
    /// `NotFound` when there is no such record.
    pub async fn record_at_hand(&self, id: RecordId) -> Result<RecordAtHand, StoreError> {
        let query = sql("SELECT ").push(COLUMNS).push(" FROM record WHERE id = ").value(id).everywhere();
        let row = self.one("record_at_hand", query).await?.ok_or_else(|| no_record(id))?;
        let record = record_from(&row)?;
        let connection = match record.connection {
            Some(connection) => self.lookup_connection(connection).await?,
            None => self.list_connections().await?.into_iter().find(|one| one.realm == record.realm),
        };
        Ok(RecordAtHand { record, connection })
    }

    /// Sets fields by hand (Y4). Gives the names of those that changed; none when they had these values already.
    ///
    /// # Errors
    /// `Refused` with the reason when a field or a value cannot be, when another record of the realm has the address or
    /// username, or when nobody may change this record's names.
    pub async fn edit_record(
        &self,
        id: RecordId,
        edits: &[FieldEdit],
        admin: &Admin,
    ) -> Result<Vec<String>, StoreError> {
        let (mut tx, at_hand, known) = self.take_in_hand(id, "record.edit").await?;
        let editor = Editor { by: admin.name.clone(), at: tx.now(), known };
        let edited = by_hand::edit(&at_hand.record, edits, &at_hand.fields(), &editor)?;
        if edited == at_hand.record {
            return Ok(Vec::new());
        }
        tx.refuse_taken_name(&at_hand.record, &edited).await?;
        let changes = tx.write_by_hand(&at_hand, &edited, "record.edit", admin).await?;
        tx.commit().await?;
        Ok(changes)
    }

    /// Switches a record off until somebody switches it on again. `false`: it was already. The brake neither counts nor
    /// holds it: a person decided.
    ///
    /// # Errors
    /// `Refused` for an archived record and for root.
    pub async fn deactivate_record(&self, id: RecordId, admin: &Admin) -> Result<bool, StoreError> {
        let (mut tx, at_hand, _) = self.take_in_hand(id, "record.deactivate").await?;
        let Some(off) = by_hand::deactivate(&at_hand.record, tx.now())? else { return Ok(false) };
        tx.write_by_hand(&at_hand, &off, "record.deactivate", admin).await?;
        if let (Some(connection), Some(user)) = (&at_hand.connection, off.entra_id) {
            tx.leave_hold(connection, off.id, user, "overtaken").await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Takes `by_hand` back. Where that alone keeps somebody of Microsoft's out, they are read now, and that read gives
    /// access back.
    ///
    /// # Errors
    /// `Refused` for an archived record.
    pub async fn activate_record(&self, id: RecordId, admin: &Admin) -> Result<Activation, StoreError> {
        let (mut tx, at_hand, _) = self.take_in_hand(id, "record.activate").await?;
        let activation = by_hand::activate(&at_hand.record)?;
        if let Activation::Now(on) | Activation::StillOut(on) | Activation::AfterRead(on) = &activation {
            tx.write_by_hand(&at_hand, on, "record.activate", admin).await?;
        }
        if let (Activation::AfterRead(Record { entra_id: Some(user), .. }), Some(connection)) =
            (&activation, &at_hand.connection)
        {
            tx.request_on_demand(connection.id, *user).await?;
        }
        tx.commit().await?;
        Ok(activation)
    }

    /// The record, locked, with what Entra said of its person.
    async fn take_in_hand(
        &self,
        id: RecordId,
        name: &'static str,
    ) -> Result<(Tx, RecordAtHand, Option<Map<String, Value>>), StoreError> {
        let RecordAtHand { record, connection } = self.record_at_hand(id).await?;
        let mut tx = self.begin_everywhere(name).await?;
        let known = tx.known_properties(record.connection.zip(record.entra_id)).await?;
        let now = tx.records_by_id(&[id]).await?.remove(&id).ok_or_else(|| no_record(id))?;
        if (now.connection, now.entra_id) != (record.connection, record.entra_id) {
            return Err(StoreError::Conflict { operation: name, why: "the record was linked meanwhile; run it again" });
        }
        Ok((tx, RecordAtHand { record: now, connection }, known))
    }
}

fn no_record(id: RecordId) -> StoreError {
    StoreError::NotFound { what: "record", id: id.to_string() }
}

impl Tx {
    /// What Entra said of this person last. The person is locked before the record, as everybody does (G-08).
    async fn known_properties(
        &mut self,
        person: Option<(ConnectionId, ObjectId)>,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        let Some((connection, user)) = person else { return Ok(None) };
        let query = sql("SELECT user_id, profile FROM directory_user WHERE connection_id = ").value(connection);
        let query = query.push(" AND user_id = ").value(user).on_postgres(lock::ROWS);
        let Some(row) = self.one(query).await? else { return Ok(None) };
        match row.get::<Option<String>>("profile")? {
            Some(_) => Ok(Some(row.json::<Profile>("directory_user", "profile")?.properties)),
            None => Ok(None),
        }
    }

    /// An address or username belongs to one record of a realm; root's to nobody else (G-24).
    async fn refuse_taken_name(&mut self, before: &Record, after: &Record) -> Result<(), StoreError> {
        let names = [
            ("e-mail address", [" AND (email_key = ", " OR root AND username_key = "], &before.email, &after.email),
            ("username", [" AND (username_key = ", " OR root AND email_key = "], &before.username, &after.username),
        ];
        for (what, [own, roots], before, name) in names {
            let Some(key) = name.as_deref().filter(|_| before != name).map(address_key) else { continue };
            let query = sql("SELECT id, root FROM record WHERE realm = ").value(after.realm.as_str());
            let query = query.push(" AND id <> ").value(after.id).push(own).value(key.as_str());
            let query = query.push(roots).value(key).push(")");
            let Some(row) = self.one(query).await? else { continue };
            let holder = RecordId(row.get("id")?);
            let root = if row.get("root")? { ", the root user" } else { "" };
            return Err(StoreError::refused(format!(
                "the {what} belongs to record {holder}{root}; change that one first"
            )));
        }
        Ok(())
    }

    /// The record as it is now, and all that tells of it. Gives the names of the fields that changed.
    async fn write_by_hand(
        &mut self,
        at_hand: &RecordAtHand,
        after: &Record,
        action: &'static str,
        admin: &Admin,
    ) -> Result<Vec<String>, StoreError> {
        let (before, now) = (&at_hand.record, self.now());
        let update = update([updated(after, now, UNCONFIRMED)], Indexed::Too, before.root);
        if self.run(update).await? != 1 {
            return Err(StoreError::Conflict { operation: action, why: "the record is gone" });
        }
        if let Some(connection) = after.connection {
            self.count_people(connection, [(Some(before), Some(after))]).await?;
        }
        let ends: Vec<SessionEnd> = SessionEnd::of(Some(before), after, false).into_iter().collect();
        self.end_sessions(&ends).await?;
        self.trace_by_hand(at_hand, differences(Some(before), after), action, admin).await
    }

    async fn trace_by_hand(
        &mut self,
        at_hand: &RecordAtHand,
        changes: Vec<Value>,
        action: &'static str,
        admin: &Admin,
    ) -> Result<Vec<String>, StoreError> {
        let (record, home, now) = (&at_hand.record, at_hand.home(), self.now());
        let history = sql(HISTORY).bind(Uuid::now_v7()).bind(home).bind(record.id).bind(now);
        let (by, why) = (admin.name.as_str(), admin.reason.clone());
        self.run(history.bind(Bind::json(&changes)).bind(by).bind(why)).await?;
        let names = changes.iter().filter_map(|change| change["field"].as_str()).map(str::to_owned);
        let names: Vec<String> = names.collect();
        self.audit(AuditEntry {
            connection: at_hand.connection.as_ref().map(|connection| connection.id),
            actor: Actor::Cli,
            action,
            object_kind: "record",
            object_id: record.id.to_string(),
            detail: json!({ "by": admin.name, "reason": admin.reason, "changed": names }),
        })
        .await?;
        Ok(names)
    }
}
