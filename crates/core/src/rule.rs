//! Mapping rules: security group → kind of record, role, permissions; with an order (M1, M2, M6, M10).

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::error::ErrorClass;
use crate::id::ObjectId;
use crate::record::Kind;
use crate::timestamp::Timestamp;

/// One rule. A group has at most one rule in a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The mapped security group.
    pub group: ObjectId,
    /// Lowest wins.
    pub order: i64,
    /// Kind of record this rule gives; ignored by exclude rules.
    pub kind: Kind,
    /// Role given; `None` leaves the record without one.
    pub role: Option<String>,
    /// Module permissions given.
    pub permissions: Vec<String>,
    /// Members of groups inside the group count too.
    pub nested: bool,
    /// Beats every include: members have no access.
    pub exclude: bool,
    /// `displayName` when the rule was applied; shown, never compared.
    pub group_name: String,
    /// `createdDateTime` in Entra: breaks ties of equal order (M2). `None` sorts last.
    pub group_created_at: Option<Timestamp>,
}

/// The rules of one connection in their total order: order, then the older group, then the smaller object id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleSet {
    /// Raised by every apply; facets and decisions carry it.
    pub version: i64,
    rules: Vec<Rule>,
}

impl RuleSet {
    /// Sorts the rules into their total order (M2); storage order and names never matter.
    ///
    /// # Errors
    /// [`RuleError::TwoRulesForOneGroup`]: a group has at most one rule in a connection.
    pub fn build(version: i64, mut rules: Vec<Rule>) -> Result<Self, RuleError> {
        let mut seen = BTreeSet::new();
        if let Some(twice) = rules.iter().find(|rule| !seen.insert(rule.group)) {
            return Err(RuleError::TwoRulesForOneGroup { group: twice.group });
        }
        rules.sort_by(precedence);
        Ok(Self { version, rules })
    }

    /// In their total order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule of this group.
    pub fn lookup(&self, group: ObjectId) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.group == group)
    }

    /// The same for rules that decide alike: names of groups, and the numbers that put them in their order, are left out.
    pub fn fingerprint(&self) -> String {
        let deciding = |rule: &Rule| {
            let Rule { group, kind, role, permissions, nested, exclude, .. } = rule;
            json!([group, kind, role, permissions, nested, exclude])
        };
        let rules: Vec<Value> = self.rules.iter().map(deciding).collect();
        let digest = Sha256::digest(Value::from(rules).to_string());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Every mapped group, in the order of the rules.
    pub fn groups(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.rules.iter().map(|rule| rule.group)
    }
}

/// Order, then the older group, then the smaller object id. A group whose age is not known sorts last: it cannot claim
/// to be the older one.
fn precedence(a: &Rule, b: &Rule) -> Ordering {
    let age = |rule: &Rule| (rule.group_created_at.is_none(), rule.group_created_at);
    a.order.cmp(&b.order).then_with(|| age(a).cmp(&age(b))).then_with(|| a.group.cmp(&b.group))
}

/// Names that no rule gives, whatever the operator allows: they mean what only the host has (TH-10, G-24).
const RESERVED: [&str; 2] = ["root", "console_admin"];

/// The roles and permissions that the rules of one connection may give: the operator's list, not the customer's (TH-10).
/// Without one, whatever the rules name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grantable(pub Option<BTreeSet<String>>);

impl Grantable {
    /// Refuses rules that give more than this.
    ///
    /// # Errors
    /// [`RuleError::NotGrantable`] names the first.
    pub fn check(&self, rules: &[Rule]) -> Result<(), RuleError> {
        let given = |rule: &Rule| rule.role.iter().chain(&rule.permissions).find(|name| !self.allows(name)).cloned();
        match rules.iter().find_map(|rule| given(rule).map(|name| (rule.group, name))) {
            Some((group, name)) => Err(RuleError::NotGrantable { group, name }),
            None => Ok(()),
        }
    }

    /// A reserved name is one however it is written; the operator's names are compared as they stand.
    fn allows(&self, name: &str) -> bool {
        let plain = name.trim().to_lowercase().replace([' ', '-'], "_");
        !RESERVED.contains(&plain.as_str()) && self.0.as_ref().is_none_or(|names| names.contains(name))
    }
}

/// Rules that cannot stand together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A group has at most one rule in a connection.
    #[error("building the rules: group {group} has two rules; keep one of them")]
    TwoRulesForOneGroup {
        /// The group.
        group: ObjectId,
    },
    /// More than the operator lets this connection give (TH-10).
    #[error(
        "building the rules: the rule of group {group} gives `{name}`, which this connection may not give; `lockstep connection show` says what it may"
    )]
    NotGrantable {
        /// The group.
        group: ObjectId,
        /// The role or permission.
        name: String,
    },
}

impl RuleError {
    /// A person must change the rules.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::TwoRulesForOneGroup { .. } | Self::NotGrantable { .. } => ErrorClass::Permanent,
        }
    }
}
