//! `lockstep rule …`: which groups give which access.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use lockstep_core::rules_file;
use lockstep_store::view::rule::RuleView;
use lockstep_store::{Connection, Store};
use lockstep_worker::{Bucket, RulePlan, graph_client};
use serde_json::json;

use crate::app::{App, named_connection};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::rules::{ReadRules, SAMPLE_HELP, apply_rules, plan_rules, read_rules};
use crate::word::word;

mod trial;

use trial::Try;

#[derive(Subcommand)]
pub enum Rule {
    /// Show who would change under a rules file; changes nothing
    #[command(after_help = SAMPLE_HELP)]
    Plan(RulesFile),
    /// Put a rules file in force and sync everyone with it
    #[command(after_help = SAMPLE_HELP)]
    Apply(Apply),
    /// Show what a rules file would make of one person, rule by rule and field by field; changes nothing
    #[command(after_help = SAMPLE_HELP)]
    Try(Try),
    /// List the rules in force, in the order they are tried
    List {
        /// The connection's name
        name: String,
    },
}

#[derive(Args)]
pub struct RulesFile {
    /// The connection's name
    name: String,
    /// The rules file
    file: PathBuf,
}

#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    rules: RulesFile,
    /// Do it even if people lose access
    #[arg(long)]
    yes: bool,
}

const LISTING: Listing<'_, RuleView> = Listing {
    columns: &["order", "group", "name", "kind", "role", "permissions", "nested", "people"],
    row: |rule| {
        vec![
            rule.order.to_string(),
            rule.group.to_string(),
            rule.group_name.clone(),
            if rule.exclude { "exclude".to_owned() } else { word(rule.kind) },
            or_dash(rule.role.as_ref()),
            rule.permissions.join(", "),
            if rule.nested { "yes" } else { "no" }.to_owned(),
            rule.people.to_string(),
        ]
    },
    when_empty: "no rules: write rules.toml (`lockstep rule plan --help` shows a sample), then `lockstep rule apply NAME rules.toml`",
};

impl Rule {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::Plan(rules) => plan(app, &rules).await,
            Self::Apply(apply) => apply.run(app).await,
            Self::Try(trial) => trial.run(app).await,
            Self::List { name } => {
                let store = app.store().await?;
                let connection = named_connection(&store, &name).await?;
                LISTING.print(app.format, &store.list_rule_views(connection.id).await?)
            }
        }
    }
}

async fn plan(app: &App, rules: &RulesFile) -> Outcome {
    let planned = rules.plan(app).await?;
    if app.format == Format::Json {
        return output::json(&planned.plan);
    }
    output::line(&shown(&planned.plan))?;
    let (name, file) = (&rules.name, rules.file.display());
    let yes = if planned.plan.deactivated.count > 0 { " --yes" } else { "" };
    output::note(&format!("nothing was changed; next: lockstep rule apply {name} {file}{yes}"));
    Ok(())
}

/// A plan and all it was made from.
struct Planned {
    store: Store,
    connection: Connection,
    read: ReadRules,
    plan: RulePlan,
}

impl RulesFile {
    /// The text of the file. A mistake in it should show without asking Microsoft anything.
    fn text(&self) -> Result<String, Failure> {
        let text = read_file(&self.file)?;
        rules_file::RulesFile::parse(&text).map_err(|error| Failure::of(self.file.display(), &error))?;
        Ok(text)
    }

    async fn plan(&self, app: &App) -> Result<Planned, Failure> {
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

impl Apply {
    async fn run(self, app: &App) -> Outcome {
        let Planned { store, connection, read, plan } = self.rules.plan(app).await?;
        if plan.deactivated.count > 0 && !self.yes {
            return self.refuse(app, &plan);
        }
        let (version, task) = apply_rules(&store, &connection, read, &plan).await?;
        if app.format == Format::Json {
            return output::json(&json!({ "version": version, "plan": plan, "task": task }));
        }
        output::line(&shown(&plan))?;
        if connection.first_sync_at.is_none() {
            output::line(
                "this is the plan of the first sync: whoever would lose access by it and is not on it is held, all as one hold",
            )?;
        }
        output::line(&format!(
            "the rules are in force and a sync has started; watch it with `lockstep connection sync {} --wait`",
            connection.name
        ))
    }

    fn refuse(&self, app: &App, plan: &RulePlan) -> Outcome {
        match app.format {
            Format::Json => output::json(plan)?,
            Format::Table => output::line(&shown(plan))?,
        }
        Err(Failure::Refused(format!(
            "applying {} takes access from {} people, and nothing was changed; check the plan, then say --yes",
            self.rules.file.display(),
            plan.deactivated.count
        )))
    }
}

fn shown(plan: &RulePlan) -> String {
    let buckets: [(&str, &Bucket); 7] = [
        ("created", &plan.created),
        ("linked", &plan.linked),
        ("review needed", &plan.review),
        ("unchanged", &plan.unchanged),
        ("deactivated", &plan.deactivated),
        ("kind changed", &plan.kind_changed),
        ("role changed", &plan.role_changed),
    ];
    let rows =
        buckets.into_iter().map(|(name, bucket)| vec![name.to_owned(), bucket.count.to_string(), sample(bucket)]);
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
