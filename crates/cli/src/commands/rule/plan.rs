//! `lockstep rule plan`: who would change under a rules file.

use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_core::preview::{ChangedValue, Outlook};
use lockstep_core::rules_file;
use lockstep_store::{Connection, ShownPlan, Store};
use lockstep_worker::{Bucket, PlannedPerson, RulePlan, graph_client};
use serde_json::{Value, json};

use crate::app::{App, named_connection};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Output, or_dash};
use crate::rules::{ReadRules, counts, plan_rules, read_rules};
use crate::word::word;

#[derive(Args)]
pub struct Plan {
    #[command(flatten)]
    rules: RulesFile,
    /// List everyone for whom something changes, with what changes; `--output csv` always does
    #[arg(long)]
    full: bool,
}

#[derive(Args)]
pub struct RulesFile {
    /// The connection's name
    pub name: String,
    /// The rules file
    pub file: PathBuf,
}

/// A plan and all it was made from.
pub struct Planned {
    pub store: Store,
    pub connection: Connection,
    pub read: ReadRules,
    pub plan: RulePlan,
}

const COLUMNS: [&str; 6] = ["what", "record", "entra id", "name", "rule", "changes"];

impl Plan {
    pub async fn run(self, app: &App, output: Output) -> Outcome {
        let planned = self.rules.plan(app).await?;
        planned.note_shown().await?;
        let plan = &planned.plan;
        match output {
            Output::Csv => return output::line(&output::csv(&COLUMNS, plan.people.iter().map(row))),
            Output::Json if self.full => return output::json(&with_people(plan)),
            Output::Json => return output::json(plan),
            Output::Table => output::line(&shown(plan))?,
        }
        if self.full && !plan.people.is_empty() {
            output::line(&format!("\n{}", output::table(&COLUMNS, plan.people.iter().map(row))))?;
        }
        let (name, file) = (&self.rules.name, self.rules.file.display());
        let yes = if plan.leaving.is_empty() { "" } else { " --yes" };
        output::note(&format!("nothing was changed; next: lockstep rule apply {name} {file}{yes}"));
        Ok(())
    }
}

impl RulesFile {
    /// The text of the file. A mistake in it should show without asking Microsoft anything.
    pub fn text(&self) -> Result<String, Failure> {
        let text = read_file(&self.file)?;
        rules_file::RulesFile::parse(&text).map_err(|error| Failure::of(self.file.display(), &error))?;
        Ok(text)
    }

    pub async fn plan(&self, app: &App) -> Result<Planned, Failure> {
        let text = self.text()?;
        let store = app.store().await?;
        let connection = named_connection(&store, &self.name).await?;
        let client = graph_client(&store, &connection, &app.graph()).await?;
        let read = read_rules(&client, &text).await?;
        let plan = plan_rules(&store, &client, &connection, &read).await?;
        Ok(Planned { store, connection, read, plan })
    }
}

fn read_file(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| Failure::of(format!("reading {}", file.display()), &error))
}

impl Planned {
    /// What somebody sees now is what they confirm later.
    pub async fn note_shown(&self) -> Result<(), Failure> {
        let shown = ShownPlan {
            file: self.read.content(),
            planned_on: self.connection.rules_version,
            leaving: self.plan.leaving.iter().copied().collect(),
            plan: counts(&self.plan),
        };
        Ok(self.store.note_shown_plan(self.connection.id, &shown).await?)
    }
}

/// The buckets as a table.
pub fn shown(plan: &RulePlan) -> String {
    let rows = plan
        .buckets()
        .into_iter()
        .map(|(what, bucket)| vec![word(what).replace('_', " "), bucket.count.to_string(), sample(bucket)]);
    output::table(&["what", "people", "for example"], rows)
}

/// A few names are enough on a screen; JSON has the whole sample.
fn sample(bucket: &Bucket) -> String {
    const SHOWN: usize = 3;
    let people = bucket.sample.iter().take(SHOWN);
    let names = people.map(|person| person.display_name.clone().unwrap_or_else(|| person.entra_id.to_string()));
    let mut text = names.collect::<Vec<_>>().join(", ");
    if bucket.count > SHOWN as u64 {
        text.push_str(", …");
    }
    text
}

fn with_people(plan: &RulePlan) -> Value {
    let mut value = json!(plan);
    value["people"] = json!(plan.people);
    value
}

fn row(planned: &PlannedPerson) -> Vec<String> {
    let PlannedPerson { what, person, rule, changes } = planned;
    let changes: Vec<String> = changes.iter().map(|change| in_words(change, *what)).collect();
    vec![
        word(*what),
        or_dash(person.record.as_ref()),
        person.entra_id.to_string(),
        or_dash(person.display_name.as_ref()),
        or_dash(rule.as_ref()),
        changes.join("; "),
    ]
}

fn in_words(change: &ChangedValue, what: Outlook) -> String {
    let text = |value: &Value| match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    if what == Outlook::Deactivated && change.field == "reasons" {
        return format!("loses access: {}", text(&change.after));
    }
    format!("{}: {} → {}", change.field, text(&change.before), text(&change.after))
}
