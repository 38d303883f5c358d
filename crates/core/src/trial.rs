//! `rule try`: what rules that are not saved would make of one person, field by field. The decision's own functions over
//! one read; nothing is merged into the mirror and nothing can be written.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::desired::{DecisionSettings, Desired, Outcome, Ruling, desired};
use crate::explain::RuleShown;
use crate::field::{self, FieldMap, Mapped, MappedFields};
use crate::id::{ObjectId, Ticket};
use crate::matching;
use crate::mirror::{MembershipRead, MirroredUser, PersonRead, ProfileFound, ProfileRead, Source};
use crate::profile::{Profile, UserType};
use crate::record::{Kind, Reason};
use crate::rule::RuleSet;
use crate::settings::{Defaults, Settings};
use crate::timestamp::Timestamp;
use crate::username;

/// What is tried, and on whom.
pub struct Tried<'a> {
    /// As just read by id.
    pub profile: &'a Profile,
    /// Every group the person is in; the value tells direct membership.
    pub groups: &'a BTreeMap<ObjectId, Option<bool>>,
    /// The rules.
    pub rules: &'a RuleSet,
    /// `[fields]`.
    pub fields: &'a FieldMap,
    /// `[defaults]`.
    pub defaults: &'a Defaults,
    /// `[settings]`.
    pub settings: &'a Settings,
    /// The connection lets guests in.
    pub guests: bool,
}

/// What would become of the person, were there no record yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The directory user.
    pub user: TriedUser,
    /// A rule gives access and nothing stands against it.
    pub access: bool,
    /// Why not.
    pub reasons: Vec<Reason>,
    /// Of the winning rule. Without one the fields below are those of an employee.
    pub kind: Option<Kind>,
    /// Of the winning rule.
    pub role: Option<String>,
    /// Of the winning rule.
    pub permissions: Vec<String>,
    /// Every rule in order, with its outcome.
    pub rules: Vec<TriedRule>,
    /// Every field, e-mail address and username first.
    pub fields: Vec<TriedField>,
}

/// Who it was tried on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TriedUser {
    /// Entra's id.
    pub id: ObjectId,
    /// `accountEnabled`; `null` when Graph did not say.
    pub enabled: Option<bool>,
    /// Member or guest.
    #[serde(rename = "type")]
    pub user_type: Option<UserType>,
}

/// One rule's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TriedRule {
    /// Order, group, outcome and why.
    #[serde(flatten)]
    pub ruling: RuleShown,
    /// The group's name.
    pub group_name: String,
    /// How the person is in the group, if they are.
    pub member: Option<Member>,
}

/// How somebody is in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// In the group itself.
    Direct,
    /// In a group inside it.
    Nested,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TriedField {
    /// The field.
    pub name: String,
    /// The expression; `null` where there is none.
    pub expression: Option<String>,
    /// What it would get; `null` is nothing.
    pub value: Value,
    /// Where the value comes from.
    pub source: FieldSource,
    /// Why the expression gives nothing that can be kept: the field would stay as it is.
    pub error: Option<String>,
}

/// Where a field's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldSource {
    /// The expression.
    Expression,
    /// `[defaults]`, since Entra has nothing.
    Default,
    /// `clear_when_blank`: the field is emptied.
    Cleared,
    /// Kept here, never written by the sync.
    Local,
    /// Nowhere: the field stays as it is.
    Nowhere,
}

/// Tries rules and fields on one person.
pub fn try_on(tried: &Tried<'_>, now: Timestamp) -> Trial {
    let Tried { profile, rules, .. } = tried;
    let desired = desired(&mirrored(tried, now), rules, &DecisionSettings { guests: tried.guests });
    let kind = desired.grant.as_ref().map(|grant| grant.kind);
    Trial {
        user: TriedUser { id: profile.id, enabled: profile.account_enabled, user_type: profile.user_type },
        access: desired.grant.is_some() && desired.reasons.is_empty() && desired.unknown.is_none(),
        reasons: desired.reasons.iter().copied().collect(),
        kind,
        role: desired.grant.as_ref().and_then(|grant| grant.role.clone()),
        permissions: desired.grant.as_ref().map(|grant| grant.permissions.clone()).unwrap_or_default(),
        rules: tried_rules(tried, &desired),
        fields: tried_fields(tried, kind.unwrap_or(Kind::Employee)),
    }
}

impl Trial {
    /// The rule that decides.
    pub fn winner(&self) -> Option<&TriedRule> {
        self.rules.iter().find(|rule| rule.ruling.outcome == Outcome::Won)
    }
}

/// The person as the mirror would hold them after this read.
fn mirrored(tried: &Tried<'_>, now: Timestamp) -> MirroredUser {
    let (ticket, read_at, source) = (Ticket(1), now, Source::ById);
    let found = ProfileFound::Present(tried.profile.clone().into());
    let mapped = |group: &ObjectId| tried.groups.get(group).map(|direct| (*group, *direct));
    let groups = tried.rules.groups().filter_map(|group| mapped(&group)).collect();
    let mut user = MirroredUser::unknown(tried.profile.id);
    user.merge(&PersonRead {
        user: tried.profile.id,
        profile: Some(ProfileRead { ticket, read_at, source, found }),
        membership: Some(MembershipRead { ticket, read_at, source, groups }),
    });
    user
}

fn tried_rules(tried: &Tried<'_>, desired: &Desired) -> Vec<TriedRule> {
    let shown = |ruling: &Ruling| TriedRule {
        ruling: RuleShown::from(ruling),
        group_name: tried.rules.lookup(ruling.group).map(|rule| rule.group_name.clone()).unwrap_or_default(),
        member: match tried.groups.get(&ruling.group) {
            Some(Some(true)) => Some(Member::Direct),
            Some(_) => Some(Member::Nested),
            None => None,
        },
    };
    desired.rulings.iter().map(shown).collect()
}

fn tried_fields(tried: &Tried<'_>, kind: Kind) -> Vec<TriedField> {
    let mapped = field::map_fields(tried.profile, kind, tried.fields, tried.defaults);
    let rules = field::rules_of(kind, tried.fields);
    let mut fields = vec![email(tried.profile), username(tried)];
    for name in mapped.sources.keys() {
        let expression = rules.get(name).and_then(|rule| rule.from.as_ref()).map(ToString::to_string);
        fields.push(tried_field(name, expression, &mapped));
    }
    fields
}

fn tried_field(name: &str, expression: Option<String>, mapped: &MappedFields) -> TriedField {
    let default = mapped.sources.get(name).is_some_and(|source| source == "default");
    let local = mapped.sources.get(name).is_some_and(|source| source == "local");
    let (value, source) = match mapped.values.get(name) {
        Some(Mapped::Value(value)) if default => (value.clone(), FieldSource::Default),
        Some(Mapped::Value(value)) => (value.clone(), FieldSource::Expression),
        Some(Mapped::WhenEmpty(value)) => (value.clone(), FieldSource::Default),
        Some(Mapped::Clear) => (Value::Null, FieldSource::Cleared),
        None if local => (Value::Null, FieldSource::Local),
        None => (Value::Null, FieldSource::Nowhere),
    };
    let error = mapped.failed.iter().find(|failed| failed.name == name).map(|failed| failed.why.clone());
    TriedField { name: name.to_owned(), expression, value, source, error }
}

fn email(profile: &Profile) -> TriedField {
    let found = matching::email(profile).map(|email| email.map(str::to_owned));
    fixed("email", "user.mail", found)
}

fn username(tried: &Tried<'_>) -> TriedField {
    let style = tried.settings.username;
    fixed("username", username::expression(style), username::of(tried.profile, style))
}

/// A field that every record has, by its own rule.
fn fixed(name: &str, expression: &str, found: Result<Option<String>, &'static str>) -> TriedField {
    let source = if matches!(found, Ok(Some(_))) { FieldSource::Expression } else { FieldSource::Nowhere };
    let error = found.as_ref().err().map(|why| (*why).to_owned());
    let value = found.ok().flatten().map_or(Value::Null, Value::String);
    TriedField { name: name.to_owned(), expression: Some(expression.to_owned()), value, source, error }
}
