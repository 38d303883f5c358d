//! Rules as they are shown.

use lockstep_core::record::Kind;
use lockstep_core::{ConnectionId, ObjectId, Timestamp};
use serde::Serialize;

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
}

const RULES: &str = "SELECT r.group_id, r.rule_order, r.kind, r.role, r.permissions, r.nested, r.exclude, r.group_name, \
     r.group_created_at, CASE WHEN r.exclude THEN (SELECT count(*) FROM membership m \
     WHERE m.connection_id = r.connection_id AND m.group_id = r.group_id AND m.present) \
     ELSE coalesce(w.people, 0) END AS people \
     FROM rule r LEFT JOIN (SELECT rule_group_id, count(*) AS people FROM record \
     WHERE connection_id = $1 AND status = 'active' GROUP BY rule_group_id) w ON w.rule_group_id = r.group_id \
     WHERE r.connection_id = $1 ORDER BY r.rule_order, coalesce(r.group_created_at, $2), r.group_id";

impl RuleView {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            group: ObjectId(row.get("group_id")?),
            order: row.get("rule_order")?,
            kind: row.word("rule", "kind", meaning)?,
            role: row.get("role")?,
            permissions: row.json("rule", "permissions")?,
            nested: row.get("nested")?,
            exclude: row.get("exclude")?,
            group_name: row.get("group_name")?,
            group_created_at: row.maybe_at("group_created_at")?,
            people: u64::try_from(row.get::<i64>("people")?).unwrap_or(0),
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
        rows.iter().map(RuleView::from_row).collect()
    }
}
