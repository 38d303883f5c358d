//! The functions of an expression, one row each. To add one, add a row; the documentation is tested against the table.

use std::borrow::Cow;

use super::value::{Fault, Type, Value};

/// A function; `lower(x)` and `x.lower()` are the same.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// What it takes, in order.
    pub takes: &'static [Type],
    /// How many of those may be left out, from the end.
    pub optional: usize,
    /// What it gives.
    pub gives: Type,
    /// In a line, for people.
    pub says: &'static str,
    pub(super) run: Run,
}

/// How a function works.
#[derive(Clone, Copy, Debug)]
pub(super) enum Run {
    Plain(fn(&[Value<'_>]) -> Result<Value<'static>, Fault>),
    /// Makes texts longer than its arguments: says how long before it is done.
    Growing(fn(&[Value<'_>]) -> usize, fn(&[Value<'_>]) -> Result<Value<'static>, Fault>),
    /// Any number of texts and lists; the rest is not looked at once one is not blank.
    FirstNonEmpty,
    /// Of any kind.
    Has,
}

use Type::{Flag, List, Number, Text};

const fn row(
    name: &'static str,
    takes: &'static [Type],
    gives: Type,
    says: &'static str,
    run: fn(&[Value<'_>]) -> Result<Value<'static>, Fault>,
) -> Function {
    Function { name, takes, optional: 0, gives, says, run: Run::Plain(run) }
}

/// Every function, by name.
pub const FUNCTIONS: &[Function] = &[
    row("after", &[Text, Text], Text, "what stands after the first separator; nothing without one", after),
    row("before", &[Text, Text], Text, "what stands before the first separator; all of it without one", before),
    row("contains", &[Text, Text], Flag, "whether the second text is in the first", |a| {
        Ok(Value::Flag(text(a, 0).contains(text(a, 1))))
    }),
    Function {
        optional: 1,
        ..row("date", &[Text, Text], Text, "a date of Entra's as `2026-11-21`, or by a pattern", super::date::date)
    },
    row("endsWith", &[Text, Text], Flag, "whether the first text ends with the second", |a| {
        Ok(Value::Flag(text(a, 0).ends_with(text(a, 1))))
    }),
    row("first", &[List], Text, "the first text of a list; nothing of an empty one", |a| {
        Ok(Value::from(list(a, 0).first().map(|item| item.to_string()).unwrap_or_default()))
    }),
    Function { run: Run::FirstNonEmpty, ..row("first_non_empty", &[], Text, "the first that is not blank", nothing) },
    Function { run: Run::Has, ..row("has", &[], Flag, "whether Entra has a value that is not blank", nothing) },
    Function {
        run: Run::Growing(joined_size, join),
        ..row("join", &[List, Text], Text, "the texts of a list as one, with the second text between them", join)
    },
    row("lower", &[Text], Text, "in small letters", |a| Ok(Value::from(text(a, 0).to_lowercase()))),
    Function {
        run: Run::Growing(replaced_size, replace),
        ..row("replace", &[Text, Text, Text], Text, "with the third text wherever the second one stands", replace)
    },
    Function { run: Run::Plain(size), ..row("size", &[], Number, "how many characters, or texts in a list", size) },
    row("split", &[Text, Text], List, "the pieces between the separators", split),
    row("startsWith", &[Text, Text], Flag, "whether the first text starts with the second", |a| {
        Ok(Value::Flag(text(a, 0).starts_with(text(a, 1))))
    }),
    row("string", &[Number], Text, "a number as text", |a| Ok(Value::from(number(a, 0).to_string()))),
    Function {
        optional: 1,
        ..row(
            "substring",
            &[Text, Number, Number],
            Text,
            "the characters from the first place on, up to the second; places count from 0",
            substring,
        )
    },
    row("trim", &[Text], Text, "without blanks at both ends", |a| Ok(Value::from(text(a, 0).trim().to_owned()))),
    row("upper", &[Text], Text, "in capital letters", |a| Ok(Value::from(text(a, 0).to_uppercase()))),
];

/// The function of this name.
pub fn lookup(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The argument was checked to be a text; `null` is the empty one.
pub(super) fn text<'v>(arguments: &'v [Value<'_>], n: usize) -> &'v str {
    match arguments.get(n) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

fn list<'v, 'a>(arguments: &'v [Value<'a>], n: usize) -> &'v [Cow<'a, str>] {
    match arguments.get(n) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn number(arguments: &[Value<'_>], n: usize) -> i64 {
    match arguments.get(n) {
        Some(Value::Number(number)) => *number,
        _ => 0,
    }
}

/// Where the evaluation does the work itself.
fn nothing(_: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    Ok(Value::Null)
}

fn before(a: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let whole = text(a, 0);
    Ok(Value::from(cut(whole, text(a, 1)).map_or(whole, |(before, _)| before).to_owned()))
}

fn after(a: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    Ok(Value::from(cut(text(a, 0), text(a, 1)).map_or("", |(_, after)| after).to_owned()))
}

/// An empty separator is nowhere.
fn cut<'t>(whole: &'t str, separator: &str) -> Option<(&'t str, &'t str)> {
    if separator.is_empty() { None } else { whole.split_once(separator) }
}

fn joined_size(a: &[Value<'_>]) -> usize {
    let items = list(a, 0);
    items.iter().map(|item| item.len()).sum::<usize>() + items.len() * text(a, 1).len()
}

fn join(a: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    Ok(Value::from(list(a, 0).join(text(a, 1))))
}

fn replaced_size(a: &[Value<'_>]) -> usize {
    let (whole, from) = (text(a, 0), text(a, 1));
    if from.is_empty() { whole.len() } else { whole.len() + whole.matches(from).count() * text(a, 2).len() }
}

fn replace(a: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let (whole, from) = (text(a, 0), text(a, 1));
    Ok(Value::from(if from.is_empty() { whole.to_owned() } else { whole.replace(from, text(a, 2)) }))
}

fn split(a: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let (whole, separator) = (text(a, 0), text(a, 1));
    let pieces: Vec<&str> = if separator.is_empty() { vec![whole] } else { whole.split(separator).collect() };
    Ok(Value::List(pieces.into_iter().map(|piece| Cow::Owned(piece.to_owned())).collect()))
}

fn size(a: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let count = match a.first() {
        Some(Value::Text(text)) => text.chars().count(),
        Some(Value::List(items)) => items.len(),
        _ => 0,
    };
    Ok(Value::Number(i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Places beyond the end are the end.
fn substring(a: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let place = |n| usize::try_from(number(a, n)).unwrap_or(0);
    let (from, to) = (place(1), if a.len() > 2 { place(2) } else { usize::MAX });
    Ok(Value::from(text(a, 0).chars().take(to).skip(from).collect::<String>()))
}
