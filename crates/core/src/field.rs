//! Field mapping: what a directory user's properties become in a record (M4, M11).
//!
//! A bad value fails its own field and nothing else (G-11): the old value stays and the failure is shown.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::attribute::{self, Shape};
use crate::expression::{Answer, Expression};
use crate::profile::{MAX_LIST, MAX_TEXT, Profile};
use crate::record::Kind;
use crate::settings::Defaults;

/// The field that is kept in the record itself instead of among its fields.
pub const DISPLAY_NAME: &str = "display_name";

/// Follows `mail`; no rules file maps it.
pub const EMAIL: &str = "email";
/// Follows `mail` or the sign-in name by the username style; no rules file maps it.
pub const USERNAME: &str = "username";

/// `[fields]` of a rules file: by target field. Only what the file says; [`attribute::built_in`] holds for the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FieldMap(pub BTreeMap<String, FieldRule>);

/// How one field is filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldRule {
    /// Where the value comes from; may be absent only for a local-only field.
    #[serde(default)]
    pub from: Option<Expression>,
    /// A blank source empties the field; without it the last value stays.
    #[serde(default)]
    pub clear_when_blank: bool,
    /// Kept here, never written by the sync (Y4).
    #[serde(default)]
    pub local_only: bool,
}

/// What the mapping makes of one profile, before it meets a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MappedFields {
    /// By target field, `display_name` included.
    pub values: BTreeMap<String, Mapped>,
    /// Fields whose value could not be used: the old one stays (G-11, BI-35).
    pub failed: Vec<FailedField>,
    /// By target field: the expression, `default`, or `local` for a local-only one.
    pub sources: BTreeMap<String, String>,
}

/// What the mapping says of one field.
#[derive(Clone, Debug, PartialEq)]
pub enum Mapped {
    /// Write it.
    Value(Value),
    /// Entra leaves it empty: write this if the record has nothing either.
    WhenEmpty(Value),
    /// Entra emptied it, and the mapping says `clear_when_blank`.
    Clear,
}

/// A field whose source value could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedField {
    /// The field.
    pub name: String,
    /// What is wrong with the value, without the value.
    pub why: String,
}

/// Maps a profile to the fields of one kind of record.
pub fn map_fields(profile: &Profile, kind: Kind, fields: &FieldMap, defaults: &Defaults) -> MappedFields {
    let mut mapped = MappedFields::default();
    for (name, rule) in rules_of(kind, fields) {
        let default = defaults.of(kind).get(name).filter(|value| !is_blank(value));
        map_field(&mut mapped, profile, name.clone(), rule, default);
    }
    for (name, value) in defaults.of(kind) {
        if !mapped.sources.contains_key(name) && !is_blank(value) {
            mapped.sources.insert(name.clone(), "default".to_owned());
            mapped.values.insert(name.clone(), Mapped::WhenEmpty(value.clone()));
        }
    }
    mapped
}

/// The built-in mapping with the rules file laid over it.
pub fn rules_of(kind: Kind, fields: &FieldMap) -> BTreeMap<&String, &FieldRule> {
    built_in(kind).0.iter().chain(&fields.0).collect()
}

/// Whether a record of this kind shows something of the person's manager, who is not in the listings of groups.
pub fn shows_manager(kind: Kind, fields: &FieldMap) -> bool {
    let asks = |rule: &FieldRule| rule.from.as_ref().is_some_and(Expression::names_manager) && !rule.local_only;
    rules_of(kind, fields).into_values().any(asks)
}

/// What holds where the rules file says nothing of a field.
fn built_in(kind: Kind) -> &'static FieldMap {
    static EMPLOYEE: LazyLock<FieldMap> = LazyLock::new(|| table(Kind::Employee));
    static CONTACT: LazyLock<FieldMap> = LazyLock::new(|| table(Kind::Contact));
    match kind {
        Kind::Employee => &EMPLOYEE,
        Kind::Contact => &CONTACT,
    }
}

fn table(kind: Kind) -> FieldMap {
    let rows = attribute::built_in(kind).map(|(field, attribute)| {
        let from = Some(Expression::of_property(attribute));
        (field.to_owned(), FieldRule { from, clear_when_blank: false, local_only: false })
    });
    FieldMap(rows.collect())
}

fn map_field(mapped: &mut MappedFields, profile: &Profile, name: String, rule: &FieldRule, default: Option<&Value>) {
    let Some(from) = rule.from.as_ref().filter(|_| !rule.local_only) else {
        mapped.sources.insert(name, "local".to_owned());
        return;
    };
    let (value, source) = match found(profile, from) {
        Ok(Found::Value(value)) => (Some(Mapped::Value(value)), from.to_string()),
        Ok(Found::Blank) if rule.clear_when_blank && default.is_none() => (Some(Mapped::Clear), from.to_string()),
        Ok(Found::Blank) if rule.clear_when_blank => (default.cloned().map(Mapped::Value), "default".to_owned()),
        Ok(Found::Blank | Found::Absent) => match default {
            Some(default) => (Some(Mapped::WhenEmpty(default.clone())), "default".to_owned()),
            None => (None, from.to_string()),
        },
        Err(why) => {
            mapped.failed.push(FailedField { name: name.clone(), why: why.to_owned() });
            (None, from.to_string())
        }
    };
    if let Some(value) = value {
        mapped.values.insert(name.clone(), value);
    }
    mapped.sources.insert(name, source);
}

enum Found {
    Value(Value),
    /// Graph said: empty.
    Blank,
    /// Graph did not say anything: never a reason to clear (G-09 in spirit).
    Absent,
}

fn found(profile: &Profile, from: &Expression) -> Result<Found, &'static str> {
    if let Some(property) = from.property() {
        return property_as_it_is(profile, property);
    }
    match from.evaluate(profile)? {
        Answer::Unsaid => Ok(Found::Absent),
        Answer::Blank => Ok(Found::Blank),
        Answer::Value(Value::String(text)) => clean(&text, from.has_lines()).map(found_text),
        Answer::Value(Value::Array(items)) => clean_list(&items),
        Answer::Value(value) => Ok(Found::Value(value)),
    }
}

/// `user.<property>` and nothing else: the value in the shape the property has.
fn property_as_it_is(profile: &Profile, property: &str) -> Result<Found, &'static str> {
    if profile.dropped.contains(property) {
        return Err("the value is longer than is kept, or of another shape");
    }
    let (Some(value), Some(attribute)) = (profile.properties.get(property), attribute::lookup(property)) else {
        return Ok(Found::Absent);
    };
    match (attribute.shape, value) {
        (_, value) if is_blank(value) => Ok(Found::Blank),
        (Shape::Text, Value::String(text)) => clean(text, false).map(found_text),
        (Shape::Lines, Value::String(text)) => clean(text, true).map(found_text),
        (Shape::First, Value::Array(items)) => match items.iter().find(|item| !is_blank(item)) {
            Some(Value::String(text)) => clean(text, false).map(found_text),
            Some(_) => Err("the value is not text"),
            None => Ok(Found::Blank),
        },
        (Shape::List, Value::Array(items)) => clean_list(items),
        (Shape::Flag, Value::Bool(_)) => Ok(Found::Value(value.clone())),
        _ => Err("the value is not of the kind this property has"),
    }
}

fn found_text(text: &str) -> Found {
    Found::Value(Value::String(text.to_owned()))
}

fn clean_list(items: &[Value]) -> Result<Found, &'static str> {
    if items.len() > MAX_LIST {
        return Err("the list is longer than is kept");
    }
    let texts = items.iter().map(|item| clean(item.as_str().ok_or("the list holds something else than text")?, false));
    let values = texts.map(|text| text.map(|text| Value::String(text.to_owned())));
    values.collect::<Result<_, _>>().map(|list| Found::Value(Value::Array(list)))
}

/// The text, trimmed, if it can stand in a record: bounded, without control characters and without marks that turn the
/// direction of the text around and so make it read as something else (BI-35).
pub fn clean(text: &str, lines: bool) -> Result<&str, &'static str> {
    let text = text.trim();
    if text.len() > MAX_TEXT {
        return Err("the value is longer than 1 KiB");
    }
    if text.chars().any(|c| c.is_control() && !(lines && matches!(c, '\n' | '\r' | '\t'))) {
        return Err("the value has control characters");
    }
    if text.chars().any(turns_direction) {
        return Err("the value has marks that turn its direction around");
    }
    Ok(text)
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Nothing to show: null, an empty or blank text, an empty list.
pub fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// What `record explain` shows: each field's value and where it comes from.
pub fn shown(mapped: &MappedFields, fields: &Map<String, Value>) -> Vec<(String, Value, String)> {
    let names = mapped.sources.keys().chain(fields.keys()).collect::<std::collections::BTreeSet<_>>();
    let source = |name: &str| mapped.sources.get(name).cloned().unwrap_or_else(|| "local".to_owned());
    let value = |name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
    names.into_iter().map(|name| (name.clone(), value(name), source(name))).collect()
}
