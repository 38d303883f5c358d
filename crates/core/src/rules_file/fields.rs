//! `[fields]` and `[defaults.*]`: what the file says of the fields of a record.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;

use super::{RulesFileError, fault, place};
use crate::expression::{Expression, Type};
use crate::field::{self, DISPLAY_NAME, FieldMap, FieldRule};
use crate::record::Kind;
use crate::settings::Defaults;

/// Fields of one file: each is worked out for every person.
const MAX_FIELDS: usize = 200;

pub(super) fn read(
    text: &str,
    written: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
) -> Result<FieldMap, RulesFileError> {
    let mut fields = BTreeMap::new();
    for (name, value) in written {
        let name_at = name.span().start;
        let name = name.into_inner();
        if is_own(&name) {
            return Err(fault(text, name_at, format!("{OWN_FIELDS}; remove this line")));
        }
        if fields.len() >= MAX_FIELDS {
            return Err(fault(text, name_at, format!("a file has at most {MAX_FIELDS} fields")));
        }
        let at = value.span().start;
        let rule = match value.into_inner() {
            toml::Value::String(from) => {
                let from = expression(text, &name, &["fields", &name], at, &from)?;
                FieldRule { from: Some(from), clear_when_blank: false, local_only: false }
            }
            toml::Value::Table(table) => field_rule(text, &name, at, &table)?,
            _ => {
                return Err(fault(text, at, "write an expression, or `{ from = \"user.jobTitle\" }`".to_owned()));
            }
        };
        fields.insert(name, rule);
    }
    Ok(FieldMap(fields))
}

const OWN_FIELDS: &str = "`email` follows `user.mail` and `username` follows `username` in [settings]";

fn is_own(name: &str) -> bool {
    matches!(name, "email" | "username")
}

fn field_rule(text: &str, name: &str, at: usize, table: &toml::Table) -> Result<FieldRule, RulesFileError> {
    const KEYS: [&str; 3] = ["from", "clear_when_blank", "local_only"];
    if let Some(unknown) = table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        let problem = format!("unknown key `{unknown}`; a field takes `from`, `clear_when_blank` and `local_only`");
        return Err(fault(text, at, problem));
    }
    let flag = |key: &str| match table.get(key) {
        None => Ok(false),
        Some(toml::Value::Boolean(flag)) => Ok(*flag),
        Some(_) => Err(fault(text, at, format!("`{key}` is true or false"))),
    };
    let (clear_when_blank, local_only) = (flag("clear_when_blank")?, flag("local_only")?);
    let from = match table.get("from") {
        Some(toml::Value::String(from)) => Some(expression(text, name, &["fields", name, "from"], at, from)?),
        Some(_) => {
            return Err(fault(text, at, "`from` is an expression in quotes".to_owned()));
        }
        None if local_only => None,
        None => {
            return Err(fault(text, at, "write `from = \"user.…\"`, or `local_only = true`".to_owned()));
        }
    };
    Ok(FieldRule { from, clear_when_blank, local_only })
}

/// `path` leads to the expression in the file; `at` is where to point if it cannot be followed.
fn expression(text: &str, name: &str, path: &[&str], at: usize, from: &str) -> Result<Expression, RulesFileError> {
    let place_of = |position| place::of_value(text, path).map_or(at, |quote| place::within_text(text, quote, position));
    let parsed = Expression::parse(from).map_err(|error| fault(text, place_of(error.position), error.why))?;
    if name == DISPLAY_NAME && parsed.gives() != Type::Text {
        let problem = format!("a display name is a text, and this gives {}", parsed.gives());
        return Err(fault(text, place_of(0), problem));
    }
    Ok(parsed)
}

/// A default is written as it stands: it must be something that a record can hold.
pub(super) fn check_defaults(text: &str, defaults: Defaults) -> Result<Defaults, RulesFileError> {
    for (section, kind) in [("employee", Kind::Employee), ("contact", Kind::Contact)] {
        for (name, value) in defaults.of(kind) {
            let problem = match value {
                _ if is_own(name) => OWN_FIELDS,
                Value::String(text) => match field::clean(text, true) {
                    Ok(_) => continue,
                    Err(why) => why,
                },
                Value::Bool(_) | Value::Number(_) if name != DISPLAY_NAME => continue,
                Value::Array(items) if name != DISPLAY_NAME && items.iter().all(Value::is_string) => continue,
                _ if name == DISPLAY_NAME => "a display name is a text",
                _ => "a default is a text, a number, true or false, or a list of texts",
            };
            let at = place::of_key(text, &["defaults", section, name]).unwrap_or(0);
            return Err(fault(text, at, problem.to_owned()));
        }
    }
    Ok(defaults)
}
