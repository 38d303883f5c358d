//! `lockstep hold …`: changes kept back by the safety brake.

use clap::{Args, Subcommand};
use lockstep_core::HoldId;
use lockstep_store::view::hold::{HoldFilter, HoldView};

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::word::{word, words};

#[derive(Subcommand)]
pub enum Hold {
    /// List open holds, newest first
    List(List),
    /// Show one hold with everyone on it
    Show {
        /// The hold's id
        id: HoldId,
    },
}

#[derive(Args)]
pub struct List {
    /// Of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    #[command(flatten)]
    page: Page,
}

const LISTING: Listing<'_, HoldView> = Listing {
    columns: &["id", "connection", "opened", "people", "cause", "limit", "state"],
    row: |hold| {
        vec![
            hold.id.to_string(),
            or_dash(hold.connection.as_ref()),
            hold.opened_at.to_string(),
            hold.people.len().to_string(),
            hold.cause.clone(),
            hold.limit.clone(),
            word(hold.state),
        ]
    },
    when_empty: "no holds: nobody's change is kept back",
};

impl Hold {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show { id } => show(app, id).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Outcome {
        let filter =
            HoldFilter { connection: self.connection.as_deref(), limit: self.page.limit, ..HoldFilter::default() };
        LISTING.print(app.format, &app.store().await?.list_holds(&filter).await?)
    }
}

async fn show(app: &App, id: HoldId) -> Outcome {
    let hold = app.store().await?.lookup_hold(id).await?;
    let hold =
        hold.ok_or_else(|| Failure::Failed(format!("there is no hold {id}; `lockstep hold list` shows them")))?;
    if app.format == Format::Json {
        return output::json(&hold);
    }
    output::line(&output::pairs(&[
        ("id", hold.id.to_string()),
        ("connection", or_dash(hold.connection.as_ref())),
        ("opened", hold.opened_at.to_string()),
        ("cause", hold.cause.clone()),
        ("limit", hold.limit.clone()),
        ("state", word(hold.state)),
    ]))?;
    let people = hold.people.iter().map(|held| vec![held.record.to_string(), words(&held.cause)]);
    output::line(&format!("\n{}", output::table(&["record", "cause"], people)))
}
