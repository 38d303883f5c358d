//! Local edits (Y4): a value set here by hand stays until that directory user changes in Entra.
//!
//! A change is one of the directory user: a sweep, a settle or a replay that reads the same again is none.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::field;
use crate::profile::{MANAGER, Profile};
use crate::timestamp::Timestamp;

/// Who set a field by hand and when, and what Entra said of the person then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalEdit {
    /// When.
    pub at: Timestamp,
    /// Who, as the command line knows them.
    pub by: String,
    /// The directory user's properties as they were known then. `None`: nobody was linked, so that whatever Entra says
    /// later is news.
    pub known: Option<Map<String, Value>>,
}

impl LocalEdit {
    /// Whether the directory user changed since: Entra's values overwrite the edit. What this read does not mention is no
    /// change (G-09 in spirit), nor is what their manager is called, nor that one is read who was not known then.
    pub fn is_outdated(&self, profile: &Profile) -> bool {
        let Some(known) = &self.known else { return true };
        let differs = |(name, now): (&String, &Value)| match known.get(name) {
            None if MANAGER.contains(&name.as_str()) => false,
            Some(_) if MANAGER.contains(&name.as_str()) && name != "manager.id" => false,
            Some(then) => then != now,
            None => !field::is_blank(now),
        };
        profile.properties.iter().any(differs) || profile.dropped.iter().any(|name| known.contains_key(name))
    }
}
