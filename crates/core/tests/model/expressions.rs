//! Field expressions: M11, M4, BI-55, BI-35, G-11.

use std::time::{Duration, Instant};

use lockstep_core::expression::{Answer, BadExpression, Expression, FUNCTIONS, MAX_DEPTH, MAX_SOURCE, Type};
use lockstep_core::field::{FieldMap, FieldRule, map_fields};
use lockstep_core::plan::Changes;
use lockstep_core::profile::Profile;
use lockstep_core::record::Kind;
use lockstep_core::rules_file::RulesFile;
use lockstep_core::settings::Defaults;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::*;

fn parsed(source: &str) -> Expression {
    Expression::parse(source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// What a field filled by this expression gets.
fn field_of(source: &str, user: &Profile) -> Result<Option<Value>, String> {
    let rule = FieldRule { from: Some(parsed(source)), clear_when_blank: false, local_only: false };
    let fields = FieldMap([("field".to_owned(), rule)].into());
    let mapped = map_fields(user, Kind::Employee, &fields, &Defaults::default());
    if let Some(failed) = mapped.failed.iter().find(|failed| failed.name == "field") {
        return Err(failed.why.clone());
    }
    Ok(mapped.values.get("field").map(|value| match value {
        lockstep_core::field::Mapped::Value(value) => value.clone(),
        other => panic!("{source}: {other:?}"),
    }))
}

fn documented_user() -> Profile {
    profile(json!({
        "displayName": "Ada Example", "givenName": "Ada", "surname": "Example", "mail": "Ada@Fabrikam.example",
        "jobTitle": "Lead Agent", "department": "Sales/North", "officeLocation": null, "mobilePhone": null,
        "businessPhones": ["+1 555 0100"], "employeeId": "A-0042", "employeeHireDate": "2024-03-01T00:00:00Z",
        "preferredLanguage": "nb-NO", "otherMails": ["ada@home.example", "a@work.example"], "country": "Norway",
        "usageLocation": "NO", "city": "Oslo", "postalCode": "0150", "streetAddress": "Main Street 1\r\nBack door",
        "companyName": null, "onPremisesSyncEnabled": true, "employeeType": "Contractor",
        "userPrincipalName": "ada@fabrikam.example", "manager": {"displayName": "Grace Example", "mail": null},
    }))
}

/// `docs/rules.md` is part of the tests: every example gives what stands beside it, every function has one.
#[test]
fn m11_every_example_of_the_documentation_gives_what_it_says() {
    let document = include_str!("../../../../docs/rules.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix("` |")?.split_once("` | `"));
    let rows: Vec<(&str, &str)> = rows.filter(|(left, _)| left.contains('(') || left.contains("user.")).collect();
    assert!(rows.len() > 25, "the examples are found: {rows:?}");
    for (source, expected) in &rows {
        let value = field_of(source, &documented_user()).expect(source);
        let shown = match value {
            None => "(nothing)".to_owned(),
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
        };
        assert_eq!(&shown, expected, "{source}");
    }
    for function in FUNCTIONS {
        let named = |(source, _): &(&str, &str)| source.contains(&format!("{}(", function.name));
        assert!(rows.iter().any(named), "{} has an example in docs/rules.md", function.name);
    }
    for each in lockstep_core::attribute::ATTRIBUTES {
        let named = [format!("`{}`", each.property), format!("`user.{}`", each.property)];
        assert!(named.iter().any(|name| document.contains(name)), "{} is listed in docs/rules.md", each.property);
    }
}

#[test]
fn cel_precedence_escapes_and_words() {
    let cases = [
        ("'a' + 'b' == 'ab' && 1 + 2 * 3 == 7", json!(true)),
        ("(1 + 2) * 3 - 10 / 3 % 2", json!(8)),
        ("-5 / 2 == -2 && -5 % 2 == -1 && --1 == 1", json!(true)),
        ("!true || !!true", json!(true)),
        ("false ? 'a' : true ? 'b' : 'c'", json!("b")),
        ("'a' < 'b' && 2 >= 2 && 3 > 2 && 1 <= 1 && 1 != 2", json!(true)),
        ("'b' in ['a', 'b',] && !('c' in ['a'])", json!(true)),
        (r#""tab\t\x41é\U0001F600\101\"quote\"" + 'x'"#, json!("tab\tA\u{e9}\u{1F600}A\"quote\"x")),
        (r#"r'\d' + R"\n" + '''it's''' + """a "q" b""""#, json!(r#"\d\nit'sa "q" b"#)),
        ("0x1F + 1", json!(32)),
        ("'a' // and a comment\n + 'b'", json!("ab")),
        ("null == '' && user.mobilePhone == null && !(user.mail == null)", json!(true)),
        ("true ? null : 'x'", Value::Null),
        ("['a', 'b'] + ['c'] == ['a', 'b', 'c']", json!(true)),
        ("1 / 0 == 1 || true", json!(true)),
        ("1 / 0 == 1 && false", json!(false)),
        ("['', 'a'].exists(m, 1 / size(m) == 1) && !['', 'a'].all(m, 1 / size(m) == 2)", json!(true)),
        ("before('a/b/c', '/') + after('a/b/c', '/') + before('a', '') + after('a', '')", json!("ab/ca")),
        ("replace('aa', 'a', 'bb') + replace('a', '', 'x') + join(split('a,b', ''), '-')", json!("bbbbaa,b")),
        ("substring('aébc', 1, 3) + substring('abc', 2, 99) + substring('abc', -1, 1)", json!("ébca")),
    ];
    for (source, expected) in cases {
        let found = match parsed(source).evaluate(&documented_user()).expect(source) {
            Answer::Value(value) => value,
            Answer::Blank => Value::Null,
            Answer::Unsaid => panic!("{source}: everything was said"),
        };
        assert_eq!(found, expected, "{source}");
    }
}

/// M11, BI-55: refused when saved, with the place and what to write instead.
#[test]
fn bi55_what_is_wrong_is_refused_with_its_place() {
    let cases = [
        ("", 0, "expected a value"),
        ("user", 0, "user.jobTitle"),
        ("jobTitle", 0, "user.jobTitle"),
        ("usr.jobTitle", 0, "unknown name"),
        ("user.jobtitle", 5, "user.jobTitle"),
        ("user.jobTitel", 5, "user.jobTitle"),
        ("user.favouriteColour", 5, "no such property"),
        ("user.manager", 5, "`user.manager.displayName`"),
        ("user.manager.department", 13, "`user.manager.mail`"),
        ("manager.displayName", 0, "unknown name"),
        ("user.manager.manager.displayName", 13, "`user.manager.mail`"),
        ("lower(user.jobtitle)", 11, "user.jobTitle"),
        ("'é' + user.nothing", 11, "no such property"),
        ("user.mail.lowercase()", 10, "there is no function"),
        ("uper(user.mail)", 0, "`upper`"),
        ("firstNonEmpty(user.mail)", 0, "`first_non_empty`"),
        ("user.mail.matches('.*')", 10, "regular expressions"),
        ("lower(user.otherMails)", 11, "first("),
        ("lower()", 0, "lower("),
        ("lower(user.mail, 'x')", 0, "lower("),
        ("user.mail + 1", 10, "one kind"),
        ("'a' + size(user.otherMails)", 4, "one kind"),
        ("true + true", 5, "cannot be added"),
        ("user.otherMails < user.otherMails", 16, "less or greater"),
        ("user.mail ? 'a' : 'b'", 5, "has("),
        ("has(user.mail) ? 'a' : 1", 15, "one kind"),
        ("user.mail && true", 5, "has("),
        ("-user.mail", 6, "whole number is needed"),
        ("1.5", 0, "whole numbers"),
        ("99999999999999999999", 0, "64 bits"),
        ("1u", 0, "whole numbers"),
        ("b'x'", 0, "bytes"),
        ("{'a': 1}", 0, "no maps"),
        ("'open", 0, "not closed"),
        ("'a\\q'", 2, "escape"),
        ("'\\uD800'", 1, "escape"),
        ("user.mail + ", 12, "found the end"),
        ("user.mail user.mail", 10, "found `user`"),
        ("user.mail # note", 10, "means nothing"),
        ("(user.mail", 10, "expected `)`"),
        ("user.otherMails.filter(m, m)", 26, "true or false"),
        ("user.otherMails.filter(m)", 16, "filter(m"),
        ("user.otherMails.map('m', m)", 20, "names the text at hand"),
        ("user.otherMails.map(m, user.otherMails.exists(n, n == m) ? m : '')", 39, "inside one another"),
        ("date(user.employeeHireDate, user.city)", 33, "quotes"),
        ("date(user.employeeHireDate, '%Q')", 28, "%Q"),
        ("date(user.employeeHireDate, '%Y-%')", 28, "at the end"),
        ("for + 1", 0, "keeps for itself"),
        ("user.mail.city", 10, "only `user`"),
        ("user['mail']", 0, "say which property"),
    ];
    for (source, place, says) in cases {
        let BadExpression { position, why } = Expression::parse(source).expect_err(source);
        assert!(why.contains(says), "{source}: {why}");
        assert_eq!(position, place, "{source}: {why}");
    }
}

/// M11: with line and column in the file, whatever quotes TOML has around the expression.
#[test]
fn m11_the_place_is_the_place_in_the_file() {
    let cases = [
        ("[fields]\nt = \"lower(user.nix)\"\n", 2, 17),
        ("[fields]\nt = 'user.mail + \" \" + user.nix'\n", 2, 29),
        ("[fields]\nt = \"user.mail + \\\" \\\" + user.nix\"\n", 2, 31),
        ("[fields]\nt = { from = 'lower(user.nix)', clear_when_blank = true }\n", 2, 26),
        ("[fields.t]\nclear_when_blank = true\nfrom = 'lower(user.nix)'\n", 3, 20),
        ("[fields]\nt = '''\nlower(\n  user.nix)'''\n", 4, 8),
        ("[fields]\nt = \"\"\"\nlower( \\\n  user.nix)\"\"\"\n", 4, 8),
        ("[fields]\ndisplay_name = 'user.otherMails'\n", 2, 17),
        ("[defaults.employee]\nteam = 'a'\ndisplay_name = 7\n", 3, 1),
        ("[defaults.contact]\nemail = 'a@b'\n", 2, 1),
        ("[defaults.contact]\nteam = \"a\\u0007\"\n", 2, 1),
        ("[defaults.contact]\nteam = { a = 1 }\n", 2, 1),
    ];
    for (file, line, column) in cases {
        let error = RulesFile::parse(file).expect_err(file);
        assert_eq!((error.line, error.column), (line, column), "{file}{error}");
    }
}

#[test]
fn bi55_source_size_and_depth_are_bounded() {
    let long = format!("'{}'", "x".repeat(MAX_SOURCE));
    assert!(Expression::parse(&long).expect_err("too long").why.contains("1024"));
    let wide = format!("'a'{}", "+'a'".repeat(250));
    assert!(Expression::parse(&wide).expect_err("too large").why.contains("too large"));
    for (open, close) in [("(", ")"), ("[", "]"), ("lower(", ")"), ("true?'a':", ""), ("!", ""), ("-", "")] {
        let deep = |levels: usize| format!("{}1{}", open.repeat(levels), close.repeat(levels));
        Expression::parse(&deep(MAX_DEPTH + 2)).expect_err(open);
    }
    parsed(&format!("{}'a'{}", "(".repeat(MAX_DEPTH - 1), ")".repeat(MAX_DEPTH - 1)));
}

fn field(from: &str) -> FieldRule {
    FieldRule { from: Some(parsed(from)), clear_when_blank: false, local_only: false }
}

/// M4, M11: blank, default, `clear_when_blank` and `local_only` hold for expressions as for plain properties.
#[test]
fn a_blank_answer_erases_only_where_the_mapping_says_so_and_takes_the_default() {
    let mut world = World::with_staff_ada();
    world.fields.0.insert("job_title".to_owned(), field("upper(user.jobTitle)"));
    assert_eq!(world.only_update().fields["job_title"], "AGENT");
    world.reads_profile(json!({"jobTitle": " "}));
    assert_eq!(world.only_update(), Changes::default(), "a blank answer erases nothing");
    let clearing = FieldRule { clear_when_blank: true, ..field("upper(user.jobTitle)") };
    world.fields.0.insert("job_title".to_owned(), clearing);
    assert_eq!(world.only_update().fields["job_title"], Value::Null);
    world.defaults.employee.insert("job_title".to_owned(), json!("Agent of none"));
    assert_eq!(world.only_update().fields["job_title"], "Agent of none");
    let local = FieldRule { local_only: true, ..field("upper(user.jobTitle)") };
    world.fields.0.insert("job_title".to_owned(), local);
    world.reads_profile(json!({"jobTitle": "Lead"}));
    assert_eq!(world.only_update(), Changes::default(), "a local-only field is not written");
}

/// In the spirit of G-09: what Graph did not say neither writes nor clears; what is not looked at does not matter.
#[test]
fn an_answer_that_hangs_on_something_unsaid_changes_nothing() {
    let user = profile(json!({"surname": "Example", "mobilePhone": "+1 555 0199"}));
    let answer = |source: &str| parsed(source).evaluate(&user);
    assert_eq!(answer("user.surname + user.companyName"), Ok(Answer::Unsaid));
    assert_eq!(answer("user.companyName == '' ? 'none' : 'some'"), Ok(Answer::Unsaid));
    assert_eq!(answer("first_non_empty(user.companyName, 'none')"), Ok(Answer::Unsaid));
    let said = Ok(Answer::Value(json!("+1 555 0199")));
    assert_eq!(answer("first_non_empty(user.mobilePhone, user.companyName)"), said);
    assert_eq!(answer("has(user.mobilePhone) ? user.mobilePhone : user.companyName"), said);
}

/// G-11, BI-35: an expression that fails, fails its own field; the deprovision of the same read goes on.
#[test]
fn g11_a_failing_expression_neither_blocks_a_deprovision_nor_causes_one() {
    let faults = [
        ("string(1 / size(user.otherMails))", json!({"otherMails": []})),
        ("date(user.jobTitle)", json!({"jobTitle": "not a date"})),
        ("user.jobTitle + '!'", json!({"jobTitle": "x".repeat(2000)})),
        ("user.jobTitle + user.jobTitle", json!({"jobTitle": "x".repeat(600)})),
        ("user.jobTitle + '!'", json!({"jobTitle": "bell\u{7}"})),
        ("user.jobTitle + '!'", json!({"jobTitle": "\u{202E}gnp.exe"})),
        ("user.jobTitle + '!'", json!({"jobTitle": 7})),
        ("join(user.otherMails, '')", json!({"otherMails": ["a", "b\u{0}"]})),
        ("string(9223372036854775807 + size(user.otherMails))", json!({"otherMails": ["a"]})),
    ];
    for (source, mut changes) in faults {
        let mut world = World::with_staff_ada();
        world.fields.0.insert("team".to_owned(), field(source));
        world.record_mut().fields.insert("team".to_owned(), json!("North"));
        changes["accountEnabled"] = json!(false);
        changes["city"] = json!("Oslo");
        world.reads(changes, &[STAFF]);
        let plan = world.settles();
        assert!(plan.failed.iter().any(|failed| failed.name == "team"), "{source}: {:?}", plan.failed);
        assert_eq!(world.record().fields["team"], "North", "{source}: the old value stays");
        assert_eq!(world.record().fields["city"], "Oslo", "{source}");
        assert!(!world.is_active(), "{source}");
    }
}

/// The heaviest user that is kept, under the heaviest expressions that may be saved: what is too much ends as a fault.
#[test]
fn bi55_the_worst_case_is_bounded() {
    let entry = "x".repeat(1024);
    let user = profile(json!({"proxyAddresses": vec![entry.clone(); 1000], "otherMails": vec![entry; 1000]}));
    let all = "user.proxyAddresses";
    let heavy = [
        format!("{all}.map(a, replace(replace(a, 'x', a), 'x', a))[0]"),
        format!("join({all}, '') + join({all}, '') + join({all}, '')"),
        format!("join({all}.map(a, join({all}, a)), '')"),
        format!("size({all}{})", format!("+{all}").repeat(28)),
        format!("string(size({all}.filter(a, {})))", vec!["a.contains('xy')"; 20].join("||")),
        format!("replace(join({all}, ''), 'x', join({all}, ''))"),
        format!("{all}.all(a, a in user.otherMails) ? 'a' : 'b'"),
    ];
    for source in heavy {
        let started = Instant::now();
        let answer = parsed(&source).evaluate(&user);
        let took = started.elapsed();
        println!("{took:?} {source}");
        assert_eq!(answer, Err("the expression does too much with this user's values"), "{source}");
        // A debug build on a busy machine; a release build needs a few milliseconds.
        assert!(took < Duration::from_secs(2), "{source}: {took:?}");
    }
}

/// Pieces of expressions and of rubbish.
fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "user",
        ".",
        "mail",
        "otherMails",
        "businessPhones",
        "jobTitle",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        "?",
        ":",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "!=",
        "<",
        "<=",
        "&&",
        "||",
        " in ",
        "'a'",
        "\"",
        "'",
        "'''",
        "\\",
        "\\u00",
        "0",
        "1",
        "9223372036854775807",
        "-",
        "null",
        "true",
        "size(",
        "first(",
        "lower(",
        "before(",
        "first_non_empty(",
        "join(",
        "date(",
        "substring(",
        ".map(m,",
        ".filter(m,",
        "m",
        "has(",
        "//",
        "\n",
        "é",
        "\u{202E}",
        "\0",
        "for",
        "user.mail",
        "user.otherMails",
        "user.accountEnabled",
        "'%d'",
        "string(",
    ];
    let word = prop_oneof![8 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => ".{0,3}"];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

/// A stack as small as any thread's here may have left.
fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn_scoped(scope, work);
        thread.expect("a thread").join().expect("no panic and no overflow")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// M11, BI-55: no text, however odd, panics, overflows or takes long when it is saved, nor when it is run; the fault
    /// of a refused one lies within it.
    #[test]
    fn no_expression_however_odd_panics_or_takes_long(source in pieces()) {
        let started = Instant::now();
        match Expression::parse(&source) {
            Err(bad) => prop_assert!(bad.position <= source.chars().count(), "{bad:?}"),
            Ok(expression) => {
                prop_assert_eq!(Expression::parse(&expression.to_string()), Ok(expression.clone()));
                let _ = expression.evaluate(&documented_user());
            }
        }
        prop_assert!(started.elapsed() < Duration::from_secs(1));
    }
}

/// Everything that nests, as deep and as long as a source may be, on a small stack.
#[test]
fn bi55_the_deepest_sources_fit_into_a_small_stack() {
    let nests = [
        ("(", ")"),
        ("[", "]"),
        ("lower(", ")"),
        ("!", ""),
        ("-", ""),
        ("true?'a':", ""),
        ("true?(", "):'a'"),
        ("'a'+(", ")"),
        ("", ".lower()"),
        ("", "+'a'"),
        ("", "[0]"),
        ("true&&(", ")"),
        ("'a' in [", "]"),
        ("{", "}"),
        ("", ".a"),
        ("-(", ")"),
    ];
    for (open, close) in nests {
        on_a_small_stack(|| {
            let most = MAX_SOURCE / (open.len() + close.len()).max(1);
            for levels in (1..most.min(2 * MAX_DEPTH)).chain([most / 2, most]) {
                let source = format!("{}'a'{}", open.repeat(levels), close.repeat(levels));
                if let Ok(expression) = Expression::parse(&source) {
                    let _ = expression.evaluate(&documented_user());
                    drop(expression);
                }
            }
        });
    }
}

#[test]
fn what_an_expression_gives_is_known_when_it_is_saved() {
    let cases = [
        ("user.mail", Type::Text),
        ("user.businessPhones", Type::Text),
        ("user.otherMails", Type::List),
        ("user.accountEnabled", Type::Flag),
        ("size(user.otherMails)", Type::Number),
        ("user.otherMails.map(m, m.lower())", Type::List),
    ];
    for (source, gives) in cases {
        assert_eq!(parsed(source).gives(), gives, "{source}");
    }
}
