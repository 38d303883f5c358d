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

/// The name of an archived record: the first that nobody has. `taken` must hold every key that begins with this name.
pub fn archived_name(name: &str, taken: &BTreeSet<String>) -> String {
    // One more form than there are names taken: one of them is free.
    let forms = (1..=taken.len() + 1).map(|number| match number {
        1 => format!("{name}{SUFFIX}"),
        _ => format!("{name}{SUFFIX}{number}"),
    });
    let mut free = forms.filter(|form| !taken.contains(&address_key(form)));
    free.next().unwrap_or_else(|| format!("{name}{SUFFIX}"))
}

/// The name before it was archived; a name that was not is itself.
pub fn original_name(name: &str) -> &str {
    let bare = name.trim_end_matches(|c: char| c.is_ascii_digit());
    bare.strip_suffix(SUFFIX).unwrap_or(name)
}
