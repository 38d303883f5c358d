//! Why a person has the access they have: the JSON of `record explain` (design, Surface).

use serde::Serialize;
use serde_json::Value;

use crate::desired::{Desired, Outcome};
use crate::field::{self, DISPLAY_NAME, MappedFields};
use crate::id::ObjectId;
use crate::mirror::{MirroredUser, ProfileFacet};
use crate::profile::UserType;
use crate::record::Record;
use crate::timestamp::Timestamp;

/// `record explain`. `record`, `holds` and `reviews` are the store's own views.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// As `record show` prints it.
    pub record: Value,
    /// The directory user; `None` for a record nobody is linked to.
    pub user: Option<UserShown>,
    /// Mapped groups the person is in.
    pub groups: Vec<GroupShown>,
    /// Every rule, in order.
    pub rules: Vec<RuleShown>,
    /// Every mapped field.
    pub fields: Vec<FieldShown>,
    /// Open holds, as `hold show` prints them.
    pub holds: Vec<Value>,
    /// Open reviews, as `review show` prints them.
    pub reviews: Vec<Value>,
}

/// The directory user in an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserShown {
    /// `accountEnabled`; `null` when Graph did not say.
    pub enabled: Option<bool>,
    /// Graph answers 404 for this user.
    pub deleted: bool,
    /// Member or guest.
    #[serde(rename = "type")]
    pub user_type: Option<UserType>,
    /// When the last read of the profile began.
    pub verified_at: Option<Timestamp>,
}

/// A mapped group the person is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupShown {
    /// Entra's id.
    pub id: ObjectId,
    /// `displayName` when the rule was applied.
    pub name: String,
    /// Groups on the way, from the mapped group to the one the person is in; empty for a direct member.
    pub chain: Vec<String>,
}

/// One rule's part in the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleShown {
    /// Lowest wins.
    pub order: i64,
    /// The rule's group.
    pub group: ObjectId,
    /// What came of it.
    pub outcome: Outcome,
    /// In plain words.
    pub why: String,
}

/// One field and where its value comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldShown {
    /// The field.
    pub name: String,
    /// What the record has.
    pub value: Value,
    /// The expression, `default` or `local`; with the reason when the source value could not be used, and with who edited it
    /// and when.
    pub source: String,
}

/// Puts the explanation together. `shown` is the record as the store prints it; `groups` come with their chains, which
/// are read from the group-to-group edges. `holds` and `reviews` start empty: the caller has them.
pub fn explain(
    shown: Value,
    record: &Record,
    user: &MirroredUser,
    desired: &Desired,
    fields: &MappedFields,
    groups: Vec<GroupShown>,
) -> Explanation {
    Explanation {
        record: shown,
        user: Some(user_shown(user)),
        groups,
        rules: desired.rulings.iter().map(RuleShown::from).collect(),
        fields: fields_shown(record, fields),
        holds: Vec::new(),
        reviews: Vec::new(),
    }
}

impl From<&crate::desired::Ruling> for RuleShown {
    fn from(ruling: &crate::desired::Ruling) -> Self {
        Self { order: ruling.order, group: ruling.group, outcome: ruling.outcome, why: ruling.why.clone() }
    }
}

fn user_shown(user: &MirroredUser) -> UserShown {
    let profile = match &user.profile {
        ProfileFacet::Present { profile, .. } => Some(profile),
        ProfileFacet::Missing { last, .. } => last.as_ref(),
        ProfileFacet::Unknown => None,
    };
    UserShown {
        enabled: profile.and_then(|profile| profile.account_enabled),
        deleted: matches!(user.profile, ProfileFacet::Missing { .. }),
        user_type: profile.and_then(|profile| profile.user_type),
        verified_at: user.profile.read_at(),
    }
}

fn fields_shown(record: &Record, fields: &MappedFields) -> Vec<FieldShown> {
    let mut values = record.fields.clone();
    values.insert(DISPLAY_NAME.to_owned(), record.display_name.clone().into());
    let failed = |name: &str| fields.failed.iter().find(|failed| failed.name == name);
    let source = |name: &str, source: String| match (record.edits.get(name), failed(name)) {
        (Some(edit), _) => format!("edited here by {} at {} (otherwise {source})", edit.by, edit.at),
        (None, Some(failed)) => format!("{source} (kept the last value: {})", failed.why),
        (None, None) => source,
    };
    let shown = field::shown(fields, &values).into_iter();
    shown.map(|(name, value, from)| FieldShown { source: source(&name, from), name, value }).collect()
}
