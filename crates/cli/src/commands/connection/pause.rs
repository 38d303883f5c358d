//! `lockstep connection pause` and `resume`.

use crate::app::{App, named_connection};
use crate::failure::Outcome;
use crate::output::{self, Format};

pub async fn pause(app: &App, name: &str) -> Outcome {
    let store = app.store().await?;
    let connection = named_connection(&store, name).await?;
    let said = match store.pause_connection(connection.id).await? {
        true => format!(
            "paused {name}: Microsoft's notifications are kept and wait, nobody gains or loses access by it; `lockstep connection resume {name}` goes on"
        ),
        false => format!("{name} is paused already; `lockstep connection resume {name}` goes on"),
    };
    say(app, name, &said).await
}

pub async fn resume(app: &App, name: &str) -> Outcome {
    let store = app.store().await?;
    let connection = named_connection(&store, name).await?;
    let said = match store.resume_connection(connection.id).await? {
        true => format!("{name} goes on: what waited is due now, and what was not notified is caught up"),
        false => format!("{name} is not paused"),
    };
    say(app, name, &said).await
}

async fn say(app: &App, name: &str, said: &str) -> Outcome {
    match app.format {
        Format::Json => super::list::show(app, name).await,
        Format::Table => output::line(said),
    }
}
