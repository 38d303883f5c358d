//! What an admin does to one record by hand: edit fields (Y4), switch it off and on, make it root (G-24).
//!
//! Each function takes the record and gives the record it leaves behind, or says why not and what a person can do.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::ErrorClass;
use crate::field::{self, DISPLAY_NAME, EMAIL, FieldMap, USERNAME};
use crate::id::RecordId;
use crate::local_edit::LocalEdit;
use crate::matching;
use crate::origin::expression_of;
use crate::plan::kind_change::{RecordProtected, may_rename_or_delete};
use crate::record::{Reason, Record, Status};
use crate::settings::UsernameStyle;
use crate::timestamp::Timestamp;

/// One field and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldEdit {
    /// `email`, `username`, `display_name` or a field of the record's kind.
    pub field: String,
    /// The value; `None` clears the field.
    pub value: Option<String>,
}

/// Who edits, when, and what Entra said of the linked person then.
#[derive(Clone, Debug)]
pub struct Editor {
    /// As the command line knows them.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// The directory user's properties; `None` when nobody is linked, or nothing is known of them.
    pub known: Option<Map<String, Value>>,
}

/// What became of `by_hand` when an admin took it back.
#[derive(Clone, Debug, PartialEq)]
pub enum Activation {
    /// The record was not switched off by hand.
    NotByHand,
    /// It is active again: nobody in Microsoft is asked about it.
    Now(Record),
    /// It stays out for its other reasons.
    StillOut(Record),
    /// The next fresh read of both facets gives access back, or finds why not.
    AfterRead(Record),
}

/// Why a record is not changed by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ByHandRefused {
    /// Root, or archived and in use.
    #[error(transparent)]
    Protected(#[from] RecordProtected),
    /// No such field.
    #[error("record {record} has no field `{field}`; it has {}", .known.join(", "))]
    UnknownField {
        /// The record.
        record: RecordId,
        /// As it was written.
        field: String,
        /// The fields there are.
        known: Vec<String>,
    },
    /// A value that a record cannot hold.
    #[error("field `{field}`: {why}")]
    BadValue {
        /// The field.
        field: String,
        /// What is wrong with it, without the value.
        why: &'static str,
    },
    /// An archived record is nobody's login.
    #[error("record {record} is archived: it gives no access, and the person's live record is another one")]
    Archived {
        /// The record.
        record: RecordId,
    },
    /// G-24.
    #[error("record {record} is the root user, which is never switched off; make another record root first")]
    Root {
        /// The record.
        record: RecordId,
    },
    /// Root is the way in when nobody else is.
    #[error("record {record} is not active; only an active record can be the root user")]
    NotActive {
        /// The record.
        record: RecordId,
    },
}

impl ByHandRefused {
    /// A person must act.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

/// The record with these fields edited; equal to the one given when every field has that value already.
///
/// # Errors
/// A field that there is not, a value that cannot be, or a name that nobody may change (M8, G-24).
pub fn edit(record: &Record, edits: &[FieldEdit], fields: &FieldMap, editor: &Editor) -> Result<Record, ByHandRefused> {
    let known = editable(record, fields);
    let mut edited = record.clone();
    for FieldEdit { field, value } in edits {
        if !known.contains(field) {
            let (record, field) = (record.id, field.clone());
            return Err(ByHandRefused::UnknownField { record, field, known: known.into_iter().collect() });
        }
        let value = value.as_deref().map(|value| checked(field, value)).transpose()?;
        if !write(&mut edited, field, value) {
            continue;
        }
        if is_name(field) {
            may_rename_or_delete(record)?;
        }
        let Editor { by, at, known } = editor.clone();
        edited.edits.insert(field.clone(), LocalEdit { at, by, known });
    }
    Ok(edited)
}

/// The fields that can be edited: a record's own names, those of its mapping, and whatever else it holds.
pub fn editable(record: &Record, fields: &FieldMap) -> BTreeSet<String> {
    let mapped = field::rules_of(record.kind, fields);
    let names = mapped.into_keys().chain(record.fields.keys()).map(String::as_str);
    names.chain([EMAIL, USERNAME, DISPLAY_NAME]).map(str::to_owned).collect()
}

/// What in Entra fills this field, and so overwrites an edit of it with the person's next change there; `None` when the
/// edit stays for good: a local-only or unmapped field, or a record that the sync leaves alone.
pub fn overwritten_by(record: &Record, field: &str, fields: &FieldMap, style: UsernameStyle) -> Option<String> {
    if record.entra_id.is_none() || record.root || record.status == Status::Archived {
        return None;
    }
    expression_of(record.kind, field, fields, style)
}

/// The record switched off; `None` when it is already.
///
/// # Errors
/// An archived record, or root.
pub fn deactivate(record: &Record, now: Timestamp) -> Result<Option<Record>, ByHandRefused> {
    may_switch(record)?;
    if record.root {
        return Err(ByHandRefused::Root { record: record.id });
    }
    if record.reasons.contains(&Reason::ByHand) && !record.by_hand_lifted {
        return Ok(None);
    }
    let mut off = Record { status: Status::Inactive, by_hand_lifted: false, ..record.clone() };
    off.reasons.insert(Reason::ByHand);
    if record.status == Status::Active {
        off.inactive_since = Some(now);
    }
    Ok(Some(off))
}

/// Takes `by_hand` back and nothing else (semantics, leaving and coming back). Access itself comes back by a fresh read: the
/// reason stays until then, so that the record is never active on what was read before.
///
/// # Errors
/// An archived record.
pub fn activate(record: &Record) -> Result<Activation, ByHandRefused> {
    may_switch(record)?;
    if !record.reasons.contains(&Reason::ByHand) {
        return Ok(Activation::NotByHand);
    }
    let alone = record.reasons.len() == 1;
    if alone && record.entra_id.is_some() {
        return Ok(Activation::AfterRead(Record { by_hand_lifted: true, ..record.clone() }));
    }
    let mut without = Record { by_hand_lifted: false, ..record.clone() };
    without.reasons.remove(&Reason::ByHand);
    if alone {
        (without.status, without.inactive_since) = (Status::Active, None);
        return Ok(Activation::Now(without));
    }
    Ok(Activation::StillOut(without))
}

/// Whether this record can be made root.
///
/// # Errors
/// It gives no access itself.
pub fn may_be_root(record: &Record) -> Result<(), ByHandRefused> {
    match record.status {
        Status::Active => Ok(()),
        Status::Inactive | Status::Archived => Err(ByHandRefused::NotActive { record: record.id }),
    }
}

fn may_switch(record: &Record) -> Result<(), ByHandRefused> {
    match record.status {
        Status::Archived => Err(ByHandRefused::Archived { record: record.id }),
        Status::Active | Status::Inactive => Ok(()),
    }
}

fn is_name(field: &str) -> bool {
    matches!(field, EMAIL | USERNAME | DISPLAY_NAME)
}

/// The value as a record can hold it; blank is no value.
fn checked(field: &str, value: &str) -> Result<String, ByHandRefused> {
    let lines = !is_name(field);
    let checked = match field {
        EMAIL => matching::check_address(value),
        USERNAME if value.trim().contains(char::is_whitespace) => Err("a username has no spaces"),
        _ => field::clean(value, lines),
    };
    match checked {
        Ok("") => Err(ByHandRefused::BadValue { field: field.to_owned(), why: "it is blank; use --clear to empty it" }),
        Ok(value) => Ok(value.to_owned()),
        Err(why) => Err(ByHandRefused::BadValue { field: field.to_owned(), why }),
    }
}

/// Whether it was another value before.
fn write(record: &mut Record, field: &str, value: Option<String>) -> bool {
    let own = match field {
        EMAIL => &mut record.email,
        USERNAME => &mut record.username,
        DISPLAY_NAME => &mut record.display_name,
        _ => {
            let before = match &value {
                Some(value) => record.fields.insert(field.to_owned(), Value::from(value.as_str())),
                None => record.fields.remove(field),
            };
            return before != value.map(Value::from);
        }
    };
    let changes = *own != value;
    *own = value;
    changes
}
