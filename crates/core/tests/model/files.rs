//! The rules file: design, Surface; M11; BI-55.

use lockstep_core::field::FieldMap;
use lockstep_core::record::Kind;
use lockstep_core::rules_file::{RulesFile, RulesFileError};
use lockstep_core::settings::{Defaults, Settings, UsernameStyle};
use serde_json::json;

use crate::world::*;

const WHOLE: &str = r#"
[[rule]]
group = "00000000-0000-0000-0000-000000000010"
order = 10
kind = "employee"
role = "agent"
permissions = ["tickets", "assets"]

[[rule]]
group = "00000000-0000-0000-0000-000000000013"
order = 20
kind = "contact"
nested = false

[[rule]]
group = "00000000-0000-0000-0000-000000000012"
exclude = true

[defaults.employee]
office = "Head office"

[fields]
job_title = "user.jobTitle"
phone = { from = "user.mobilePhone", clear_when_blank = true }
notes = { local_only = true }

[settings]
username = "upn"
number_usernames = true

[settings.brake]
lost_scope_people = 5
"#;

#[test]
fn a_whole_file_is_understood() {
    let file = RulesFile::parse(WHOLE).expect("a good file");
    assert_eq!(file.rules.len(), 3);
    let [agents, clients, banned] = &file.rules[..] else { panic!("three rules") };
    assert_eq!((agents.group, agents.order, agents.kind, agents.nested), (object(STAFF), 10, Kind::Employee, true));
    assert_eq!((agents.role.as_deref(), agents.permissions.len()), (Some("agent"), 2));
    assert_eq!((clients.kind, clients.nested, clients.exclude), (Kind::Contact, false, false));
    assert_eq!((banned.exclude, banned.order), (true, 0));
    assert_eq!(file.defaults.of(Kind::Employee)["office"], "Head office");
    assert_eq!(file.settings.username, UsernameStyle::Upn);
    assert!(file.settings.number_usernames);
    assert_eq!((file.settings.brake.lost_scope_people, file.settings.brake.revoked_people), (5, 50));
    let phone = &file.fields.0["phone"];
    assert_eq!(
        (phone.from.as_ref().map(ToString::to_string).as_deref(), phone.clear_when_blank),
        (Some("user.mobilePhone"), true)
    );
    assert!(file.fields.0["notes"].local_only);
    let rule = agents.clone().into_rule("Staff".to_owned(), Some(seconds(1)));
    assert_eq!((rule.group, rule.group_created_at), (object(STAFF), Some(seconds(1))));
}

#[test]
fn an_empty_file_is_a_file_of_defaults() {
    assert_eq!(RulesFile::parse("").expect("a file"), RulesFile::default());
}

#[test]
fn what_is_wrong_is_refused_with_its_place_and_what_to_do() {
    const RULE: &str = "[[rule]]\ngroup = \"00000000-0000-0000-0000-000000000010\"\norder = 1\nkind = \"employee\"\n";
    let cases = [
        ("[[rules]]\n", 1, 3, "rules"),
        ("[settings]\nusrname = \"upn\"\n", 2, 1, "usrname"),
        ("[settings]\nusername = \"nick\"\n", 2, 12, "local-part"),
        ("[settings.brake]\nlost_scope_poeple = 1\n", 2, 1, "lost_scope_poeple"),
        ("[settings.brake]\ninstallation_people = 100000\n", 2, 1, "installation_people"),
        ("[settings.brake]\nlost_scope_people = -1\n", 2, 21, "-1"),
        ("[[rule]]\ngroup = \"staff\"\norder = 1\nkind = \"employee\"\n", 2, 9, "object id"),
        ("[[rule]]\ngroup = \"00000000-0000-0000-0000-000000000010\"\norder = 1\n", 1, 1, "kind"),
        ("[[rule]]\ngroup = \"00000000-0000-0000-0000-000000000010\"\nkind = \"contact\"\n", 1, 1, "order"),
        (&format!("{RULE}colour = 1\n"), 5, 1, "colour"),
        (&format!("{RULE}{RULE}"), 6, 9, "at most one"),
        ("[fields]\ntitle = \"user.jobtitle\"\n", 2, 15, "user.jobTitle"),
        ("[fields]\ntitle = \"jobTitle\"\n", 2, 10, "user.jobTitle"),
        ("[fields]\ntitle = { from = \"user.nothing\" }\n", 2, 24, "no such property"),
        ("[fields]\ntitle = { form = \"user.city\" }\n", 2, 9, "form"),
        ("[fields]\ntitle = { local_only = 1 }\n", 2, 9, "true or false"),
        ("[fields]\ntitle = {}\n", 2, 9, "local_only"),
        ("[fields]\ntitle = 7\n", 2, 9, "expression"),
        ("[fields]\nemail = \"user.mail\"\n", 2, 1, "remove"),
        ("[defaults.employees]\n", 1, 11, "employees"),
        ("order = \n", 1, 9, ""),
    ];
    for (text, line, column, says) in cases {
        let error = RulesFile::parse(text).expect_err(text);
        let RulesFileError { line: at_line, column: at_column, problem } = &error;
        assert_eq!((*at_line, *at_column), (line, column), "{text}{error}");
        assert!(problem.contains(says), "{text}{error}");
    }
}

#[test]
fn what_the_store_keeps_comes_back_the_same() {
    let file = RulesFile::parse(WHOLE).expect("a good file");
    let json = json!({"settings": file.settings, "defaults": file.defaults, "fields": file.fields});
    assert_eq!(serde_json::from_value::<Settings>(json["settings"].clone()).expect("settings"), file.settings);
    assert_eq!(serde_json::from_value::<Defaults>(json["defaults"].clone()).expect("defaults"), file.defaults);
    assert_eq!(serde_json::from_value::<FieldMap>(json["fields"].clone()).expect("fields"), file.fields);
    assert_eq!(serde_json::from_value::<Settings>(json!({})).expect("settings"), Settings::default());
}
