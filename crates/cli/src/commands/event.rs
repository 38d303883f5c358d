//! `lockstep event …`: notifications and what became of them.

use clap::{Args, Subcommand};
use lockstep_core::{EventId, ObjectId};
use lockstep_store::view::event::{EventFilter, EventKind, EventStatus, EventView};
use lockstep_store::{FailedFilter, NoReplay, Replay, Store};
use serde::Serialize;

use super::Page;
use crate::app::{App, named_connection};
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
    /// Read again what events are about, and bring it in line
    Replay(Replayed),
}

#[derive(Args)]
#[group(id = "which", required = true, multiple = true, args = ["ids", "failed"])]
pub struct Replayed {
    /// The events' ids
    #[arg(value_name = "ID", conflicts_with_all = ["failed", "reason", "connection"])]
    ids: Vec<EventId>,
    /// All that failed
    #[arg(long)]
    failed: bool,
    /// Only what failed for a reason with these words in it
    #[arg(long, value_name = "WORDS", requires = "failed")]
    reason: Option<String>,
    /// Only of this connection
    #[arg(long, value_name = "NAME", requires = "failed")]
    connection: Option<String>,
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
            Self::Replay(replay) => replay.run(app).await,
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

impl Replayed {
    async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let (replays, refused) =
            if self.failed { (self.failed_ones(&store).await?, None) } else { self.named(&store).await? };
        if !replays.is_empty() || refused.is_none() {
            print(app.format, &store.lookup_events(&replays).await?)?;
        }
        refused.map_or(Ok(()), Err)
    }

    async fn failed_ones(&self, store: &Store) -> Result<Vec<EventId>, Failure> {
        let filter = FailedFilter { connection: self.connection.as_deref(), reason: self.reason.as_deref() };
        if let Some(name) = filter.connection {
            named_connection(store, name).await?;
        }
        Ok(store.replay_failed(&filter).await?)
    }

    /// What can be replayed is, whatever becomes of the others (BI-58).
    async fn named(&self, store: &Store) -> Result<(Vec<EventId>, Option<Failure>), Failure> {
        let mut replays = Vec::new();
        let mut refused: Option<Failure> = None;
        for (id, answer) in self.ids.iter().zip(store.replay_events(&self.ids).await?) {
            match answer {
                Replay::Begun(event) => replays.push(event),
                Replay::UnderWay(event) => {
                    output::note(&format!("event {id} is replayed already, as event {event}"));
                    replays.push(event);
                }
                Replay::Refused(why) => refused = worse(refused, refusal(*id, why)),
            }
        }
        Ok((replays, refused))
    }
}

fn print(format: Format, replays: &[EventView]) -> Outcome {
    if format == Format::Table {
        output::line(&format!("{} in work; `lockstep event show ID` tells what comes of it", counted(replays.len())))?;
    }
    let listing =
        Listing { when_empty: "no event is to be replayed: `lockstep event list --status failed`", ..LISTING };
    listing.print(format, replays)
}

fn counted(replays: usize) -> String {
    if replays == 1 { "1 replay".to_owned() } else { format!("{replays} replays") }
}

fn refusal(id: EventId, why: NoReplay) -> Failure {
    match why {
        NoReplay::Unknown => Failure::Failed(format!("there is no event {id}; `lockstep event list` shows them")),
        _ => Failure::Refused(format!("event {id} is not replayed: {why}")),
    }
}

/// One line on stderr, one exit code: what failed weighs more than what was refused, the first of a kind is told last.
fn worse(so_far: Option<Failure>, next: Failure) -> Option<Failure> {
    let (told, kept) = match (so_far, next) {
        (None, next) => return Some(next),
        (Some(Failure::Refused(first)), next @ Failure::Failed(_)) => (Failure::Refused(first), next),
        (Some(first), next) => (next, first),
    };
    output::note(&told.to_string());
    Some(kept)
}

/// One event and where it stands among its replays.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    event: EventView,
    /// What this event was replayed as, oldest first.
    replays: Vec<EventId>,
}

async fn show(app: &App, id: EventId) -> Outcome {
    let chain = app.store().await?.replay_chain(id).await?;
    let event = chain.iter().find(|event| event.id == id).cloned();
    let event =
        event.ok_or_else(|| Failure::Failed(format!("there is no event {id}; `lockstep event list` shows them")))?;
    if app.format == Format::Json {
        let replays = chain.iter().filter(|other| other.replay_of == Some(id)).map(|other| other.id).collect();
        return output::json(&Shown { event, replays });
    }
    output::line(&pairs(&event))?;
    if chain.len() == 1 {
        return Ok(());
    }
    let row = |event: &EventView| {
        let of = or_dash(event.replay_of.as_ref());
        vec![event.id.to_string(), of, word(event.status), event.received_at.to_string()]
    };
    output::line(&format!("\n{}", output::table(&["event", "replay of", "status", "received"], chain.iter().map(row))))
}

fn pairs(event: &EventView) -> String {
    output::pairs(&[
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
    ])
}
