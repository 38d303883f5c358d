//! `lockstep record …`: people as the application sees them.

mod edit;
mod explain;
mod import;
mod mark;
mod show;
mod switch;

use clap::{Args, Subcommand};
use lockstep_core::record::{Kind, Status};
use lockstep_store::view::record::{RecordFilter, RecordView};
use lockstep_store::{Store, StoreError};
use serde_json::Value;

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Listing, or_dash};
use crate::word::{from_word, word, words};

pub use explain::explain;
use show::show;

#[derive(Subcommand)]
pub enum Record {
    /// List records, newest first
    List(List),
    /// Show one record, who set each of its values, and what happened to it
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
    /// Set fields by hand
    Edit(edit::Edit),
    /// Take back that somebody was switched off by hand
    Activate(switch::Switch),
    /// Switch somebody off by hand, whatever Microsoft says
    Deactivate(switch::Switch),
    /// Make a record the root user, which the sync never touches
    Root(mark::Root),
    /// Mark that other data refers to a record
    MarkInUse(mark::MarkInUse),
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
            Self::Edit(edit) => edit.run(app).await,
            Self::Activate(switch) => switch.activate(app).await,
            Self::Deactivate(switch) => switch.deactivate(app).await,
            Self::Root(root) => root.run(app).await,
            Self::MarkInUse(mark) => mark.run(app).await,
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

/// What nobody may do to this record is a refusal, not a failure.
fn refused(error: StoreError) -> Failure {
    match error {
        StoreError::Refused(why) => Failure::Refused(why),
        other => other.into(),
    }
}

fn facts(record: &RecordView) -> String {
    let lines = [
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
        ("successor", or_dash(record.successor.as_ref())),
        ("predecessor", or_dash(record.predecessor.as_ref())),
        ("root", record.root.to_string()),
        ("in use", record.in_use.to_string()),
        ("verified", or_dash(record.verified_at.as_ref())),
        ("updated", record.updated_at.to_string()),
    ];
    output::pairs(&lines)
}

/// A JSON value without the quotes of a text.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
