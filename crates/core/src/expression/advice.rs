//! What an unknown name was most likely meant to be, and how a function is written.

use super::function::{FUNCTIONS, Function, Run};
use crate::attribute::ATTRIBUTES;
use crate::profile::MANAGER;

pub(super) fn unknown_property(property: &str) -> String {
    if property.split('.').next() == Some("manager") {
        let known: Vec<String> = MANAGER.iter().map(|known| format!("`user.{known}`")).collect();
        return format!("of the manager there are {}", known.join(", "));
    }
    let known = ATTRIBUTES.iter().map(|known| known.property);
    match nearest(property, known) {
        Some(near) => format!("a user has no such property; did you mean `user.{near}`?"),
        None => "a user has no such property; the names are Graph's, e.g. `user.jobTitle`".to_owned(),
    }
}

pub(super) fn unknown_function(name: &str) -> String {
    match name {
        "filter" | "map" | "exists" | "all" => {
            return format!(
                "`{name}` is written `user.otherMails.{name}(m, …)`, where `m` stands for each text in turn"
            );
        }
        "matches" => {
            return "regular expressions are not offered; `contains`, `startsWith` and `endsWith` are".to_owned();
        }
        "exists_one" => {
            return "`exists_one` is not offered; write `size(user.otherMails.filter(m, …)) == 1`".to_owned();
        }
        _ => {}
    }
    match nearest(name, FUNCTIONS.iter().map(|function| function.name)) {
        Some(near) => format!("there is no function `{name}`; did you mean `{near}`?"),
        None => {
            let names: Vec<_> = FUNCTIONS.iter().map(|function| function.name).collect();
            format!("there is no function `{name}`; there are {}", names.join(", "))
        }
    }
}

/// How a function is written.
pub(super) fn usage(function: &Function) -> String {
    match (function.run, function.name) {
        (Run::FirstNonEmpty, name) => format!("{name}(user.mobilePhone, user.businessPhones, …)"),
        (Run::Has, name) => format!("{name}(user.mobilePhone)"),
        (_, "size") => "size(user.otherMails)".to_owned(),
        (_, name) => {
            let takes: Vec<_> = function.takes.iter().map(ToString::to_string).collect();
            let (must, may) = takes.split_at(takes.len() - function.optional);
            let may: String = may.iter().map(|one| format!("[, {one}]")).collect();
            format!("{name}({}{may})", must.join(", "))
        }
    }
}

/// The known name that was most likely meant.
fn nearest<'n>(written: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let bare = |name: &str| name.chars().filter(|c| *c != '_').collect::<String>().to_lowercase();
    let written = bare(written);
    let close = known.map(|name| (distance(&written, &bare(name)), name));
    close.min_by_key(|(distance, _)| *distance).filter(|(distance, _)| *distance <= 2).map(|(_, name)| name)
}

/// Letters to add, drop or change to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, c) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, d) in b.iter().enumerate() {
            let change = row.get(j).copied().unwrap_or(0) + usize::from(c != *d);
            let add_or_drop = row.get(j + 1).copied().unwrap_or(0).min(next.get(j).copied().unwrap_or(0)) + 1;
            next.push(change.min(add_or_drop));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
