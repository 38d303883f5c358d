//! Rules as they are shown.

use lockstep_core::record::Kind;
use lockstep_core::{ConnectionId, ObjectId, Timestamp};
use serde::Serialize;

use super::explain::chain::inside;
use super::meaning;
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, sql};

/// A rule as in the file, with what Entra says of its group and how many people it concerns.
#[derive(Clone, Debug, Serialize)]
pub struct RuleView {
    /// The mapped group.
    pub group: ObjectId,
    /// Lowest wins.
    pub order: i64,
    /// Kind of record it gives.
    pub kind: Kind,
    /// Role it gives.
    pub role: Option<String>,
    /// Module permissions it gives.
    pub permissions: Vec<String>,
    /// Members of groups inside the group count too.
    pub nested: bool,
    /// Beats every include.
    pub exclude: bool,
    /// The group's name when the rule was applied.
    pub group_name: String,
    /// When the group was made in Entra: breaks ties of equal order (M2).
    pub group_created_at: Option<Timestamp>,
    /// Active people whose access it gives; of an exclude rule, the people it keeps out.
    pub people: u64,
    /// People in the group, as far as the mirror knows.
    pub members: u64,
    /// What became of the group: a rule for one that is empty, deleted or hidden gives nobody access.
    pub group_state: GroupState,
    /// The groups inside the mapped one, each with the chain of names that leads there; empty where only direct members
    /// count (M10).
    pub inside: Vec<Vec<String>>,
}

/// What is known of a mapped group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// It has members.
    InUse,
    /// Listed to the end, and nobody is in it.
    Empty,
    /// Entra answers 404.
    Deleted,
    /// Its members may not be read: what is not shown there proves nothing.
    Hidden,
    /// Its members were not listed yet.
    NotListed,
}

const RULES: &str = "SELECT r.group_id, r.rule_order, r.kind, r.role, r.permissions, r.nested, r.exclude, r.group_name, \
     r.group_created_at, coalesce(w.people, 0) AS people, (SELECT count(*) FROM membership m \
     WHERE m.connection_id = r.connection_id AND m.group_id = r.group_id AND m.present) AS members, \
     g.state, g.hidden, g.listed_at \
     FROM rule r LEFT JOIN directory_group g ON g.connection_id = r.connection_id AND g.group_id = r.group_id LEFT JOIN (SELECT rule_group_id, count(*) AS people FROM record \
     WHERE connection_id = $1 AND status = 'active' GROUP BY rule_group_id) w ON w.rule_group_id = r.group_id \
     WHERE r.connection_id = $1 ORDER BY r.rule_order, coalesce(r.group_created_at, $2), r.group_id";

impl RuleView {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let count = |column| row.get::<i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
        let (exclude, members): (bool, u64) = (row.get("exclude")?, count("members")?);
        let listed = row.maybe_at("listed_at")?.is_some();
        let group_state = match row.get::<Option<String>>("state")?.as_deref() {
            Some("deleted") => GroupState::Deleted,
            Some(_) if row.get::<Option<bool>>("hidden")? == Some(true) => GroupState::Hidden,
            Some(_) if listed && members == 0 => GroupState::Empty,
            Some(_) if listed => GroupState::InUse,
            _ => GroupState::NotListed,
        };
        Ok(Self {
            group: ObjectId(row.get("group_id")?),
            order: row.get("rule_order")?,
            kind: row.word("rule", "kind", meaning)?,
            role: row.get("role")?,
            permissions: row.json("rule", "permissions")?,
            nested: row.get("nested")?,
            exclude,
            group_name: row.get("group_name")?,
            group_created_at: row.maybe_at("group_created_at")?,
            people: if exclude { members } else { count("people")? },
            members,
            group_state,
            inside: Vec::new(),
        })
    }
}

impl Store {
    /// A connection's rules in their total order (M2).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_rule_views(&self, connection: ConnectionId) -> Result<Vec<RuleView>, StoreError> {
        // A group without a known age sorts last.
        let rows = self.all("listing rules", sql(RULES).bind(connection).bind(i64::MAX)).await?;
        let mut views = rows.iter().map(RuleView::from_row).collect::<Result<Vec<_>, _>>()?;
        let children = self.group_children(connection).await?;
        if views.iter().any(|view| view.nested && children.contains_key(&view.group)) {
            let names = self.group_names(connection).await?;
            for view in views.iter_mut().filter(|view| view.nested) {
                view.inside = inside(view.group, &children, &names);
            }
        }
        Ok(views)
    }
}
