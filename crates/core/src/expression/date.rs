//! Dates as Entra writes them, shown as an application wants them. Always in UTC, as Entra keeps them.

use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::function::text;
use super::value::{Fault, Value};

/// What may follow a `%` in a pattern.
const DIRECTIVES: &str = "YymdejHMSbBaA%";

/// `date(text)` and `date(text, pattern)`. Blank stays blank.
pub(super) fn date(arguments: &[Value<'_>]) -> Result<Value<'static>, Fault> {
    let written = text(arguments, 0).trim();
    if written.is_empty() {
        return Ok(Value::Null);
    }
    let at = read(written).ok_or("the value is not a date")?;
    let pattern = if arguments.len() > 1 { text(arguments, 1) } else { "%Y-%m-%d" };
    strtime::format(pattern, at).map(Value::from).map_err(|_| "the date cannot be shown by this pattern")
}

/// An instant with an offset, or a plain date.
fn read(written: &str) -> Option<DateTime> {
    let instant = written.parse::<jiff::Timestamp>().map(|at| at.to_zoned(TimeZone::UTC).datetime());
    instant.ok().or_else(|| written.parse::<jiff::civil::Date>().ok().map(|date| date.to_datetime(Default::default())))
}

/// What is wrong with a pattern, and at which of its characters.
pub(super) fn check_pattern(pattern: &str) -> Result<(), String> {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        match chars.next() {
            Some(directive) if DIRECTIVES.contains(directive) => {}
            Some(other) => return Err(format!("a date's pattern has no `%{other}`; write e.g. `%d.%m.%Y`")),
            None => return Err("a `%` at the end of a date's pattern says nothing; write e.g. `%d.%m.%Y`".to_owned()),
        }
    }
    Ok(())
}
