//! What a test or the demo says about a person or group it wants to exist.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::clock::graph_time;

/// A user to create. Start from [`NewUser::named`] and change what matters.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The display name; given name and surname are derived from it.
    pub display_name: String,
    /// The user principal name. Without `@` the tenant's domain is added; empty means derived from
    /// the display name. A number is added where the name is taken already.
    pub user_principal_name: String,
    /// The mail address; without `@` the tenant's domain is added.
    pub mail: Option<String>,
    /// Whether the person may sign in.
    pub account_enabled: bool,
    /// `Member` or `Guest`.
    pub user_type: String,
    /// Any other property by its Graph name; wins over the fields above.
    pub extra: Map<String, Value>,
}

impl NewUser {
    /// An enabled member of this name: "Ada Lovelace" becomes `ada.lovelace@<domain>`.
    pub fn named(display_name: &str) -> Self {
        let local = local_part(display_name);
        Self {
            display_name: display_name.to_owned(),
            user_principal_name: local.clone(),
            mail: Some(local),
            account_enabled: true,
            user_type: "Member".to_owned(),
            extra: Map::new(),
        }
    }

    /// A guest invited from this foreign address.
    pub fn guest(display_name: &str, home_address: &str) -> Self {
        Self {
            user_principal_name: format!("{}#EXT#", home_address.replace('@', "_")),
            mail: Some(home_address.to_owned()),
            user_type: "Guest".to_owned(),
            ..Self::named(display_name)
        }
    }

    /// The same user with one more property, by its Graph name.
    pub fn with(mut self, property: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(property.to_owned(), value.into());
        self
    }
}

impl Default for NewUser {
    fn default() -> Self {
        Self::named("Sample Person")
    }
}

/// A group to create. Start from [`NewGroup::named`] and change what matters.
#[derive(Debug, Clone)]
pub struct NewGroup {
    /// The display name.
    pub display_name: String,
    /// When it was created, microseconds since the Unix epoch; now when absent.
    pub created: Option<i64>,
    /// Whether it is a security group.
    pub security_enabled: bool,
    /// Any other property by its Graph name.
    pub extra: Map<String, Value>,
}

impl NewGroup {
    /// A security group of this name.
    pub fn named(display_name: &str) -> Self {
        Self { display_name: display_name.to_owned(), created: None, security_enabled: true, extra: Map::new() }
    }
}

impl Default for NewGroup {
    fn default() -> Self {
        Self::named("Sample Group")
    }
}

/// A tenant to add beside the default one.
#[derive(Debug, Clone)]
pub struct TenantSpec {
    /// Its verified default domain.
    pub domain: String,
    /// Its display name.
    pub display_name: String,
    /// How long its access tokens live, in simulated time. Identity libraries count a token as
    /// stale 300 s before its end, so keep it at 600 s or more.
    pub token_lifetime: Duration,
}

impl Default for TenantSpec {
    fn default() -> Self {
        Self {
            domain: "contoso.example".to_owned(),
            display_name: "Contoso".to_owned(),
            token_lifetime: Duration::from_secs(3599),
        }
    }
}

/// "Ada Lovelace" → "ada.lovelace": what may stand before the `@`.
pub(crate) fn local_part(display_name: &str) -> String {
    let ascii = |word: &str| word.chars().filter(char::is_ascii).collect::<String>();
    let words = display_name
        .split(|c: char| !c.is_alphanumeric())
        .map(|word| ascii(word).to_ascii_lowercase())
        .filter(|word| !word.is_empty());
    let local = words.collect::<Vec<_>>().join(".");
    if local.is_empty() { "person".to_owned() } else { local }
}

/// A user's properties with what Microsoft would add itself.
pub(crate) fn complete_user(mut properties: Map<String, Value>, now: i64) -> Map<String, Value> {
    let name = properties.get("displayName").and_then(Value::as_str).unwrap_or("Sample Person").to_owned();
    let (given, surname) = name.rsplit_once(' ').unwrap_or((&name, ""));
    let mut or_else = |property: &str, value: Value| {
        properties.entry(property).or_insert(value);
    };
    or_else("displayName", json!(name));
    or_else("givenName", json!(given));
    if !surname.is_empty() {
        or_else("surname", json!(surname));
    }
    or_else("accountEnabled", json!(true));
    or_else("userType", json!("Member"));
    or_else("createdDateTime", json!(graph_time(now)));
    or_else("signInSessionsValidFromDateTime", json!(graph_time(now)));
    or_else("mailNickname", json!(local_part(&name)));
    properties
}

/// A group's properties with what Microsoft would add itself.
pub(crate) fn complete_group(mut properties: Map<String, Value>, now: i64) -> Map<String, Value> {
    let name = properties.get("displayName").and_then(Value::as_str).unwrap_or("Sample Group").to_owned();
    let mut or_else = |property: &str, value: Value| {
        properties.entry(property).or_insert(value);
    };
    or_else("mailNickname", json!(local_part(&name)));
    or_else("displayName", json!(name));
    or_else("createdDateTime", json!(graph_time(now)));
    or_else("securityEnabled", json!(true));
    or_else("mailEnabled", json!(false));
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_made_of_the_plain_letters_of_a_name() {
        assert_eq!(local_part("Ada Lovelace"), "ada.lovelace");
        assert_eq!(local_part("Zoë O'Brien-Müller"), "zo.o.brien.mller");
        assert_eq!(local_part("李"), "person");
    }
}
