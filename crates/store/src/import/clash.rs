//! Whom a line of an import clashes with, and when it is only the same line again.

use std::collections::{BTreeMap, BTreeSet};

use lockstep_core::record::Kind;
use uuid::Uuid;

use super::line::ImportedRecord;
use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::{Row, sql};
use crate::view::meaning;

const KNOWN: &str = "SELECT r.id, r.kind, r.email_key, r.username_key, r.display_name, r.fields, r.host_id, r.in_use, \
     r.role, r.permissions, r.privileged, r.entra_id, \
     EXISTS (SELECT 1 FROM history h WHERE h.record_id = r.id AND h.trigger = 'import') AS imported \
     FROM record r WHERE r.realm = ";

/// What is to be done with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Import,
    Unchanged,
    Refuse(String),
}

/// A person of the realm that a line may clash with.
pub(super) struct Known {
    /// How it is called in a refusal.
    called: String,
    /// An earlier import brought it in: the same line again is no clash.
    imported: bool,
    /// Linked to a directory user: its values are Entra's since then.
    linked: bool,
    person: ImportedRecord,
    email_key: Option<String>,
    username_key: Option<String>,
}

impl Known {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let id: Uuid = row.get("id")?;
        let (email_key, username_key): (Option<String>, Option<String>) =
            (row.get("email_key")?, row.get("username_key")?);
        Ok(Self {
            called: format!("record {id}"),
            imported: row.get("imported")?,
            linked: row.get::<Option<Uuid>>("entra_id")?.is_some(),
            person: ImportedRecord {
                line: 0,
                kind: row.word("record", "kind", meaning::<Kind>)?,
                email: email_key.clone(),
                username: username_key.clone(),
                display_name: row.get("display_name")?,
                fields: row.json("record", "fields")?,
                host_id: row.get("host_id")?,
                in_use: row.get("in_use")?,
                role: row.get("role")?,
                permissions: row.json("record", "permissions")?,
                privileged: row.get("privileged")?,
            },
            email_key,
            username_key,
        })
    }

    pub(super) fn from_line(line: &ImportedRecord) -> Self {
        Self {
            called: format!("line {}", line.line),
            imported: true,
            linked: false,
            person: line.clone(),
            email_key: line.email_key(),
            username_key: line.username_key(),
        }
    }

    /// The first field in which a line tells something else of the same person.
    fn differs_in(&self, line: &ImportedRecord) -> Option<&'static str> {
        let (have, keys) = (&self.person, (line.email_key(), line.username_key()));
        [
            (have.kind != line.kind, "kind"),
            (self.email_key != keys.0, "email"),
            (self.username_key != keys.1, "username"),
            (have.display_name != line.display_name, "display_name"),
            (have.fields != line.fields, "fields"),
            (have.host_id != line.host_id, "host_id"),
            (have.in_use != line.in_use, "in_use"),
            (have.role != line.role, "role"),
            (have.permissions != line.permissions, "permissions"),
            (have.privileged != line.privileged, "privileged"),
        ]
        .into_iter()
        .find_map(|(differs, field)| differs.then_some(field))
    }
}

/// Everybody of the realm whom some lines may clash with, by each of the keys that are unique there.
#[derive(Default)]
pub(super) struct KnownPeople {
    people: Vec<Known>,
    by_host: BTreeMap<String, usize>,
    by_email: BTreeMap<String, usize>,
    by_username: BTreeMap<String, usize>,
}

impl KnownPeople {
    pub(super) fn add(&mut self, known: Known) {
        let place = self.people.len();
        self.by_host.extend(known.person.host_id.clone().map(|key| (key, place)));
        self.by_email.extend(known.email_key.clone().map(|key| (key, place)));
        self.by_username.extend(known.username_key.clone().map(|key| (key, place)));
        self.people.push(known);
    }

    pub(super) fn judge(&self, line: &ImportedRecord) -> Verdict {
        let person = |place: Option<&usize>| place.and_then(|place| self.people.get(*place));
        let by_email = person(line.email_key().and_then(|key| self.by_email.get(&key)));
        let by_username = person(line.username_key().and_then(|key| self.by_username.get(&key)));
        let same = match &line.host_id {
            Some(host_id) => person(self.by_host.get(host_id)),
            None => by_email.or(by_username).filter(|known| known.imported && known.person.host_id.is_none()),
        };
        if let Some(known) = same {
            return again(known, line);
        }
        match (by_email, by_username) {
            (Some(known), _) => Verdict::Refuse(format!("the e-mail address belongs to {} already", known.called)),
            (None, Some(known)) => Verdict::Refuse(format!("the username belongs to {} already", known.called)),
            (None, None) => Verdict::Import,
        }
    }
}

/// A line about somebody who was imported before.
fn again(known: &Known, line: &ImportedRecord) -> Verdict {
    match known.differs_in(line) {
        Some(field) if !known.linked => Verdict::Refuse(format!(
            "{} was imported with another `{field}`; nothing was overwritten, so change it there or take the line out",
            known.called
        )),
        _ => Verdict::Unchanged,
    }
}

impl Tx {
    /// Everybody whom one of these lines may clash with.
    pub(super) async fn known_people(
        &mut self,
        connection: &Connection,
        lines: &[ImportedRecord],
    ) -> Result<KnownPeople, StoreError> {
        let hosts: BTreeSet<String> = lines.iter().filter_map(|line| line.host_id.clone()).collect();
        let emails: BTreeSet<String> = lines.iter().filter_map(ImportedRecord::email_key).collect();
        let usernames: BTreeSet<String> = lines.iter().filter_map(ImportedRecord::username_key).collect();
        let mut known = KnownPeople::default();
        for (column, keys) in [("r.host_id", hosts), ("r.email_key", emails), ("r.username_key", usernames)] {
            if keys.is_empty() {
                continue;
            }
            let query = sql(KNOWN).value(connection.realm.as_str()).push(" AND ").push(column).push(" IN ").list(keys);
            for row in self.all(query).await? {
                known.add(Known::from_row(&row)?);
            }
        }
        Ok(known)
    }
}
