//! `lockstep migrate`.

use lockstep_store::Schema;

use crate::app::App;
use crate::failure::Outcome;
use crate::output::{self, Format};

/// Brings the schema up to date; safe to run again at any time, and on the schema of a newer program (G-29). On PostgreSQL only
/// the owner of the tables may.
pub async fn run(app: &App) -> Outcome {
    let schema = app.migrate().await?;
    match (app.format, schema) {
        (Format::Table, Schema::UpToDate) => output::line("the store's schema is up to date"),
        (Format::Table, Schema::Newer) => output::line(
            "the store's schema is that of a newer lockstep: nothing was changed, and this version can use it",
        ),
        (Format::Json, _) => output::json(&serde_json::json!({ "migrated": schema == Schema::UpToDate })),
    }
}
