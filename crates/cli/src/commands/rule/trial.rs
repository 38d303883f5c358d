//! `lockstep rule try`: a rules file on one person. Reads, and writes nothing.

use std::collections::BTreeMap;

use clap::Args;
use lockstep_core::ObjectId;
use lockstep_core::desired::Outcome as RuleOutcome;
use lockstep_core::profile::Profile;
use lockstep_core::trial::{FieldSource, Trial, TriedField, TriedRule};
use lockstep_graph::{GraphClient, MembershipsRead, UserRead};
use lockstep_worker::graph_client;
use serde_json::Value;

use super::RulesFile;
use crate::app::{App, named_connection};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, or_dash};
use crate::rules::read_rules;
use crate::word::{word, words};

#[derive(Args)]
pub struct Try {
    #[command(flatten)]
    rules: RulesFile,
    /// The person to try it on
    #[arg(long, value_name = "UPN_OR_ID")]
    user: String,
}

impl Try {
    pub async fn run(self, app: &App) -> Outcome {
        let text = self.rules.text()?;
        let store = app.store().await?;
        let connection = named_connection(&store, &self.rules.name).await?;
        let client = graph_client(&store, &connection, &app.graph()).await?;
        let read = read_rules(&client, &text).await?;
        let (profile, groups) = self.person(&client).await?;
        let trial = read.try_on(&connection, &profile, &groups, store.now())?;
        if app.format == Format::Json {
            return output::json(&trial);
        }
        output::line(&shown(&trial))?;
        output::note("nothing was changed");
        Ok(())
    }

    /// Profile and groups as Microsoft has them now.
    async fn person(&self, client: &GraphClient) -> Result<(Box<Profile>, BTreeMap<ObjectId, Option<bool>>), Failure> {
        let unknown = || {
            Failure::Failed(format!(
                "trying the rules: Microsoft knows no user {} in this tenant; check the spelling, or give the object id",
                self.user
            ))
        };
        let UserRead::Present(profile) = client.read_user_by_name(&self.user).await? else { return Err(unknown()) };
        let MembershipsRead::Present(found) = client.read_memberships(profile.id, true).await? else {
            return Err(unknown());
        };
        let direct = found.direct.unwrap_or_default();
        let mut groups: BTreeMap<_, _> = found.transitive.into_iter().map(|group| (group, Some(false))).collect();
        groups.extend(direct.into_iter().map(|group| (group, Some(true))));
        Ok((profile, groups))
    }
}

fn shown(trial: &Trial) -> String {
    let person = output::pairs(&[
        ("user", trial.user.id.to_string()),
        ("access", access(trial)),
        ("kind", trial.kind.map_or_else(|| "-".to_owned(), word)),
        ("role", or_dash(trial.role.as_ref())),
        ("permissions", if trial.permissions.is_empty() { "-".to_owned() } else { trial.permissions.join(", ") }),
    ]);
    let rules =
        output::table(&["order", "group", "name", "member", "outcome", "why"], trial.rules.iter().map(rule_row));
    let fields = output::table(&["field", "value", "from", "expression"], trial.fields.iter().map(field_row));
    let note = match trial.kind {
        Some(_) => "",
        None => "\n\nno rule gives access; the fields are those of an employee",
    };
    format!("{person}\n\n{rules}\n\n{fields}{note}")
}

fn access(trial: &Trial) -> String {
    match (trial.access, trial.winner()) {
        (true, Some(rule)) => format!("yes, by the rule for {} ({})", rule.group_name, rule.ruling.group),
        (true, None) => "yes".to_owned(),
        (false, _) if trial.reasons.is_empty() => {
            "undecided: Microsoft did not say whether the user is enabled".to_owned()
        }
        (false, _) => format!("no: {}", words(&trial.reasons)),
    }
}

fn rule_row(rule: &TriedRule) -> Vec<String> {
    let outcome = match rule.ruling.outcome {
        RuleOutcome::NotMember => "-".to_owned(),
        outcome => word(outcome),
    };
    vec![
        rule.ruling.order.to_string(),
        rule.ruling.group.to_string(),
        rule.group_name.clone(),
        rule.member.map_or_else(|| "-".to_owned(), word),
        outcome,
        rule.ruling.why.clone(),
    ]
}

fn field_row(field: &TriedField) -> Vec<String> {
    let value = match &field.value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let from = match (&field.error, field.source) {
        (Some(error), _) => format!("failed: {error}"),
        (None, FieldSource::Nowhere) => "blank".to_owned(),
        (None, source) => word(source),
    };
    vec![field.name.clone(), value, from, or_dash(field.expression.as_ref())]
}
