//! Why a person has the access they have: the JSON of `record explain` (design, Surface).

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::desired::{Desired, Outcome};
use crate::field::{self, DISPLAY_NAME, MappedFields};
use crate::id::ObjectId;
use crate::mirror::{MirroredUser, ProfileFacet, Source};
use crate::profile::UserType;
use crate::record::{Reason, Record, Status};
use crate::rule::RuleSet;
use crate::timestamp::Timestamp;

/// `record explain`. `record`, `holds` and `reviews` are the store's own views.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// As `record show` prints it.
    pub record: Value,
    /// Access or none, and why, in one sentence.
    pub access: AccessShown,
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
    /// When the person is looked at next, and for what.
    pub next_look: Option<LookShown>,
}

/// The answer in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AccessShown {
    /// The record is active.
    pub granted: bool,
    /// In plain words.
    pub why: String,
}

/// A look that is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LookShown {
    /// When.
    pub at: Timestamp,
    /// What asked for it.
    pub reason: String,
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
    /// That read was one by id: only such reads take access.
    pub read_by_id: bool,
    /// When the last complete read of the memberships by id began.
    pub groups_read_at: Option<Timestamp>,
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
    /// Its name when the rule was applied; empty where the rules are not at hand.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group_name: String,
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
        access: access_shown(record, desired, &groups),
        user: Some(user_shown(user)),
        groups,
        rules: desired.rulings.iter().map(RuleShown::from).collect(),
        fields: fields_shown(record, fields),
        holds: Vec::new(),
        reviews: Vec::new(),
        next_look: None,
    }
}

impl Explanation {
    /// What only the store has: the rules' names, what is held, what is asked, and the next look.
    pub fn complete(&mut self, rules: &RuleSet, next_look: Option<LookShown>) {
        for shown in &mut self.rules {
            shown.group_name = rules.lookup(shown.group).map(|rule| rule.group_name.clone()).unwrap_or_default();
        }
        self.next_look = next_look;
    }
}

/// What the record has, and what should become of it.
fn access_shown(record: &Record, desired: &Desired, groups: &[GroupShown]) -> AccessShown {
    let words = |reasons: &BTreeSet<Reason>| {
        let all: Vec<&str> = reasons.iter().map(|reason| reason.in_words()).collect();
        all.join("; ")
    };
    let winner = desired.rulings.iter().find(|ruling| ruling.outcome == Outcome::Won);
    let by_rule = || match winner {
        Some(winner) => {
            let name = groups.iter().find(|group| group.id == winner.group).map(|group| group.name.clone());
            format!("by the rule for {} (order {})", name.unwrap_or_else(|| winner.group.to_string()), winner.order)
        }
        None => "by an earlier decision".to_owned(),
    };
    let why = match record.status {
        _ if record.root => "root: exempt from everything Microsoft says".to_owned(),
        Status::Active if desired.reasons.is_empty() => by_rule(),
        Status::Active => format!("still; what would take it: {}", words(&desired.reasons)),
        Status::Inactive | Status::Archived => words(&record.reasons),
    };
    AccessShown { granted: record.status == Status::Active, why }
}

impl From<&crate::desired::Ruling> for RuleShown {
    fn from(ruling: &crate::desired::Ruling) -> Self {
        Self {
            order: ruling.order,
            group: ruling.group,
            group_name: String::new(),
            outcome: ruling.outcome,
            why: ruling.why.clone(),
        }
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
        read_by_id: !matches!(
            user.profile,
            ProfileFacet::Unknown | ProfileFacet::Present { source: Source::Listing, .. }
        ),
        groups_read_at: user.membership.complete.map(|read| read.read_at),
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
