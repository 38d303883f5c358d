//! From a rules file to rules in force: read the named groups, show who would change, apply.

use std::collections::BTreeMap;

use lockstep_core::field::FieldMap;
use lockstep_core::profile::Profile;
use lockstep_core::rule::{Rule, RuleError, RuleSet};
use lockstep_core::rules_file::{RuleSpec, RulesFile};
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::trial::{self, Trial, Tried};
use lockstep_core::{ObjectId, TaskId, Timestamp};
use lockstep_graph::{GraphClient, Group, GroupRead};
use lockstep_store::{Connection, NewRules, Store, TaskKind};
use lockstep_worker::{RulePlan, preview_rules};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::word::word;

/// Printed by `connection add --help` and `rule plan --help`.
pub const SAMPLE_HELP: &str = "\
A sample rules.toml (group ids are the object ids of security groups in Entra):

  [[rule]]
  group = \"00000000-0000-0000-0000-000000000000\"
  order = 10                  # lowest wins
  kind = \"employee\"           # or \"contact\"
  role = \"Technician\"
  permissions = [\"tickets\"]
  nested = true               # members of groups inside it count (the default);
                              # Microsoft's own app assignment does not count them

  [[rule]]
  group = \"11111111-1111-1111-1111-111111111111\"
  exclude = true              # beats every other rule

  [fields]
  job_title = \"user.jobTitle\"
  team = \"before(user.department, '/')\"    # docs/rules.md lists the functions

  [settings]
  username = \"local-part\"     # or \"upn\", \"email\"";

/// A rules file with its groups as Entra knows them now.
pub struct ReadRules {
    rules: Vec<Rule>,
    fields: FieldMap,
    defaults: Defaults,
    settings: Settings,
}

impl ReadRules {
    /// What these rules would make of one person.
    pub fn try_on(
        &self,
        connection: &Connection,
        profile: &Profile,
        groups: &BTreeMap<ObjectId, Option<bool>>,
        now: Timestamp,
    ) -> Result<Trial, Failure> {
        let rules = self.rule_set(connection)?;
        let (fields, defaults, settings, guests) = (&self.fields, &self.defaults, &self.settings, connection.guests);
        Ok(trial::try_on(&Tried { profile, groups, rules: &rules, fields, defaults, settings, guests }, now))
    }

    /// What the file says, whatever it looks like: equal for equal rules.
    pub fn content(&self) -> Value {
        json!({ "rules": self.rules, "fields": self.fields, "defaults": self.defaults, "settings": self.settings })
    }

    fn rule_set(&self, connection: &Connection) -> Result<RuleSet, Failure> {
        let refused = |error: &RuleError| Failure::of("reading the rules file", error);
        connection.grantable.check(&self.rules).map_err(|error| refused(&error))?;
        RuleSet::build(connection.rules_version + 1, self.rules.clone()).map_err(|error| refused(&error))
    }
}

/// Parses the file and reads every group it names by id.
pub async fn read_rules(client: &GraphClient, text: &str) -> Result<ReadRules, Failure> {
    let file = RulesFile::parse(text).map_err(|error| Failure::of("reading the rules file", &error))?;
    let mut rules = Vec::with_capacity(file.rules.len());
    for spec in file.rules {
        let group = readable_group(client, &spec).await?;
        rules.push(spec.into_rule(group.display_name, group.created_at));
    }
    Ok(ReadRules { rules, fields: file.fields, defaults: file.defaults, settings: file.settings })
}

/// A group that is not there, or whose members may not be seen, can never give or take access: absence of its members
/// would prove nothing (M, hidden membership).
async fn readable_group(client: &GraphClient, spec: &RuleSpec) -> Result<Group, Failure> {
    let refused = |why: &str| Failure::Failed(format!("reading the rules file: group {} {why}", spec.group));
    match client.read_group(spec.group).await? {
        GroupRead::NotFound => {
            Err(refused("does not exist in the tenant; use the object id of an existing security group"))
        }
        GroupRead::Present(group) if group.visibility.as_deref() == Some("HiddenMembership") => {
            Err(refused("has a hidden membership and cannot be used in a rule; use a group whose members may be read"))
        }
        GroupRead::Present(group) => Ok(group),
    }
}

/// Who would change under these rules. Writes nothing.
pub async fn plan_rules(
    store: &Store,
    client: &GraphClient,
    connection: &Connection,
    read: &ReadRules,
) -> Result<RulePlan, Failure> {
    let rules = read.rule_set(connection)?;
    let (fields, defaults, settings) = (read.fields.clone(), read.defaults.clone(), read.settings.clone());
    Ok(preview_rules(store, client, connection, rules, fields, defaults, settings).await?)
}

/// Who would change by the rules in force: the plan of a first sync (M12). Writes nothing.
pub async fn plan_first_sync(
    store: &Store,
    client: &GraphClient,
    connection: &Connection,
) -> Result<RulePlan, Failure> {
    let rules = store.rule_set(connection.id).await?;
    let Connection { fields, defaults, settings, .. } = connection.clone();
    Ok(preview_rules(store, client, connection, rules, fields, defaults, settings).await?)
}

/// What rules brought about.
#[derive(Clone, Copy)]
pub struct InForce {
    /// The version of the rules.
    pub version: i64,
    /// What brings everybody in step.
    pub task: TaskId,
    /// Every group is mirrored: nothing has to be listed first.
    pub mirrored: bool,
}

/// Puts the rules in force and starts what brings everyone in step with them. The people on the shown plan are exempt from
/// the brake, nobody else is.
pub async fn apply_rules(
    store: &Store,
    connection: &Connection,
    read: ReadRules,
    plan: &RulePlan,
) -> Result<InForce, Failure> {
    let mirrored = plan.unmirrored.is_empty() && connection.first_sync_at.is_some();
    let new = NewRules {
        rules: read.rules,
        fields: &read.fields,
        defaults: &read.defaults,
        settings: &read.settings,
        confirmed: &plan.leaving,
        plan: counts(plan),
        planned_on: connection.rules_version,
        follow_up: if mirrored { TaskKind::Reevaluate } else { TaskKind::FullSync },
    };
    let (version, task) = store.put_rules_in_force(connection.id, new).await?;
    Ok(InForce { version, task, mirrored })
}

/// The plan as the audit trail keeps it: who loses access stands there by record, names do not.
pub fn counts(plan: &RulePlan) -> Value {
    plan.buckets().into_iter().map(|(what, bucket)| (word(what), Value::from(bucket.count))).collect()
}
