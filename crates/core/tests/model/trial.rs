//! `rule try`: issue 5, "tried on a chosen user"; M2, M11, G-11.

use lockstep_core::ObjectId;
use lockstep_core::desired::Outcome;
use lockstep_core::record::{Kind, Reason};
use lockstep_core::rule::{Rule, RuleSet};
use lockstep_core::rules_file::RulesFile;
use lockstep_core::trial::{FieldSource, Member, Trial, Tried, try_on};
use serde_json::{Value, json};

use crate::world::*;

const FILE: &str = r#"
[defaults.employee]
office = "Head office"
[fields]
team = "before(user.department, '/')"
broken = "date(user.jobTitle)"
empty = { from = "upper(user.city)", clear_when_blank = true }
notes = { local_only = true }
"#;

fn tried(changes: Value, groups: &[(u128, Option<bool>)], rules: &RuleSet) -> Trial {
    let file = RulesFile::parse(FILE).expect("a good file");
    let person = Tried {
        profile: &profile(changes),
        groups: &self::groups(groups),
        rules,
        fields: &file.fields,
        defaults: &file.defaults,
        settings: &file.settings,
        guests: false,
    };
    try_on(&person, seconds(1))
}

fn outcomes(trial: &Trial) -> Vec<(ObjectId, Outcome, Option<Member>)> {
    trial.rules.iter().map(|rule| (rule.ruling.group, rule.ruling.outcome, rule.member)).collect()
}

#[test]
fn m11_every_field_is_shown_with_its_expression_value_or_error() {
    let changes = json!({"department": "Sales/North", "city": null, "officeLocation": null});
    let trial = tried(changes, &[(STAFF, Some(true))], &house_rules());
    let field = |name: &str| trial.fields.iter().find(|field| field.name == name).expect(name);
    assert_eq!((trial.access, trial.kind), (true, Some(Kind::Employee)));
    assert_eq!(field("email").value, "Ada@fabrikam.example");
    assert_eq!(field("username").value, "Ada");
    assert_eq!((&field("team").value, field("team").source), (&json!("Sales"), FieldSource::Expression));
    assert_eq!(field("team").expression.as_deref(), Some("before(user.department, '/')"));
    assert_eq!(field("broken").error.as_deref(), Some("the value is not a date"));
    assert_eq!((&field("broken").value, field("broken").source), (&Value::Null, FieldSource::Nowhere));
    assert_eq!(field("empty").source, FieldSource::Cleared);
    assert_eq!(field("notes").source, FieldSource::Local);
    assert_eq!((&field("office").value, field("office").source), (&json!("Head office"), FieldSource::Default));
    assert_eq!(field("job_title").expression.as_deref(), Some("user.jobTitle"), "built-in ones too");
}

#[test]
fn m2_the_winner_the_losers_and_the_tie_break_are_shown() {
    let twin = Rule { group_created_at: Some(seconds(2000)), ..rule(CLIENTS, 20) };
    let rules = RuleSet::build(1, vec![rule(STAFF, 20), twin, rule(ADMINS, 5)]).expect("rules");
    let trial = tried(json!({}), &[(STAFF, Some(false)), (CLIENTS, Some(true))], &rules);
    assert_eq!(
        outcomes(&trial),
        [
            (object(ADMINS), Outcome::NotMember, None),
            (object(STAFF), Outcome::Won, Some(Member::Nested)),
            (object(CLIENTS), Outcome::Lost, Some(Member::Direct)),
        ]
    );
    assert_eq!(trial.winner().map(|rule| rule.ruling.group), Some(object(STAFF)));
    let why = &trial.rules.last().expect("three").ruling.why;
    assert!(why.contains("older"), "{why}");
}

#[test]
fn nobody_without_a_rule_or_with_a_reason_against_has_access() {
    let nowhere = tried(json!({}), &[], &house_rules());
    assert_eq!((nowhere.access, nowhere.reasons, nowhere.kind), (false, vec![Reason::OutOfScope], None));
    assert!(nowhere.fields.iter().any(|field| field.name == "employee_id"), "an employee's fields all the same");
    let disabled = tried(json!({"accountEnabled": false}), &[(STAFF, Some(true))], &house_rules());
    assert_eq!((disabled.access, disabled.reasons), (false, vec![Reason::UpstreamDisabled]));
    let silent = tried(json!({"accountEnabled": null}), &[(STAFF, Some(true))], &house_rules());
    assert!(!silent.access, "BI-34: what Graph did not say is no yes");
    let banned = tried(json!({}), &[(STAFF, Some(true)), (BANNED, Some(true))], &house_rules());
    assert_eq!((banned.access, banned.reasons), (false, vec![Reason::OutOfScope]));
}
