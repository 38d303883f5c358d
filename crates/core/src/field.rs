//! Field mapping: what a directory user's properties become in a record (M4, M11).
//!
//! A bad value fails its own field and nothing else (G-11): the old value stays and the failure is shown.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::attribute::{self, Shape};
use crate::error::ErrorClass;
use crate::profile::{MAX_LIST, MAX_TEXT, Profile};
use crate::record::Kind;
use crate::settings::Defaults;

/// The field that is kept in the record itself instead of among its fields.
pub const DISPLAY_NAME: &str = "display_name";

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

/// An expression over the directory user. Until richer ones land: `user.<property>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    property: String,
}

/// An expression that cannot be used, with the place of the fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading a field expression: {why} (at character {position})")]
pub struct BadExpression {
    /// Zero-based, in characters from the start of the expression.
    pub position: usize,
    /// What is wrong and what to write instead.
    pub why: String,
}

impl BadExpression {
    /// A person must change the expression.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

impl Expression {
    /// Parses `user.<property>`, where the property is one of [`attribute::ATTRIBUTES`].
    ///
    /// # Errors
    /// [`BadExpression`] with the place of the fault (M11, BI-55).
    pub fn parse(text: &str) -> Result<Self, BadExpression> {
        const VARIABLE: &str = "user.";
        let Some(property) = text.strip_prefix(VARIABLE) else {
            let position = text.chars().zip(VARIABLE.chars()).take_while(|(have, want)| have == want).count();
            let why = "an expression is `user.` and the name of a property, e.g. `user.jobTitle`".to_owned();
            return Err(BadExpression { position, why });
        };
        if attribute::lookup(property).is_some() {
            return Ok(Self { property: property.to_owned() });
        }
        let near = attribute::ATTRIBUTES.iter().find(|known| known.property.eq_ignore_ascii_case(property));
        let why = match near {
            Some(known) => format!("a user has no such property; did you mean `user.{}`?", known.property),
            None => "a user has no such property; the names are Graph's, e.g. `user.jobTitle`".to_owned(),
        };
        Err(BadExpression { position: VARIABLE.len(), why })
    }

    /// The property it reads.
    pub fn property(&self) -> &str {
        &self.property
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user.{}", self.property)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
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
        let default = defaults.of(kind).get(&name).filter(|value| !is_blank(value));
        map_field(&mut mapped, profile, name, &rule, default);
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
fn rules_of(kind: Kind, fields: &FieldMap) -> BTreeMap<String, FieldRule> {
    let built_in = attribute::built_in(kind).map(|(field, attribute)| {
        let from = Some(Expression { property: attribute.property.to_owned() });
        (field.to_owned(), FieldRule { from, clear_when_blank: false, local_only: false })
    });
    built_in.chain(fields.0.iter().map(|(name, rule)| (name.clone(), rule.clone()))).collect()
}

fn map_field(mapped: &mut MappedFields, profile: &Profile, name: String, rule: &FieldRule, default: Option<&Value>) {
    let Some(from) = rule.from.as_ref().filter(|_| !rule.local_only) else {
        mapped.sources.insert(name, "local".to_owned());
        return;
    };
    let (value, source) = match evaluate(profile, from.property()) {
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

fn evaluate(profile: &Profile, property: &str) -> Result<Found, &'static str> {
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
