//! `lockstep record …`: people as the application sees them.

mod explain;
mod import;

use clap::{Args, Subcommand};
use lockstep_core::record::{Kind, Status};
use lockstep_store::Store;
use lockstep_store::view::record::{HistoryView, RecordFilter, RecordView};
use serde_json::Value;

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::word::{from_word, word, words};

pub use explain::explain;

#[derive(Subcommand)]
pub enum Record {
    /// List records, newest first
    List(List),
    /// Show one record
    Show {
        /// The record's id, e-mail address or username
        record: String,
    },
    /// Show why somebody has the access they have, and where each value comes from
    Explain {
        /// The record's id, e-mail address or username
        record: String,
    },
    /// Bring in the people the application has already, so that there is somebody to match
    Import(import::Import),
}

#[derive(Args)]
pub struct List {
    /// Of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// active, inactive or archived
    #[arg(long, value_parser = from_word::<Status>)]
    status: Option<Status>,
    /// employee or contact
    #[arg(long, value_parser = from_word::<Kind>)]
    kind: Option<Kind>,
    /// Part of an e-mail address, username or name
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[command(flatten)]
    page: Page,
}

const LISTING: Listing<'_, RecordView> = Listing {
    columns: &["id", "connection", "kind", "status", "reasons", "role", "email", "name"],
    row: |record| {
        vec![
            record.id.to_string(),
            or_dash(record.connection.as_ref()),
            word(record.kind),
            word(record.status),
            words(&record.reasons),
            or_dash(record.role.as_ref()),
            or_dash(record.email.as_ref()),
            or_dash(record.display_name.as_ref()),
        ]
    },
    when_empty: "no records: they come with `lockstep connection sync NAME`, once rules are applied and `lockstep serve` runs",
};

impl Record {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show { record } => show(app, &record).await,
            Self::Explain { record } => explain(app, &record).await,
            Self::Import(import) => import.run(app).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Outcome {
        let filter = RecordFilter {
            connection: self.connection.as_deref(),
            status: self.status,
            kind: self.kind,
            query: self.search.as_deref(),
            limit: self.page.limit,
            ..RecordFilter::default()
        };
        LISTING.print(app.format, &app.store().await?.list_records(&filter).await?)
    }
}

/// The record of this id, e-mail address or username.
async fn named_record(store: &Store, name: &str) -> Result<RecordView, Failure> {
    store.lookup_record_view(name).await?.ok_or_else(|| missing(name))
}

fn missing(name: &str) -> Failure {
    Failure::Failed(format!("there is no record {name}; `lockstep record list --search TEXT` finds people"))
}

async fn show(app: &App, name: &str) -> Outcome {
    let store = app.store().await?;
    let record = named_record(&store, name).await?;
    if app.format == Format::Json {
        return output::json(&record);
    }
    output::line(&facts(&record))?;
    let history = store.record_history(record.id).await?;
    let rows = history.iter().map(|entry| vec![entry.at.to_string(), entry.trigger.clone(), changed(entry)]);
    output::line(&format!("\n{}", output::table(&["when", "trigger", "changed"], rows)))
}

fn facts(record: &RecordView) -> String {
    let mut lines = vec![
        ("id", record.id.to_string()),
        ("connection", or_dash(record.connection.as_ref())),
        ("realm", record.realm.clone()),
        ("kind", word(record.kind)),
        ("status", word(record.status)),
        ("reasons", words(&record.reasons)),
        ("role", or_dash(record.role.as_ref())),
        ("permissions", record.permissions.join(", ")),
        ("email", or_dash(record.email.as_ref())),
        ("username", or_dash(record.username.as_ref())),
        ("display name", or_dash(record.display_name.as_ref())),
        ("entra id", or_dash(record.entra_id.as_ref())),
        ("root", record.root.to_string()),
        ("in use", record.in_use.to_string()),
        ("verified", or_dash(record.verified_at.as_ref())),
        ("updated", record.updated_at.to_string()),
    ];
    lines.extend(record.fields.iter().map(|(name, value)| (name.as_str(), plain(value))));
    output::pairs(&lines)
}

/// Which fields one entry of the history changed.
fn changed(entry: &HistoryView) -> String {
    let fields = entry.changes.as_array().into_iter().flatten();
    fields.filter_map(|change| change["field"].as_str()).collect::<Vec<_>>().join(", ")
}

/// A JSON value without the quotes of a text.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
