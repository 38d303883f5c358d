//! Our expressions against the `cel` crate: whatever both know means the same. That crate is the reference here and not
//! the engine, because its parser overflows the stack on a dozen brackets and its evaluation has no bound.

use cel::{Context, Program};
use lockstep_core::expression::{Answer, Expression};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::world::profile;

fn text() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        Just("user.mail".to_owned()),
        Just("user.jobTitle".to_owned()),
        Just("user.city".to_owned()),
        Just("''".to_owned()),
        "[a-c]{0,3}".prop_map(|text| format!("'{text}'")),
        Just("'é\\n'".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} + {b}")),
            (flag(inner.clone().boxed()), inner.clone(), inner).prop_map(|(c, a, b)| format!("({c} ? {a} : {b})")),
        ]
    })
    .boxed()
}

fn list(text: BoxedStrategy<String>) -> BoxedStrategy<String> {
    prop_oneof![
        Just("user.otherMails".to_owned()),
        prop::collection::vec(text.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
        text.prop_map(|text| format!("user.otherMails.filter(m, m != {text})")),
        Just("user.otherMails.map(m, m + '!')".to_owned()),
    ]
    .boxed()
}

fn number(text: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        (0..5i64).prop_map(|number| number.to_string()),
        text.clone().prop_map(|text| format!("size({text})")),
        list(text).prop_map(|list| format!("size({list})")),
    ]
    .boxed();
    let pair = (leaf.clone(), prop::sample::select(vec!["+", "-", "*", "/", "%"]), leaf.clone());
    prop_oneof![leaf, pair.prop_map(|(a, sign, b)| format!("{a} {sign} {b}"))].boxed()
}

fn flag(text: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let signs = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let numbers = number(text.clone());
    let leaf = prop_oneof![
        (text.clone(), signs(), text.clone()).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        (numbers.clone(), signs(), numbers).prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        (text.clone(), list(text.clone())).prop_map(|(a, b)| format!("{a} in {b}")),
        (text.clone(), text.clone()).prop_map(|(a, b)| format!("({a}).contains({b})")),
        (text.clone(), text.clone()).prop_map(|(a, b)| format!("({a}).startsWith({b})")),
        (text.clone(), text.clone()).prop_map(|(a, b)| format!("({a}).endsWith({b})")),
        text.clone().prop_map(|a| format!("user.otherMails.exists(m, m == {a})")),
        text.prop_map(|a| format!("user.otherMails.all(m, m >= {a})")),
    ]
    .boxed();
    let pair = (leaf.clone(), prop::sample::select(vec!["&&", "||"]), leaf.clone());
    prop_oneof![
        leaf.clone(),
        pair.prop_map(|(a, sign, b)| format!("{a} {sign} {b}")),
        leaf.prop_map(|a| format!("!({a})"))
    ]
    .boxed()
}

fn properties() -> Value {
    json!({"mail": "ada@fabrikam.example", "jobTitle": "abc", "city": "é", "otherMails": ["a", "b!", "ada@home.example"]})
}

/// On a stack of its own: see above.
fn by_the_reference(source: &str) -> Result<Value, String> {
    std::thread::scope(|scope| {
        let work = || {
            let mut context = Context::default();
            context.add_variable("user", properties()).map_err(|error| error.to_string())?;
            let program = Program::compile(source).map_err(|error| error.to_string())?;
            shown(&program.execute(&context).map_err(|error| error.to_string())?)
        };
        let thread = std::thread::Builder::new().stack_size(256 * 1024 * 1024).spawn_scoped(scope, work);
        thread.expect("a thread").join().expect("no panic")
    })
}

fn shown(value: &cel::Value) -> Result<Value, String> {
    match value {
        cel::Value::String(text) => Ok(json!(text.as_str())),
        cel::Value::Int(number) => Ok(json!(number)),
        cel::Value::Bool(flag) => Ok(json!(flag)),
        cel::Value::List(items) => items.iter().map(shown).collect(),
        other => Err(format!("{other:?}")),
    }
}

fn by_us(source: &str) -> Result<Value, String> {
    let expression = Expression::parse(source).map_err(|error| error.to_string())?;
    match expression.evaluate(&profile(properties())).map_err(str::to_owned)? {
        Answer::Value(value) => Ok(value),
        Answer::Blank => Ok(Value::Null),
        Answer::Unsaid => Err("unsaid".to_owned()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::with_cases(200) })]

    /// M11: the expressions are CEL. Blank results are one to us; a division by zero is a fault to both.
    #[test]
    fn what_both_know_means_the_same(source in prop_oneof![text(), flag(text()), number(text()), list(text())]) {
        prop_assume!(source.len() <= 1024);
        match (by_the_reference(&source), by_us(&source)) {
            (Ok(theirs), Ok(Value::Null)) => {
                let blank = theirs.as_str().is_some_and(|text| text.trim().is_empty());
                prop_assert!(blank || theirs == json!([]), "{source}: {theirs}");
            }
            (Ok(theirs), Ok(ours)) => prop_assert_eq!(ours, theirs, "{}", source),
            (Err(_), Err(_)) => {}
            (theirs, ours) => {
                // What we refuse and CEL does not.
                let bounds = ["too large", "nested deeper", "inside one another"];
                let refused = ours.as_ref().is_err_and(|why| bounds.iter().any(|bound| why.contains(bound)));
                prop_assert!(refused, "{source}: {theirs:?} and {ours:?}");
            }
        }
    }
}
