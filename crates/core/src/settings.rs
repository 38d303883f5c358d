//! What a connection's rules file says besides rules and fields: username style, defaults, brake (M4, M5).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::brake::BrakeLimits;
use crate::record::Kind;

/// `[settings]` of a rules file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How a username is made from the directory user.
    pub username: UsernameStyle,
    /// A username that is taken gets a number (`ada2`); otherwise it becomes a review.
    pub number_usernames: bool,
    /// `[settings.brake]`: how many people may lose access before the rest is held.
    pub brake: BrakeLimits,
}

/// How a username is made (M5, M9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsernameStyle {
    /// The part before the @ of the e-mail address; of the sign-in name where there is no address.
    #[default]
    LocalPart,
    /// `userPrincipalName`.
    Upn,
    /// `mail`.
    Email,
}

/// `[defaults.employee]` and `[defaults.contact]`: what a field takes where Entra leaves it empty (M4).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// By target field, `display_name` included.
    pub employee: Map<String, Value>,
    /// By target field, `display_name` included.
    pub contact: Map<String, Value>,
}

impl Defaults {
    /// The defaults of one kind of record.
    pub fn of(&self, kind: Kind) -> &Map<String, Value> {
        match kind {
            Kind::Employee => &self.employee,
            Kind::Contact => &self.contact,
        }
    }
}
