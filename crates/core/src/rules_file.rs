//! The rules file: which groups give what, defaults, field mapping, settings (design, Surface).
//!
//! Everything wrong is refused with its line and column, unknown keys included: a misspelt key must not silently mean
//! "the default".

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::error::ErrorClass;
use crate::field::FieldMap;
use crate::id::ObjectId;
use crate::record::Kind;
use crate::rule::Rule;
use crate::settings::{Defaults, Settings};
use crate::timestamp::Timestamp;

mod fields;
mod place;

/// A rules file that was understood as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RulesFile {
    /// `[[rule]]`, in the order of the file.
    pub rules: Vec<RuleSpec>,
    /// `[defaults.employee]`, `[defaults.contact]`.
    pub defaults: Defaults,
    /// `[fields]`.
    pub fields: FieldMap,
    /// `[settings]`.
    pub settings: Settings,
}

/// One `[[rule]]`, before the group was read from Graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleSpec {
    /// The mapped security group.
    pub group: ObjectId,
    /// Lowest wins.
    pub order: i64,
    /// Kind of record; means nothing in an exclude rule.
    pub kind: Kind,
    /// Role given.
    pub role: Option<String>,
    /// Module permissions given.
    pub permissions: Vec<String>,
    /// Members of groups inside count too.
    pub nested: bool,
    /// Members have no access, whatever the other rules say.
    pub exclude: bool,
}

impl RuleSpec {
    /// The rule, with what Graph says of its group.
    pub fn into_rule(self, group_name: String, group_created_at: Option<Timestamp>) -> Rule {
        Rule {
            group: self.group,
            order: self.order,
            kind: self.kind,
            role: self.role,
            permissions: self.permissions,
            nested: self.nested,
            exclude: self.exclude,
            group_name,
            group_created_at,
        }
    }
}

/// What is wrong with a rules file, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading the rules file: line {line}, column {column}: {problem}")]
pub struct RulesFileError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In plain words.
    pub problem: String,
}

impl RulesFileError {
    /// A person must change the file.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }
}

impl RulesFile {
    /// Reads the text of a rules file.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn parse(text: &str) -> Result<Self, RulesFileError> {
        let written: Written = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            fault(text, at, error.message().trim().to_owned())
        })?;
        Ok(Self {
            rules: rules(text, written.rule)?,
            fields: fields::read(text, written.fields)?,
            defaults: fields::check_defaults(text, written.defaults)?,
            settings: written.settings,
        })
    }
}

/// The file as written; what serde cannot check is checked after.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    rule: Vec<Spanned<WrittenRule>>,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    fields: BTreeMap<Spanned<String>, Spanned<toml::Value>>,
    #[serde(default)]
    settings: Settings,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    group: Spanned<String>,
    order: Option<i64>,
    kind: Option<Kind>,
    role: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
    #[serde(default = "yes")]
    nested: bool,
    #[serde(default)]
    exclude: bool,
}

fn yes() -> bool {
    true
}

fn rules(text: &str, written: Vec<Spanned<WrittenRule>>) -> Result<Vec<RuleSpec>, RulesFileError> {
    let mut seen = BTreeSet::new();
    let mut rules = Vec::with_capacity(written.len());
    for rule in written {
        let group_at = rule.get_ref().group.span().start;
        let spec = rule_spec(text, rule)?;
        if !seen.insert(spec.group) {
            let problem = format!("group {} has a rule already; a group has at most one", spec.group);
            return Err(fault(text, group_at, problem));
        }
        rules.push(spec);
    }
    Ok(rules)
}

fn rule_spec(text: &str, rule: Spanned<WrittenRule>) -> Result<RuleSpec, RulesFileError> {
    let rule_at = rule.span().start;
    let rule = rule.into_inner();
    let group = rule.group.get_ref().parse().map_err(|_| {
        let problem = "`group` is the group's object id, of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx (Entra shows it \
                       on the group's overview page)";
        fault(text, rule.group.span().start, problem.to_owned())
    })?;
    let missing = |key: &str, say: &str| fault(text, rule_at, format!("this rule has no `{key}`; write {say}"));
    let order = match rule.order {
        Some(order) => order,
        None if rule.exclude => 0,
        None => return Err(missing("order", "`order = 10`; the lowest wins")),
    };
    let kind = match rule.kind {
        Some(kind) => kind,
        None if rule.exclude => Kind::Employee,
        None => {
            return Err(missing("kind", "`kind = \"employee\"` or `kind = \"contact\"`"));
        }
    };
    let WrittenRule { role, permissions, nested, exclude, .. } = rule;
    Ok(RuleSpec { group, order, kind, role, permissions, nested, exclude })
}

fn fault(text: &str, at: usize, problem: String) -> RulesFileError {
    let before = text.get(..at.min(text.len())).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    RulesFileError { line, column, problem }
}
