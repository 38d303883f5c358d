//! The names of archived records (M7): `ada_Archived`, and `ada_Archived2` for the next of that name.

use std::collections::BTreeSet;

use crate::profile::address_key;

const SUFFIX: &str = "_Archived";

/// Names that records of the realm have, in key form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenKeys {
    /// Usernames.
    pub usernames: BTreeSet<String>,
    /// E-mail addresses.
    pub emails: BTreeSet<String>,
}

/// The name of an archived record: the first that nobody has. `taken` must hold every key that begins with this name, up
/// to the first [`archived_key`] that is free.
pub fn archived_name(name: &str, taken: &BTreeSet<String>) -> String {
    // One more form than there are names taken: one of them is free.
    let mut forms = (1..=taken.len() + 1).map(|number| form(name, number));
    forms.find(|form| !taken.contains(&address_key(form))).unwrap_or_else(|| form(name, 1))
}

/// The key of the `number`-th archived form of a name, counted from 1.
pub fn archived_key(name: &str, number: usize) -> String {
    address_key(&form(name, number))
}

fn form(name: &str, number: usize) -> String {
    match number {
        1 => format!("{name}{SUFFIX}"),
        _ => format!("{name}{SUFFIX}{number}"),
    }
}

/// The name before it was archived; a name that was not is itself.
pub fn original_name(name: &str) -> &str {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    bare.strip_suffix(SUFFIX).unwrap_or(name)
}
