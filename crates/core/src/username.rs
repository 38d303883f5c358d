//! Usernames: made by style, numbered where one is taken (M5, M9, BI-37).

use std::collections::BTreeSet;

use crate::field;
use crate::profile::{Profile, address_key};
use crate::settings::UsernameStyle;

/// A username gets a number from 2 to this; beyond, somebody must decide.
pub const MAX_NUMBER: u32 = 99;

/// The username this person would have; `None` when Entra has nothing to make it from.
///
/// # Errors
/// What is wrong with the value, without the value itself: that field fails (G-11).
pub fn of(profile: &Profile, style: UsernameStyle) -> Result<Option<String>, &'static str> {
    let upn = profile.user_principal_name();
    let (source, text) = match style {
        UsernameStyle::Email => ("mail", profile.mail()),
        UsernameStyle::Upn => ("userPrincipalName", upn),
        // A guest's #EXT# name is made up by Microsoft: nobody would know it as theirs.
        UsernameStyle::LocalPart => ("mail", profile.mail().or(upn.filter(|upn| !is_external(upn)))),
    };
    if profile.dropped.contains(source) {
        return Err("the value is longer than is kept, or not text");
    }
    let Some(text) = text else { return Ok(None) };
    let text = match style {
        UsernameStyle::LocalPart => text.split('@').next().unwrap_or_default(),
        UsernameStyle::Upn | UsernameStyle::Email => text,
    };
    let text = field::clean(text, false)?;
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("no username can be made of the value");
    }
    Ok(Some(text.to_owned()))
}

/// How the style makes it, as an expression of a rules file would say it.
pub const fn expression(style: UsernameStyle) -> &'static str {
    match style {
        UsernameStyle::LocalPart => "before(first_non_empty(user.mail, user.userPrincipalName), '@')",
        UsernameStyle::Upn => "user.userPrincipalName",
        UsernameStyle::Email => "user.mail",
    }
}

/// The sign-in name of a guest in the inviting tenant.
pub fn is_external(upn: &str) -> bool {
    upn.to_ascii_uppercase().contains("#EXT#")
}

/// The keys that a person with this username may end up with.
pub fn keys(username: &str, numbered: bool) -> BTreeSet<String> {
    let last = if numbered { MAX_NUMBER } else { 1 };
    (1..=last).map(|number| address_key(&with_number(username, number))).collect()
}

/// `ada`, `ada2`, `ada3`; in a name with an @ the number stands before it.
pub fn with_number(username: &str, number: u32) -> String {
    if number < 2 {
        return username.to_owned();
    }
    match username.split_once('@') {
        Some((local, domain)) => format!("{local}{number}@{domain}"),
        None => format!("{username}{number}"),
    }
}
