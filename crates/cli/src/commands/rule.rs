//! `lockstep rule …`: which groups give which access.

use clap::Subcommand;
use lockstep_store::view::rule::RuleView;

use crate::app::{App, named_connection};
use crate::failure::Outcome;
use crate::output::{Listing, Output, or_dash};
use crate::rules::SAMPLE_HELP;
use crate::word::word;

mod apply;
pub mod plan;
mod trial;

use apply::Apply;
pub use plan::Plan;
use plan::RulesFile;
use trial::Try;

#[derive(Subcommand)]
pub enum Rule {
    /// Show who would change under a rules file; changes nothing
    #[command(after_help = SAMPLE_HELP)]
    Plan(Plan),
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

const LISTING: Listing<'_, RuleView> = Listing {
    columns: &[
        "order",
        "group",
        "name",
        "kind",
        "role",
        "permissions",
        "nested",
        "people",
        "members",
        "state",
        "inside",
    ],
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
            rule.members.to_string(),
            word(rule.group_state),
            rule.inside.iter().map(|chain| chain.join(" > ")).collect::<Vec<_>>().join(", "),
        ]
    },
    when_empty: "no rules: write rules.toml (`lockstep rule plan --help` shows a sample), then `lockstep rule apply NAME rules.toml`",
};

impl Rule {
    pub async fn run(self, app: &App, output: Output) -> Outcome {
        match self {
            Self::Plan(plan) => plan.run(app, output).await,
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
