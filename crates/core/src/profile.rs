//! A directory user's properties as read from Graph: the fixed superset, whatever is mapped.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::ErrorClass;
use crate::id::ObjectId;
use crate::timestamp::Timestamp;

/// The properties asked of Graph for every user, so that mapping another field needs no new token (design, the mirror).
/// Anything Graph does not return by default must be named here `[USER]`.
pub const SELECT: &[&str] = &[
    "id",
    "accountEnabled",
    "userType",
    "externalUserState",
    "displayName",
    "givenName",
    "surname",
    "userPrincipalName",
    "mail",
    "otherMails",
    "proxyAddresses",
    "jobTitle",
    "department",
    "companyName",
    "officeLocation",
    "employeeId",
    "employeeType",
    "employeeHireDate",
    "businessPhones",
    "mobilePhone",
    "faxNumber",
    "streetAddress",
    "city",
    "state",
    "postalCode",
    "country",
    "usageLocation",
    "preferredLanguage",
    "createdDateTime",
    "signInSessionsValidFromDateTime",
    "onPremisesSyncEnabled",
    "onPremisesImmutableId",
    "onPremisesSamAccountName",
];

/// What is read of a user's manager, kept flat beside the properties of the user. It comes with reads that ask for it
/// (`$expand`), and with no others: then nothing is said of it.
pub const MANAGER: &[&str] = &["manager.id", "manager.displayName", "manager.mail", "manager.userPrincipalName"];

/// Longest text that is kept of a directory value, in bytes (TH-06).
pub const MAX_TEXT: usize = 1024;

/// Longest list that is kept of a directory value. Exchange allows a few hundred proxy addresses.
pub const MAX_LIST: usize = 1000;

/// What Graph said of a user in one read. Access looks only at the typed fields; mapping may look at all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Entra's object id; equal to the one that was asked for (BI-33 is checked where it is read).
    pub id: ObjectId,
    /// `None` when absent, null or not a boolean: never read as `false` (BI-34).
    pub account_enabled: Option<bool>,
    /// Member or guest; `None` on old objects counts as member `[unverified]`.
    pub user_type: Option<UserType>,
    /// `externalUserState`: whether an invitation was accepted.
    pub invitation: Option<Invitation>,
    /// `signInSessionsValidFromDateTime`.
    pub sessions_valid_from: Option<Timestamp>,
    /// Every property as Graph gave it, under Graph's names, the manager's as in [`MANAGER`]: the source for field mapping.
    pub properties: Map<String, Value>,
    /// Properties that were too long or of no shape we keep: their fields fail, everything else goes on (BI-35).
    #[serde(default)]
    pub dropped: BTreeSet<String>,
}

/// `userType` of a directory user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserType {
    /// Belongs to the tenant.
    Member,
    /// Invited from elsewhere.
    Guest,
}

/// `externalUserState` of a directory user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Invitation {
    /// Not in yet: a pending invitation has no access.
    Pending,
    /// Accepted: the person is or was a guest.
    Accepted,
}

impl Profile {
    /// Reads a user object as Graph gave it; properties outside [`SELECT`] and [`MANAGER`] are left behind.
    ///
    /// # Errors
    /// [`BadProfile`] when the object is not the one that was asked for, or cannot be anybody (BI-33).
    pub fn from_graph(asked: Option<ObjectId>, object: Map<String, Value>) -> Result<Self, BadProfile> {
        let id = object_id(&object)?;
        if let Some(asked) = asked.filter(|asked| *asked != id) {
            return Err(BadProfile::AnotherObject { asked });
        }
        let manager = manager_of(&object);
        let (kept, dropped): (Vec<_>, Vec<_>) = object
            .into_iter()
            .filter(|(name, _)| SELECT.contains(&name.as_str()))
            .chain(manager)
            .partition(|(_, value)| is_bounded(value));
        let properties: Map<String, Value> = kept.into_iter().collect();
        let text = |name: &str| properties.get(name).and_then(Value::as_str);
        Ok(Self {
            id,
            account_enabled: properties.get("accountEnabled").and_then(Value::as_bool),
            user_type: text("userType").and_then(UserType::parse),
            invitation: text("externalUserState").and_then(Invitation::parse),
            sessions_valid_from: text("signInSessionsValidFromDateTime").and_then(Timestamp::parse),
            dropped: dropped.into_iter().map(|(name, _)| name).collect(),
            properties,
        })
    }

    /// A guest by type, or somebody who once accepted an invitation: members converted from guests exist (Y7).
    pub fn is_guest(&self) -> bool {
        self.user_type == Some(UserType::Guest) || self.invitation == Some(Invitation::Accepted)
    }

    /// Invited, not yet in.
    pub fn is_pending(&self) -> bool {
        self.invitation == Some(Invitation::Pending)
    }

    /// `proxyAddresses` without their `smtp:` prefix; other kinds of address (`x500:`, `sip:`) are left out.
    pub fn proxy_addresses(&self) -> impl Iterator<Item = &str> + '_ {
        let list = self.properties.get("proxyAddresses").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).filter_map(|entry| {
            let (scheme, address) = entry.split_once(':')?;
            scheme.eq_ignore_ascii_case("smtp").then_some(address.trim())
        })
    }

    /// A text property, trimmed; `None` when absent, null, blank or not text.
    pub fn text(&self, property: &str) -> Option<&str> {
        self.properties.get(property)?.as_str().map(str::trim).filter(|text| !text.is_empty())
    }

    /// The primary e-mail address as Graph spells it.
    pub fn mail(&self) -> Option<&str> {
        self.text("mail")
    }

    /// The sign-in name.
    pub fn user_principal_name(&self) -> Option<&str> {
        self.text("userPrincipalName")
    }
}

impl UserType {
    fn parse(text: &str) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("Member") => Some(Self::Member),
            _ if text.eq_ignore_ascii_case("Guest") => Some(Self::Guest),
            _ => None,
        }
    }
}

impl Invitation {
    fn parse(text: &str) -> Option<Self> {
        match text {
            _ if text.eq_ignore_ascii_case("PendingAcceptance") => Some(Self::Pending),
            _ if text.eq_ignore_ascii_case("Accepted") => Some(Self::Accepted),
            _ => None,
        }
    }
}

/// A user object that cannot be taken: the object is refused, the run it came in is not complete (BI-33).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProfile {
    /// There is no `id`, or it is not text.
    #[error(
        "reading a user from Graph: the object has no id; run the sync again, and report it to Microsoft if it stays"
    )]
    NoId,
    /// `id` is not a GUID.
    #[error("reading a user from Graph: the id is no GUID; run the sync again, and report it to Microsoft if it stays")]
    IdNotGuid,
    /// Graph answered about somebody else.
    #[error(
        "reading user {asked} from Graph: the answer is about another object; nothing was taken from it, try again"
    )]
    AnotherObject {
        /// Who was asked for.
        asked: ObjectId,
    },
}

impl BadProfile {
    /// Asking again right away gives the same answer: the event fails and is shown.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoId | Self::IdNotGuid | Self::AnotherObject { .. } => ErrorClass::Permanent,
        }
    }
}

fn object_id(object: &Map<String, Value>) -> Result<ObjectId, BadProfile> {
    let text = object.get("id").and_then(Value::as_str).ok_or(BadProfile::NoId)?;
    text.parse().map_err(|_| BadProfile::IdNotGuid)
}

/// The manager an object was expanded with; all null where it says that there is none.
fn manager_of(object: &Map<String, Value>) -> Vec<(String, Value)> {
    let found = match object.get("manager") {
        Some(Value::Object(manager)) => Some(manager),
        Some(Value::Null) => None,
        Some(_) | None => return Vec::new(),
    };
    let value = |name: &str| found?.get(name.strip_prefix("manager.")?).cloned();
    MANAGER.iter().map(|name| ((*name).to_owned(), value(name).unwrap_or(Value::Null))).collect()
}

/// Texts, numbers, switches and flat lists of texts, all of a length we keep.
fn is_bounded(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => text.len() <= MAX_TEXT,
        Value::Array(items) => {
            items.len() <= MAX_LIST && items.iter().all(|item| item.as_str().is_some_and(|text| text.len() <= MAX_TEXT))
        }
        Value::Object(_) => false,
    }
}

/// The one form in which addresses and usernames are compared: trimmed and lower-cased, stored as its own key column.
pub fn address_key(address: &str) -> String {
    address.trim().to_lowercase()
}
