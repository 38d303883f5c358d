//! The rules of a history: as the model has them, and as Lockstep is given them.

use lockstep_core::ObjectId;
use lockstep_core::record::Kind;
use lockstep_core::rule::Rule;
use lockstep_tests::model::{ModelRule, ModelRules};
use uuid::Uuid;

/// Managers before staff, clients beside them; maybe nobody who is suspended; maybe staff are contacts too (M7).
pub fn rules(groups: &[Uuid], portal: Uuid, exclude: bool, nested: bool, lent_out: bool) -> ModelRules {
    let employees =
        |group: usize, role, exclude| ModelRule { group: groups[group], kind: Kind::Employee, role, nested, exclude };
    let clients = ModelRule { group: portal, kind: Kind::Contact, role: "Client", nested, exclude: false };
    let staff_kind = if lent_out { Kind::Contact } else { Kind::Employee };
    let staff = ModelRule { kind: staff_kind, ..employees(1, "Technician", false) };
    let mut rules = vec![employees(0, "Manager", false), staff, clients];
    if exclude {
        rules.insert(0, employees(3, "", true));
    }
    rules
}

/// In this order.
pub fn written(rules: &[ModelRule]) -> Vec<Rule> {
    (10..).step_by(10).zip(rules).map(|(order, rule)| one(rule, order)).collect()
}

fn one(rule: &ModelRule, order: i64) -> Rule {
    Rule {
        group: ObjectId(rule.group),
        order,
        kind: rule.kind,
        role: (!rule.exclude).then(|| rule.role.to_owned()),
        permissions: Vec::new(),
        nested: rule.nested,
        exclude: rule.exclude,
        group_name: rule.role.to_owned(),
        group_created_at: None,
    }
}
