//! The rules of a connection, replaced as a whole.

use std::collections::BTreeSet;

use lockstep_core::field::FieldMap;
use lockstep_core::record::Kind;
use lockstep_core::rule::{Grantable, Rule, RuleSet};
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::{ConnectionId, ObjectId, RecordId, TaskId};
use serde_json::{Value, json};

use crate::audit::{Actor, AuditEntry};
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::record::{kind_from, kind_word};
use crate::sql::{Bind, ROWS_PER_STATEMENT, Row, sql};
use crate::task::TaskKind;

const LIST: &str = "SELECT group_id, rule_order, kind, role, permissions, nested, exclude, group_name, group_created_at
    FROM rule WHERE connection_id = $1";
const VERSION: &str = "SELECT rules_version FROM connection WHERE id = $1";
const RAISE: &str = "UPDATE connection SET rules_version = rules_version + 1, fields = $2, defaults = $3, settings = $4
    WHERE id = $1 RETURNING rules_version, grantable";
const CLEAR: &str = "DELETE FROM rule WHERE connection_id = $1";
const CLEAR_EXEMPTIONS: &str = "DELETE FROM exemption WHERE connection_id = $1";
// The mapped groups come into scope; what was read of one that is known stays.
const INTO_SCOPE: &str = " ON CONFLICT (connection_id, group_id) DO UPDATE SET name = excluded.name,
    created_in_entra_at = coalesce(excluded.created_in_entra_at, directory_group.created_in_entra_at)";

/// Shared by those who decide by the rules; taken by whoever replaces them: nothing is committed by rules that are gone.
pub(crate) fn rules_lock(connection: ConnectionId) -> String {
    format!("rules of {connection}")
}

/// Rules with everything that comes with them, and the plan that was confirmed for them.
pub struct NewRules<'a> {
    /// In any order.
    pub rules: Vec<Rule>,
    /// `[fields]`.
    pub fields: &'a FieldMap,
    /// `[defaults.*]`.
    pub defaults: &'a Defaults,
    /// `[settings]`.
    pub settings: &'a Settings,
    /// The people on the confirmed plan who lose access by it: exempt from the brake, and the plan is the evidence (G-10 e).
    pub confirmed: &'a [RecordId],
    /// The plan as it was shown, for the audit trail.
    pub plan: Value,
    /// The rules it was made upon.
    pub planned_on: i64,
    /// What brings everybody in step: [`TaskKind::FullSync`], or [`TaskKind::Reevaluate`] where every group is mirrored.
    pub follow_up: TaskKind,
}

impl Store {
    /// The rules of a connection in their total order.
    ///
    /// # Errors
    /// `ImpossibleRow` when a stored rule cannot be.
    pub async fn rule_set(&self, connection: ConnectionId) -> Result<RuleSet, StoreError> {
        let version = self.one("rule_set", sql(VERSION).bind(connection)).await?;
        let rows = self.all("rule_set", sql(LIST).bind(connection)).await?;
        rule_set_from(connection, version, &rows)
    }

    /// Replaces the rules of a connection, and starts what brings everybody in step, in one transaction. Gives the new
    /// version, and that task. Decisions by older rules fail at their commit.
    ///
    /// # Errors
    /// `NotFound` when the connection is gone, `Refused` when they give more than the operator lets it give (TH-10),
    /// `Conflict` when other rules came into force since the plan was made.
    pub async fn put_rules_in_force(
        &self,
        connection: ConnectionId,
        new: NewRules<'_>,
    ) -> Result<(i64, TaskId), StoreError> {
        let mut tx = self.begin("apply_rules").await?;
        let planned_on = new.planned_on;
        let follow_up = new.follow_up;
        let version = tx.set_rules(connection, new).await?;
        if version != planned_on + 1 {
            return Err(StoreError::Conflict {
                operation: "apply_rules",
                why: "other rules came into force meanwhile",
            });
        }
        let now = tx.now();
        let task = tx.start_task(connection, follow_up, None, now).await?;
        tx.commit().await?;
        Ok((version, task))
    }

    /// Replaces the rules of a connection and everything that came with them; starts nothing. The people on the confirmed
    /// plan may lose access by these rules without the brake. Gives the new version: decisions by older rules fail at their
    /// commit.
    ///
    /// # Errors
    /// `NotFound` when the connection is gone.
    pub async fn apply_rules(
        &self,
        connection: ConnectionId,
        rules: Vec<Rule>,
        fields: &FieldMap,
        defaults: &Defaults,
        settings: &Settings,
        confirmed: &[RecordId],
    ) -> Result<i64, StoreError> {
        let mut tx = self.begin("apply_rules").await?;
        let (plan, planned_on, follow_up) = (Value::Null, 0, TaskKind::FullSync);
        let new = NewRules { rules, fields, defaults, settings, confirmed, plan, planned_on, follow_up };
        let version = tx.set_rules(connection, new).await?;
        tx.commit().await?;
        Ok(version)
    }
}

impl Tx {
    /// Whether these are the rules in force; then they stay so until this transaction ends.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn holds_rules(&mut self, connection: ConnectionId, version: i64) -> Result<bool, StoreError> {
        self.share_name(rules_lock(connection)).await?;
        let row = self.one(sql(VERSION).bind(connection)).await?;
        let in_force: Option<i64> = row.map(|row| row.get("rules_version")).transpose()?;
        Ok(in_force == Some(version))
    }

    /// The rules of a connection, which stay in force until this transaction ends. Whoever locks people does so before
    /// this, as whoever applies decisions has it.
    pub(crate) async fn rules_in_force(&mut self, connection: ConnectionId) -> Result<RuleSet, StoreError> {
        self.share_name(rules_lock(connection)).await?;
        let version = self.one(sql(VERSION).bind(connection)).await?;
        let rows = self.all(sql(LIST).bind(connection)).await?;
        rule_set_from(connection, version, &rows)
    }

    async fn set_rules(&mut self, connection: ConnectionId, new: NewRules<'_>) -> Result<i64, StoreError> {
        let NewRules { rules, fields, defaults, settings, confirmed, plan, .. } = new;
        self.lock_name(rules_lock(connection)).await?;
        let raise = sql(RAISE).bind(connection).bind(Bind::json(fields)).bind(Bind::json(defaults));
        let Some(row) = self.one(raise.bind(Bind::json(settings))).await? else {
            return Err(StoreError::NotFound { what: "connection", id: connection.to_string() });
        };
        let version: i64 = row.get("rules_version")?;
        // Here, so that no way of putting rules in force passes it by (TH-10).
        let grantable: Grantable = row.json("connection", "grantable")?;
        grantable.check(&rules).map_err(|refused| StoreError::refused(refused.to_string()))?;
        self.replace_rules(connection, &rules).await?;
        self.replace_exemptions(connection, confirmed, version).await?;
        self.audit(AuditEntry {
            connection: Some(connection),
            actor: Actor::Cli,
            action: "rule.apply",
            object_kind: "connection",
            object_id: connection.to_string(),
            detail: json!({ "version": version, "rules": rules, "fields": fields, "defaults": defaults,
                "settings": settings, "confirmed": confirmed, "plan": plan }),
        })
        .await?;
        Ok(version)
    }

    async fn replace_rules(&mut self, connection: ConnectionId, rules: &[Rule]) -> Result<(), StoreError> {
        let now = self.now();
        self.run(sql(CLEAR).bind(connection)).await?;
        for chunk in rules.chunks(ROWS_PER_STATEMENT) {
            let insert =
                sql("INSERT INTO rule (connection_id, group_id, rule_order, kind, role, permissions, nested, exclude,
                group_name, group_created_at) VALUES ");
            self.run(insert.rows(chunk.iter().map(|rule| rule_row(connection, rule)))).await?;
            let groups =
                sql("INSERT INTO directory_group (connection_id, group_id, name, created_in_entra_at, state, ticket,
                read_at) VALUES ");
            let groups = groups.rows(chunk.iter().map(|rule| -> Vec<Bind> {
                vec![
                    connection.into(),
                    rule.group.into(),
                    rule.group_name.as_str().into(),
                    rule.group_created_at.into(),
                    "present".into(),
                    0_i64.into(),
                    now.into(),
                ]
            }));
            self.run(groups.push(INTO_SCOPE)).await?;
        }
        Ok(())
    }

    /// A confirmation is for the shown plan alone: an older one ends with it.
    async fn replace_exemptions(
        &mut self,
        connection: ConnectionId,
        confirmed: &[RecordId],
        version: i64,
    ) -> Result<(), StoreError> {
        self.run(sql(CLEAR_EXEMPTIONS).bind(connection)).await?;
        let people: Vec<RecordId> = confirmed.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        for chunk in people.chunks(ROWS_PER_STATEMENT) {
            let rows = chunk.iter().map(|record| vec![connection.into(), (*record).into(), version.into()]);
            self.run(sql("INSERT INTO exemption (connection_id, record_id, rules_version) VALUES ").rows(rows)).await?;
        }
        Ok(())
    }
}

/// The rules of a connection as they stand, in no order.
pub(crate) async fn list_rules(tx: &mut Tx, connection: ConnectionId) -> Result<Vec<Rule>, StoreError> {
    tx.all(sql(LIST).bind(connection)).await?.iter().map(rule_from).collect()
}

fn rule_set_from(connection: ConnectionId, version: Option<Row>, rules: &[Row]) -> Result<RuleSet, StoreError> {
    let version: i64 = version.map_or(Ok(0), |row| row.get("rules_version"))?;
    let rules = rules.iter().map(rule_from).collect::<Result<Vec<_>, _>>()?;
    RuleSet::build(version, rules).map_err(|_| StoreError::impossible("rule", "group_id", connection))
}

fn rule_row(connection: ConnectionId, rule: &Rule) -> Vec<Bind> {
    vec![
        connection.into(),
        rule.group.into(),
        rule.order.into(),
        kind_word(rule.kind).into(),
        rule.role.clone().into(),
        Bind::json(&rule.permissions),
        rule.nested.into(),
        rule.exclude.into(),
        rule.group_name.as_str().into(),
        rule.group_created_at.into(),
    ]
}

fn rule_from(row: &Row) -> Result<Rule, StoreError> {
    const T: &str = "rule";
    let kind: Kind = row.word(T, "kind", kind_from)?;
    Ok(Rule {
        group: ObjectId(row.get("group_id")?),
        order: row.get("rule_order")?,
        kind,
        role: row.get("role")?,
        permissions: row.json(T, "permissions")?,
        nested: row.get("nested")?,
        exclude: row.get("exclude")?,
        group_name: row.get("group_name")?,
        group_created_at: row.maybe_at("group_created_at")?,
    })
}
