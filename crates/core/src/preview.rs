//! What a plan means for somebody, in the words of `rule plan` (M12): the same engine as the sync, with the writing side
//! absent.

use serde::Serialize;
use serde_json::{Value, json};

use crate::desired::Grant;
use crate::plan::{Changes, Plan, Step};
use crate::record::{Reason, Record, Status};

/// What would become of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outlook {
    /// Access would be taken.
    Deactivated,
    /// The winning rule gives another kind of record.
    KindChanged,
    /// Another role or other permissions.
    RoleChanged,
    /// Access would come back to a record that has none now.
    Reactivated,
    /// A record of their own would be created.
    Created,
    /// An existing record would be linked to them.
    Linked,
    /// A person must decide first.
    Review,
    /// Only mapped attributes change.
    AttributesChanged,
    /// Nothing changes.
    Unchanged,
}

/// One value that would change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangedValue {
    /// `kind`, `role`, `permissions`, `reasons`, `email`, `username`, `display_name` or `fields.<name>`.
    pub field: String,
    /// What the record has now.
    pub before: Value,
    /// What it would have.
    pub after: Value,
}

/// What would become of one person, and in which values.
#[derive(Clone, Debug, PartialEq)]
pub struct Foreseen {
    /// The bucket.
    pub outlook: Outlook,
    /// What differs; of a new record nothing is listed.
    pub changes: Vec<ChangedValue>,
}

/// What this plan would do to somebody with this record. `None`: a stranger who stays one.
pub fn foresee(record: Option<&Record>, plan: &Plan) -> Option<Foreseen> {
    let Some(record) = record else {
        return entering(plan).map(|outlook| Foreseen { outlook, changes: Vec::new() });
    };
    let outlook = outlook_of(record, plan);
    let changes = match outlook {
        Outlook::Unchanged => Vec::new(),
        _ => changes(record, plan),
    };
    Some(Foreseen { outlook, changes })
}

fn entering(plan: &Plan) -> Option<Outlook> {
    let steps = |wanted: fn(&Step) -> bool| plan.steps.iter().any(wanted);
    if steps(|step| matches!(step, Step::Create(_))) {
        return Some(Outlook::Created);
    }
    if steps(|step| matches!(step, Step::Link { .. } | Step::Rehire { .. } | Step::Merge(_))) {
        return Some(Outlook::Linked);
    }
    (!plan.reviews.is_empty()).then_some(Outlook::Review)
}

fn outlook_of(record: &Record, plan: &Plan) -> Outlook {
    if record.root || record.status == Status::Archived {
        return Outlook::Unchanged;
    }
    let stays_out = !plan.desired.reasons.is_empty();
    match (record.status, &plan.desired.grant) {
        (Status::Active, _) if stays_out => Outlook::Deactivated,
        (_, None) => Outlook::Unchanged,
        (_, Some(grant)) if grant.kind != record.kind => Outlook::KindChanged,
        (Status::Inactive, Some(_)) if !stays_out && comes_back(record, plan) => Outlook::Reactivated,
        (_, Some(grant)) if other_access(record, grant) => Outlook::RoleChanged,
        _ if !plan.reviews.is_empty() => Outlook::Review,
        _ if attributes(plan).is_some_and(|changes| !changes.is_empty()) => Outlook::AttributesChanged,
        _ => Outlook::Unchanged,
    }
}

/// Only the sync's own reasons keep them out, and none of those holds any longer.
fn comes_back(record: &Record, plan: &Plan) -> bool {
    plan.desired.unknown.is_none() && record.reasons.iter().all(|reason| Reason::SYNCED.contains(reason))
}

fn other_access(record: &Record, grant: &Grant) -> bool {
    grant.role != record.role || grant.permissions != record.permissions
}

fn attributes(plan: &Plan) -> Option<&Changes> {
    plan.steps.iter().find_map(|step| match step {
        Step::Update(changes) => Some(changes),
        _ => None,
    })
}

fn changes(record: &Record, plan: &Plan) -> Vec<ChangedValue> {
    let mut all = Vec::new();
    let mut differs = |field: &str, before: Value, after: Value| {
        if before != after {
            all.push(ChangedValue { field: field.to_owned(), before, after });
        }
    };
    if record.status == Status::Inactive || !plan.desired.reasons.is_empty() {
        differs("reasons", json!(record.reasons), json!(plan.desired.reasons));
    }
    if let Some(grant) = &plan.desired.grant {
        differs("kind", json!(record.kind), json!(grant.kind));
        differs("role", json!(record.role), json!(grant.role));
        differs("permissions", json!(record.permissions), json!(grant.permissions));
    }
    if let Some(changes) = attributes(plan) {
        let texts = [
            ("email", &record.email, &changes.email),
            ("username", &record.username, &changes.username),
            ("display_name", &record.display_name, &changes.display_name),
        ];
        for (field, before, after) in texts {
            if let Some(after) = after {
                differs(field, json!(before), json!(after));
            }
        }
        for (name, after) in &changes.fields {
            let before = record.fields.get(name).cloned().unwrap_or(Value::Null);
            differs(&format!("fields.{name}"), before, after.clone());
        }
    }
    all
}
