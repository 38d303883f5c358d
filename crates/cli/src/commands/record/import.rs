//! `lockstep record import`: the application's existing people.

use std::path::PathBuf;

use clap::Args;
use lockstep_store::import::{ImportedRecord, RefusedLine};
use lockstep_store::{Connection, Store};
use serde_json::json;

use crate::app::{App, named_connection};
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format};

#[derive(Args)]
#[command(after_help = SAMPLE_HELP)]
pub struct Import {
    /// One JSON object a line
    file: PathBuf,
    #[command(flatten)]
    realm: WhichRealm,
}

/// Into which set of records.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct WhichRealm {
    /// Into the realm of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Into this realm
    #[arg(long)]
    realm: Option<String>,
}

const SAMPLE_HELP: &str = "\
A line of the file (only kind is needed):
  {\"kind\": \"employee\", \"email\": \"ada@contoso.example\", \"username\": \"ada\", \"display_name\": \"Ada\",
   \"fields\": {}, \"host_id\": \"4711\", \"in_use\": true, \"role\": null, \"permissions\": [], \"privileged\": false}
A file may be imported again: lines already there stay as they are, nothing is ever overwritten.";

impl Import {
    pub async fn run(self, app: &App) -> Outcome {
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| Failure::of(format!("reading {}", self.file.display()), &error))?;
        let lines = ImportedRecord::parse_file(&text).map_err(|refused| {
            Failure::Failed(format!("importing {}: nothing was imported; {}", self.file.display(), listed(&refused)))
        })?;
        let store = app.store().await?;
        let connection = self.realm.connection(&store).await?;
        let outcome = store.import_records(&connection, &lines).await?;
        match app.format {
            Format::Json => output::json(&json!({
                "imported": outcome.imported,
                "unchanged": outcome.unchanged,
                "refused": outcome.refused.iter().map(|line| json!({"line": line.line, "why": line.why})).collect::<Vec<_>>(),
            }))?,
            Format::Table => output::line(&format!(
                "{} imported, {} unchanged, {} refused",
                outcome.imported,
                outcome.unchanged,
                outcome.refused.len()
            ))?,
        }
        if outcome.refused.is_empty() {
            return Ok(());
        }
        Err(Failure::Failed(format!("importing {}: {}", self.file.display(), listed(&outcome.refused))))
    }
}

impl WhichRealm {
    async fn connection(&self, store: &Store) -> Result<Connection, Failure> {
        if let Some(name) = &self.connection {
            return named_connection(store, name).await;
        }
        let realm = self.realm.as_deref().unwrap_or_default();
        let connections = store.list_connections().await?;
        connections.into_iter().find(|connection| connection.realm == realm).ok_or_else(|| {
            Failure::Failed(format!("there is no connection with the realm {realm}; add the connection first"))
        })
    }
}

/// The refused lines, as many as fit a screen.
fn listed(refused: &[RefusedLine]) -> String {
    const SHOWN: usize = 20;
    let mut text = refused.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join("\n  ");
    if refused.len() > SHOWN {
        text.push_str(&format!("\n  … and {} more", refused.len() - SHOWN));
    }
    format!(
        "{} refused:\n  {text}",
        if refused.len() == 1 { "1 line".to_owned() } else { format!("{} lines", refused.len()) }
    )
}
