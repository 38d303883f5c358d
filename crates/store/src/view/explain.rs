//! Everything `record explain` tells: why this record has the access it has.

use std::collections::BTreeMap;

use lockstep_core::desired::{DecisionSettings, desired};
use lockstep_core::explain::{self, AccessShown, Explanation, FieldShown, GroupShown, LookShown};
use lockstep_core::field::{MappedFields, map_fields};
use lockstep_core::mirror::{MembershipFacet, MirroredUser, ProfileFacet};
use lockstep_core::record::{Record, Status};
use lockstep_core::rule::RuleSet;
use lockstep_core::{ConnectionId, ObjectId, RecordId};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::hold::HoldView;
use super::record::RecordView;
use super::review::ReviewView;
use crate::connection::Connection;
use crate::db::Store;
use crate::error::StoreError;
use crate::mirror::{MirroredPerson, People};
use crate::sql::sql;

pub(super) mod chain;

use chain::{Children, chain};

/// What an explanation is made of. No Debug: it holds personal data (G-27).
pub struct ExplainSource {
    /// The record as it is shown.
    pub record: RecordView,
    /// What Microsoft says of the person; `None` for a record nobody is linked to.
    pub linked: Option<LinkedPerson>,
    /// Holds that keep its change back.
    pub holds: Vec<HoldView>,
    /// Open questions about the person.
    pub reviews: Vec<ReviewView>,
}

/// The directory's side of a record.
pub struct LinkedPerson {
    /// The connection it is linked through.
    pub connection: Connection,
    /// The record as decisions see it.
    pub record: Record,
    /// The mirrored user.
    pub user: MirroredUser,
    /// The rules that hold now.
    pub rules: RuleSet,
    /// Mapped groups the person is in, each with the chain that leads there.
    pub groups: Vec<GroupShown>,
    /// When the person is looked at next.
    pub next_look: Option<LookShown>,
}

const GROUP_NAMES: &str = "SELECT group_id, name FROM directory_group WHERE connection_id = $1";
const NEXT_LOOK: &str = "SELECT due_at, reason FROM due WHERE connection_id = $1 AND object_id = $2";
const GROUP_EDGES: &str = "SELECT parent_id, child_id FROM group_edge WHERE connection_id = $1";

impl ExplainSource {
    /// Asks the same decision as the sync, over the same data, with nothing written.
    pub fn explanation(&self) -> Explanation {
        let mut explanation = match &self.linked {
            Some(linked) => linked.explanation(shown(&self.record)),
            None => unlinked(&self.record),
        };
        if explanation.access.granted && !self.holds.is_empty() {
            explanation.access.why.push_str("; the brake holds it back");
        }
        explanation.holds = self.holds.iter().map(shown).collect();
        explanation.reviews = self.reviews.iter().map(shown).collect();
        explanation
    }
}

impl LinkedPerson {
    fn explanation(&self, record: Value) -> Explanation {
        let desired = desired(&self.user, &self.rules, &DecisionSettings { guests: self.connection.guests });
        let (fields, groups) = (self.mapped_fields(), self.groups.clone());
        let mut explanation = explain::explain(record, &self.record, &self.user, &desired, &fields, groups);
        explanation.complete(&self.rules, self.next_look.clone());
        explanation
    }

    fn mapped_fields(&self) -> MappedFields {
        let profile = match &self.user.profile {
            ProfileFacet::Present { profile, .. } => Some(profile),
            ProfileFacet::Missing { last, .. } => last.as_ref(),
            ProfileFacet::Unknown => None,
        };
        profile
            .map(|profile| map_fields(profile, self.record.kind, &self.connection.fields, &self.connection.defaults))
            .unwrap_or_default()
    }
}

/// A record nobody is linked to has no user, groups or rules, and all its values are the application's.
fn unlinked(record: &RecordView) -> Explanation {
    let field = |(name, value): (&String, &Value)| FieldShown {
        name: name.clone(),
        value: value.clone(),
        source: "local".to_owned(),
    };
    Explanation {
        record: shown(record),
        access: AccessShown {
            granted: record.status == Status::Active,
            why: "linked to nobody in Microsoft".to_owned(),
        },
        user: None,
        groups: Vec::new(),
        rules: Vec::new(),
        fields: record.fields.iter().map(field).collect(),
        holds: Vec::new(),
        reviews: Vec::new(),
        next_look: None,
    }
}

/// Views have text keys only, so they are always JSON.
fn shown(view: &impl Serialize) -> Value {
    serde_json::to_value(view).unwrap_or_default()
}

impl Store {
    /// Everything an explanation of this record is made of; `None` when there is no such record.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn explain_source(&self, id: RecordId) -> Result<Option<ExplainSource>, StoreError> {
        let Some(record) = self.lookup_record_view(&id.to_string()).await? else {
            return Ok(None);
        };
        let linked = self.linked_person(&record).await?;
        let reviews = match &linked {
            Some(linked) => self.reviews_of(linked.connection.id, linked.user.id).await?,
            None => Vec::new(),
        };
        Ok(Some(ExplainSource { holds: self.holds_of(id).await?, record, linked, reviews }))
    }

    async fn linked_person(&self, shown: &RecordView) -> Result<Option<LinkedPerson>, StoreError> {
        let (Some(name), Some(user)) = (&shown.connection, shown.entra_id) else {
            return Ok(None);
        };
        let Some(connection) = self.lookup_connection_by_name(name).await? else {
            return Ok(None);
        };
        let person = self.load_people(&connection, People::Ids(&[user])).await?.pop();
        // An archived record keeps the id of somebody who is linked to another one now.
        let Some(MirroredPerson { user, record: Some(record), .. }) = person.filter(|person| is_of(person, shown.id))
        else {
            return Ok(None);
        };
        let rules = self.rule_set(connection.id).await?;
        let groups = self.groups_of(connection.id, &rules, &user.membership).await?;
        let next_look = self.next_look(connection.id, user.id).await?;
        Ok(Some(LinkedPerson { connection, record, user, rules, groups, next_look }))
    }

    async fn next_look(&self, connection: ConnectionId, user: ObjectId) -> Result<Option<LookShown>, StoreError> {
        let row = self.one("reading what is due", sql(NEXT_LOOK).bind(connection).bind(user)).await?;
        row.map(|row| Ok(LookShown { at: row.at("due_at")?, reason: row.get("reason")? })).transpose()
    }

    /// The mapped groups the person is in, in the order of their rules.
    async fn groups_of(
        &self,
        connection: ConnectionId,
        rules: &RuleSet,
        membership: &MembershipFacet,
    ) -> Result<Vec<GroupShown>, StoreError> {
        let names = self.group_names(connection).await?;
        let children = self.group_children(connection).await?;
        let name = |group: ObjectId| names.get(&group).cloned().unwrap_or_else(|| group.to_string());
        let in_group = |group: &ObjectId| membership.edges.get(group).is_some_and(|edge| edge.present);
        let groups = rules.rules().iter().filter(|rule| in_group(&rule.group));
        Ok(groups
            .map(|rule| GroupShown {
                id: rule.group,
                name: names.get(&rule.group).unwrap_or(&rule.group_name).clone(),
                chain: chain(rule.group, &membership.edges, &children).into_iter().map(name).collect(),
            })
            .collect())
    }

    pub(super) async fn group_names(&self, connection: ConnectionId) -> Result<BTreeMap<ObjectId, String>, StoreError> {
        let rows = self.all("reading the names of groups", sql(GROUP_NAMES).bind(connection)).await?;
        rows.iter().map(|row| Ok((ObjectId(row.get::<Uuid>("group_id")?), row.get("name")?))).collect()
    }

    pub(super) async fn group_children(&self, connection: ConnectionId) -> Result<Children, StoreError> {
        let mut children = Children::new();
        for row in self.all("reading groups in groups", sql(GROUP_EDGES).bind(connection)).await? {
            let (parent, child) = (ObjectId(row.get("parent_id")?), ObjectId(row.get("child_id")?));
            children.entry(parent).or_default().insert(child);
        }
        Ok(children)
    }
}

fn is_of(person: &MirroredPerson, id: RecordId) -> bool {
    person.record.as_ref().is_some_and(|record| record.id == id)
}
