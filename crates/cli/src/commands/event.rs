//! `lockstep event …`: notifications and what became of them.

use clap::{Args, Subcommand};
use lockstep_core::{EventId, ObjectId};
use lockstep_store::view::event::{EventFilter, EventKind, EventStatus, EventView};

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::word::{from_word, word};

#[derive(Subcommand)]
pub enum Event {
    /// List events, newest first
    List(List),
    /// Show one event
    Show {
        /// The event's id
        id: EventId,
    },
}

#[derive(Args)]
pub struct List {
    /// Of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// in_work, waiting, applied, superseded, ignored, held, parked or failed
    #[arg(long, value_parser = from_word::<EventStatus>)]
    status: Option<EventStatus>,
    /// user, group, lifecycle, on_demand or catch_up
    #[arg(long, value_parser = from_word::<EventKind>)]
    kind: Option<EventKind>,
    /// About this user or group in Entra
    #[arg(long, value_name = "OBJECT_ID")]
    object: Option<ObjectId>,
    #[command(flatten)]
    page: Page,
}

const LISTING: Listing<'_, EventView> = Listing {
    columns: &["id", "connection", "kind", "object", "status", "attempts", "received", "reason"],
    row: |event| {
        vec![
            event.id.to_string(),
            or_dash(event.connection.as_ref()),
            word(event.kind),
            or_dash(event.object_id.as_ref()),
            word(event.status),
            event.attempts.to_string(),
            event.received_at.to_string(),
            or_dash(event.reason.as_ref()),
        ]
    },
    when_empty: "no events: they come with notifications, once `lockstep serve` runs and LOCKSTEP_PUBLIC_URL is set",
};

impl Event {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show { id } => show(app, id).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Outcome {
        let filter = EventFilter {
            connection: self.connection.as_deref(),
            status: self.status,
            kind: self.kind,
            object: self.object,
            limit: self.page.limit,
            ..EventFilter::default()
        };
        LISTING.print(app.format, &app.store().await?.list_events(&filter).await?)
    }
}

async fn show(app: &App, id: EventId) -> Outcome {
    let event = app.store().await?.lookup_event(id).await?;
    let event =
        event.ok_or_else(|| Failure::Failed(format!("there is no event {id}; `lockstep event list` shows them")))?;
    if app.format == Format::Json {
        return output::json(&event);
    }
    output::line(&output::pairs(&[
        ("id", event.id.to_string()),
        ("connection", or_dash(event.connection.as_ref())),
        ("kind", word(event.kind)),
        ("object", or_dash(event.object_id.as_ref())),
        ("claim", or_dash(event.claim.as_ref())),
        ("status", word(event.status)),
        ("attempts", event.attempts.to_string()),
        ("reason", or_dash(event.reason.as_ref())),
        ("received", event.received_at.to_string()),
        ("settled", or_dash(event.settled_at.as_ref())),
        ("replay of", or_dash(event.replay_of.as_ref())),
    ]))
}
