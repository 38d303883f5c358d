//! `lockstep migrate`.

use crate::app::App;
use crate::failure::Outcome;
use crate::output::{self, Format};

/// Brings the schema up to date; safe to run again at any time (G-29). On PostgreSQL only the owner of the tables may.
pub async fn run(app: &App) -> Outcome {
    app.migrate().await?;
    match app.format {
        Format::Table => output::line("the store's schema is up to date"),
        Format::Json => output::json(&serde_json::json!({ "migrated": true })),
    }
}
