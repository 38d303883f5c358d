//! `lockstep connection grant`.

use std::collections::BTreeSet;

use clap::Args;
use lockstep_core::rule::Grantable;
use lockstep_store::Admin;

use crate::app::{App, named_connection};
use crate::failure::Outcome;
use crate::operator::operator;
use crate::output::{self, Format};

#[derive(Args)]
pub struct Grant {
    /// The connection's name
    name: String,
    /// Roles and permissions that its rules may give
    #[arg(value_name = "NAME", required_unless_present = "any")]
    names: Vec<String>,
    /// Whatever its rules name
    #[arg(long, conflicts_with = "names")]
    any: bool,
}

impl Grant {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let connection = named_connection(&store, &self.name).await?;
        let names = (!self.any).then(|| self.names.iter().cloned().collect::<BTreeSet<_>>());
        let grantable = Grantable(names);
        let by = Admin { name: operator(), reason: None };
        store.set_grantable(connection.id, &grantable, &by).await?;
        match app.format {
            Format::Json => super::list::show(app, &self.name).await,
            Format::Table => output::line(&format!("the rules of {} may give: {}", self.name, in_words(&grantable))),
        }
    }
}

/// As `connection show` has it.
pub fn in_words(grantable: &Grantable) -> String {
    match &grantable.0 {
        None => "any role and permission".to_owned(),
        Some(names) => names.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}
