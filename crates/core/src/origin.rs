//! Who set each value of a record (R1): Entra by an expression, a default, an admin by hand, or the import.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::field::{self, DISPLAY_NAME, EMAIL, FieldMap, MappedFields, USERNAME};
use crate::record::{Kind, Record};
use crate::settings::{Defaults, UsernameStyle};
use crate::timestamp::Timestamp;
use crate::username;

/// One value and who set it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ValueShown {
    /// `email`, `username`, `display_name` or a mapped field.
    pub field: String,
    /// What the record has; null for a field emptied by hand.
    pub value: Value,
    /// Who set it.
    pub source: ValueSource,
    /// What in Entra fills the field now; null for a local-only or unmapped one.
    pub expression: Option<String>,
    /// Whoever edited it.
    pub by: Option<String>,
    /// Since when it has this value, as far as the history tells.
    pub at: Option<Timestamp>,
}

/// Who set a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueSource {
    /// The sync, from Entra.
    Entra,
    /// The sync, since Entra leaves the field empty (M4).
    Default,
    /// An admin, by hand (Y4).
    Edit,
    /// It came with the application's own people (R6).
    Import,
    /// Nothing tells.
    Unknown,
}

/// What says how the fields are filled.
pub struct OriginBasis<'a> {
    /// `[fields]` of the rules in force.
    pub fields: &'a FieldMap,
    /// `[defaults]`.
    pub defaults: &'a Defaults,
    /// `[settings]`.
    pub style: UsernameStyle,
    /// What the mapping makes of the person now; `None` when nobody is linked.
    pub mapped: Option<&'a MappedFields>,
}

/// The change of the history that gave a field its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBy {
    /// What led to it, as the history has it.
    pub trigger: String,
    /// Who did it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

/// Every value of the record, and every field that was emptied by hand, with who set it. `set_by`: by field, the newest
/// change of it.
pub fn origins(record: &Record, basis: &OriginBasis<'_>, set_by: &BTreeMap<String, SetBy>) -> Vec<ValueShown> {
    let own = [(EMAIL, &record.email), (USERNAME, &record.username), (DISPLAY_NAME, &record.display_name)];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.as_deref()?))));
    let mut values: Vec<(String, Value)> = own.collect();
    values.extend(record.fields.iter().map(|(name, value)| (name.clone(), value.clone())));
    let emptied = record.edits.keys().filter(|name| values.iter().all(|(shown, _)| shown != *name));
    let emptied: Vec<(String, Value)> = emptied.map(|name| (name.clone(), Value::Null)).collect();
    values.extend(emptied);
    values.into_iter().map(|(name, value)| shown(record, basis, set_by.get(&name), name, value)).collect()
}

fn shown(record: &Record, basis: &OriginBasis<'_>, set_by: Option<&SetBy>, field: String, value: Value) -> ValueShown {
    let expression = basis.mapped.and_then(|_| expression_of(record.kind, &field, basis.fields, basis.style));
    let (source, by, at) = match (record.edits.get(&field), set_by) {
        (Some(edit), _) => (ValueSource::Edit, Some(edit.by.clone()), Some(edit.at)),
        (None, Some(set)) => match set.trigger.as_str() {
            "import" => (ValueSource::Import, None, Some(set.at)),
            "admin" => (ValueSource::Edit, Some(set.actor.clone()), Some(set.at)),
            _ if is_default(record, basis, &field, &value) => (ValueSource::Default, None, Some(set.at)),
            _ => (ValueSource::Entra, None, Some(set.at)),
        },
        (None, None) if expression.is_some() => (ValueSource::Entra, None, None),
        (None, None) => (ValueSource::Unknown, None, None),
    };
    ValueShown { field, value, source, expression, by, at }
}

/// Entra leaves the field empty, and the record has what the rules file says for that.
fn is_default(record: &Record, basis: &OriginBasis<'_>, field: &str, value: &Value) -> bool {
    let source = basis.mapped.and_then(|mapped| mapped.sources.get(field));
    source.is_some_and(|source| source == "default") && basis.defaults.of(record.kind).get(field) == Some(value)
}

/// What in Entra fills a field of this kind of record; `None` for a local-only or unmapped one.
pub fn expression_of(kind: Kind, name: &str, fields: &FieldMap, style: UsernameStyle) -> Option<String> {
    match name {
        EMAIL => Some("user.mail".to_owned()),
        USERNAME => Some(username::expression(style).to_owned()),
        _ => {
            let (_, rule) = field::rules_of(kind, fields).into_iter().find(|(field, _)| *field == name)?;
            rule.from.as_ref().filter(|_| !rule.local_only).map(ToString::to_string)
        }
    }
}
