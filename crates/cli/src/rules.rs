//! From a rules file to rules in force: read the named groups, show who would change, apply.

use std::collections::BTreeMap;

use lockstep_core::field::FieldMap;
use lockstep_core::profile::Profile;
use lockstep_core::rule::{Rule, RuleSet};
use lockstep_core::rules_file::{RuleSpec, RulesFile};
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::trial::{self, Trial, Tried};
use lockstep_core::{ObjectId, TaskId, Timestamp};
use lockstep_graph::{GraphClient, Group, GroupRead};
use lockstep_store::{Connection, Store};
use lockstep_worker::{RulePlan, preview_rules};

use crate::failure::Failure;

/// Printed by `connection add --help` and `rule plan --help`.
pub const SAMPLE_HELP: &str = "\
A sample rules.toml (group ids are the object ids of security groups in Entra):

  [[rule]]
  group = \"00000000-0000-0000-0000-000000000000\"
  order = 10                  # lowest wins
  kind = \"employee\"           # or \"contact\"
  role = \"Technician\"
  permissions = [\"tickets\"]

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

    fn rule_set(&self, connection: &Connection) -> Result<RuleSet, Failure> {
        RuleSet::build(connection.rules_version + 1, self.rules.clone())
            .map_err(|error| Failure::of("reading the rules file", &error))
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

/// Puts the rules in force and starts the sync that brings everyone in step with them. The people on the shown plan are
/// exempt from the brake, nobody else is.
pub async fn apply_rules(
    store: &Store,
    connection: &Connection,
    read: ReadRules,
    plan: &RulePlan,
) -> Result<(i64, TaskId), Failure> {
    let version = store
        .apply_rules(connection.id, read.rules, &read.fields, &read.defaults, &read.settings, &plan.leaving)
        .await?;
    Ok((version, store.start_full_sync(connection.id).await?))
}
