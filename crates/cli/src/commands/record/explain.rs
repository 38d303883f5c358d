//! `lockstep record explain`: why somebody has the access they have, in one screen.

use lockstep_core::explain::{Explanation, RuleShown, UserShown};
use serde_json::Value;

use super::{named_record, plain};
use crate::app::App;
use crate::failure::Outcome;
use crate::output::{self, Format, or_dash};
use crate::word::word;

pub async fn explain(app: &App, name: &str) -> Outcome {
    let store = app.store().await?;
    let record = named_record(&store, name).await?;
    let source = store.explain_source(record.id).await?.ok_or_else(|| super::missing(name))?;
    let explanation = source.explanation();
    if app.format == Format::Json {
        return output::json(&explanation);
    }
    output::line(&shown(&explanation))
}

fn shown(explanation: &Explanation) -> String {
    let mut parts = vec![person(explanation)];
    let mut add = |columns: &[&str], rows: Vec<Vec<String>>| {
        if !rows.is_empty() {
            parts.push(output::table(columns, rows.into_iter()));
        }
    };
    let groups = explanation.groups.iter();
    let groups = groups.map(|group| vec![group.name.clone(), group.id.to_string(), group.chain.join(" > ")]);
    add(&["in group", "id", "by way of"], groups.collect());
    add(&["order", "rule for", "outcome", "why"], explanation.rules.iter().map(rule).collect());
    // What Entra leaves empty is in the JSON; here it would hide what there is.
    let filled = explanation.fields.iter().filter(|field| !field.value.is_null());
    let fields = filled.map(|field| vec![field.name.clone(), plain(&field.value), field.source.clone()]);
    add(&["field", "value", "from"], fields.collect());
    let holds = explanation.holds.iter().map(|hold| texts(hold, ["id", "opened_at", "cause", "limit"]));
    add(&["held by", "since", "cause", "limit"], holds.collect());
    let reviews = explanation.reviews.iter().map(|review| texts(review, ["id", "kind", "choices"]));
    add(&["review", "asks", "choices"], reviews.collect());
    parts.join("\n\n")
}

fn person(explanation: &Explanation) -> String {
    let record = &explanation.record;
    let access = if explanation.access.granted { "yes" } else { "no" };
    let field = |name: &str| plain(&record[name]);
    let mut lines = vec![
        ("access", format!("{access}: {}", explanation.access.why)),
        ("record", format!("{}, {}, {}", field("id"), field("kind"), field("status"))),
        ("role", field("role")),
        ("permissions", list(&record["permissions"])),
        ("email", field("email")),
        ("username", field("username")),
        ("connection", field("connection")),
    ];
    match &explanation.user {
        None => lines.push(("Microsoft", "nobody is linked to this record".to_owned())),
        Some(user) => lines.extend(facts_of(user, field("entra_id"))),
    }
    if let Some(look) = &explanation.next_look {
        lines.push(("next look", format!("{} ({})", look.at, look.reason.replace('_', " "))));
    }
    output::pairs(&lines)
}

fn facts_of(user: &UserShown, id: String) -> [(&'static str, String); 4] {
    let enabled = match user.enabled {
        _ if user.deleted => "deleted",
        Some(true) => "enabled",
        Some(false) => "disabled",
        None => "not told whether enabled",
    };
    let kind = user.user_type.map_or_else(|| "-".to_owned(), word);
    let how = if user.read_by_id { "by id" } else { "by a listing" };
    [
        ("Microsoft", format!("{enabled}, {kind}")),
        ("entra id", id),
        ("profile read", format!("{} {how}", or_dash(user.verified_at.as_ref()))),
        ("groups read", format!("{} by id", or_dash(user.groups_read_at.as_ref()))),
    ]
}

fn rule(rule: &RuleShown) -> Vec<String> {
    let name = if rule.group_name.is_empty() { rule.group.to_string() } else { rule.group_name.clone() };
    vec![rule.order.to_string(), name, word(rule.outcome).replace('_', " "), rule.why.clone()]
}

fn texts<const N: usize>(view: &Value, names: [&str; N]) -> Vec<String> {
    names.iter().map(|name| list(&view[*name])).collect()
}

fn list(value: &Value) -> String {
    match value.as_array() {
        Some(items) if items.is_empty() => "-".to_owned(),
        Some(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        None => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_core::desired::Outcome as Ruled;
    use lockstep_core::explain::{AccessShown, FieldShown, GroupShown, LookShown};
    use lockstep_core::profile::UserType;
    use lockstep_core::{ObjectId, Timestamp};
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    fn group(n: u128) -> ObjectId {
        ObjectId(Uuid::from_u128(n))
    }

    /// Issue 5, item 10: user state, groups and chains, rules in order, winner, tie-break, fields, reads, holds, reviews.
    #[test]
    fn an_explanation_fits_one_screen_and_says_everything() {
        let at = Timestamp::from_micros(1_790_000_000_000_000);
        let rule = |n, name: &str, outcome, why: &str| RuleShown {
            order: 10,
            group: group(n),
            group_name: name.to_owned(),
            outcome,
            why: why.to_owned(),
        };
        let explanation = Explanation {
            record: json!({"id": "r1", "kind": "employee", "status": "active", "role": "Technician",
                "permissions": ["tickets", "time"], "email": "ada@contoso.example", "username": "ada",
                "connection": "contoso", "entra_id": "u1"}),
            access: AccessShown { granted: true, why: "by the rule for Staff (order 10)".to_owned() },
            user: Some(UserShown {
                enabled: Some(true),
                deleted: false,
                user_type: Some(UserType::Member),
                verified_at: Some(at),
                read_by_id: true,
                groups_read_at: Some(at),
            }),
            groups: vec![GroupShown {
                id: group(1),
                name: "Staff".to_owned(),
                chain: vec!["Staff".to_owned(), "Field team".to_owned()],
            }],
            rules: vec![
                rule(1, "Staff", Ruled::Won, "first rule in order that applies"),
                rule(2, "Managers", Ruled::Lost, "same order; group Staff is older"),
                rule(3, "Portal", Ruled::NotMember, "not a member"),
            ],
            fields: vec![
                FieldShown {
                    name: "team".to_owned(),
                    value: json!("North"),
                    source: "before(user.department, '/')".to_owned(),
                },
                FieldShown { name: "office".to_owned(), value: Value::Null, source: "user.officeLocation".to_owned() },
            ],
            holds: vec![
                json!({"id": "h1", "opened_at": "2026-11-21T08:00:00.000Z", "cause": "lost_scope", "limit": "lost scope: 20 people in 30 minutes"}),
            ],
            reviews: vec![json!({"id": "v1", "kind": "link", "choices": ["link", "keep_apart"]})],
            next_look: Some(LookShown { at, reason: "scope_agree".to_owned() }),
        };
        let expected = "\
access        yes: by the rule for Staff (order 10)
record        r1, employee, active
role          Technician
permissions   tickets, time
email         ada@contoso.example
username      ada
connection    contoso
Microsoft     enabled, member
entra id      u1
profile read  2026-09-21T14:13:20.000Z by id
groups read   2026-09-21T14:13:20.000Z by id
next look     2026-09-21T14:13:20.000Z (scope agree)

IN GROUP  ID                                    BY WAY OF
Staff     00000000-0000-0000-0000-000000000001  Staff > Field team

ORDER  RULE FOR  OUTCOME     WHY
10     Staff     won         first rule in order that applies
10     Managers  lost        same order; group Staff is older
10     Portal    not member  not a member

FIELD  VALUE  FROM
team   North  before(user.department, '/')

HELD BY  SINCE                     CAUSE       LIMIT
h1       2026-11-21T08:00:00.000Z  lost_scope  lost scope: 20 people in 30 minutes

REVIEW  ASKS  CHOICES
v1      link  link, keep_apart";
        let screen = shown(&explanation);
        let screen: Vec<&str> = screen.lines().map(str::trim_end).collect();
        assert_eq!(screen.join("\n"), expected);
    }
}
