//! `lockstep record root|mark-in-use`: marks that no directory, file or API sets (G-24, M8).

use clap::Args;
use lockstep_core::RecordId;
use lockstep_store::{Admin, RootMade};

use super::named_record;
use crate::app::App;
use crate::failure::Outcome;
use crate::operator::operator;
use crate::output::{self, Format};

#[derive(Args)]
pub struct Root {
    /// The record's id
    id: RecordId,
    /// Even if another record is root: that one becomes an ordinary record
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub struct MarkInUse {
    /// The record's id, e-mail address or username
    record: String,
    /// Nothing refers to it any more
    #[arg(long)]
    clear: bool,
}

fn admin() -> Admin {
    Admin { name: operator(), reason: None }
}

impl Root {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let id = named_record(&store, &self.id.to_string()).await?.id;
        let made = store.make_root(id, self.yes, &admin()).await.map_err(super::refused)?;
        if app.format == Format::Json {
            return output::json(&named_record(&store, &id.to_string()).await?);
        }
        output::line(&match made {
            RootMade::Already => format!("record {id} is the root user already"),
            RootMade::First => format!("record {id} is the root user: no sync, rule or import touches it"),
            RootMade::InPlaceOf(before) => {
                format!(
                    "record {id} is the root user: no sync, rule or import touches it; record {before} is no longer"
                )
            }
        })
    }
}

impl MarkInUse {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let id = named_record(&store, &self.record).await?.id;
        let changed = store.mark_in_use(id, !self.clear, &admin()).await.map_err(super::refused)?;
        if app.format == Format::Json {
            return output::json(&named_record(&store, &id.to_string()).await?);
        }
        let already = if changed { "" } else { " already" };
        output::line(&match self.clear {
            true => format!("record {id} is not in use{already}"),
            false => format!("record {id} is in use{already}: once archived it keeps its name and its place"),
        })
    }
}
