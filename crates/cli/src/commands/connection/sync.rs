//! `lockstep connection sync`: everybody, or one person now.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use lockstep_core::{EventId, ObjectId};
use lockstep_graph::UserRead;
use lockstep_store::view::event::{EventStatus, EventView};
use lockstep_store::{Connection, ConnectionState, Store, SyncProgress};
use lockstep_worker::{RulePlan, graph_client};
use serde_json::json;
use tokio::time::Instant;

use crate::app::{App, named_connection, record_of};
use crate::commands::rule::plan::shown;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format};
use crate::rules::plan_first_sync;
use crate::syncing::{SyncSummary, wait_for_sync};
use crate::word::word;

#[derive(Args)]
pub struct Sync {
    /// The connection's name
    name: String,
    /// Only this person, in scope or not
    #[arg(long, value_name = "ID_OR_UPN")]
    user: Option<String>,
    /// Wait for the end and show what was done
    #[arg(long)]
    wait: bool,
}

impl Sync {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let connection = named_connection(&store, &self.name).await?;
        if self.wait && connection.state == ConnectionState::Paused {
            return Err(Failure::Failed(format!(
                "syncing {0}: it is paused, so nothing would happen; `lockstep connection resume {0}` comes first",
                self.name
            )));
        }
        match &self.user {
            Some(user) => self.one_person(app, &store, &connection, user).await,
            None => self.everybody(app, &store, &connection).await,
        }
    }

    async fn everybody(&self, app: &App, store: &Store, connection: &Connection) -> Outcome {
        if connection.rules_version == 0 {
            return Err(Failure::Failed(format!(
                "syncing {0}: it has no rules yet, so nobody is in scope; `lockstep rule plan {0} rules.toml` comes first",
                self.name
            )));
        }
        let plan = if self.wait { first_plan(app, store, connection).await? } else { None };
        let task = store.start_full_sync(connection.id).await?;
        if !self.wait {
            return self.started(app, &json!({ "task": task }), "a sync has started; --wait shows its end");
        }
        let bar = progress_bar();
        let summary = wait_for_sync(store, task, |progress| show(&bar, progress)).await;
        bar.finish_and_clear();
        let summary = summary?;
        if app.format == Format::Json {
            let mut shown = json!(summary);
            shown["plan"] = json!(plan);
            return output::json(&shown);
        }
        output::line(&one_line(&summary))?;
        if summary.held > 0 {
            output::note(&about_held(connection, summary.held));
        }
        Ok(())
    }

    async fn one_person(&self, app: &App, store: &Store, connection: &Connection, user: &str) -> Outcome {
        let user = resolve(app, store, connection, user).await?;
        let event = store.request_on_demand(connection.id, user).await?;
        if !self.wait {
            return self.started(
                app,
                &json!({ "event": event }),
                &format!("asked for; `lockstep event show {event}` shows what became of it"),
            );
        }
        let event = settled(store, event).await?;
        if app.format == Format::Table {
            output::note(&format!(
                "{}{}",
                word(event.status),
                event.reason.map(|why| format!(": {why}")).unwrap_or_default()
            ));
        }
        match record_of(store, connection, user).await? {
            Some(record) => crate::commands::record::explain(app, &record.id.to_string()).await,
            None if app.format == Format::Json => output::json(&json!({ "record": null })),
            None => output::line(&format!(
                "user {user} has no record: no rule gives access, or a review waits (`lockstep review list`)"
            )),
        }
    }

    fn started(&self, app: &App, json: &serde_json::Value, text: &str) -> Outcome {
        match app.format {
            Format::Json => output::json(json),
            Format::Table => output::line(text),
        }
    }
}

/// The first sync shows what it will do before it does it (M12). A plan that cannot be made keeps nobody out: what stands
/// in its way the sync meets too, and its removals are one hold.
async fn first_plan(app: &App, store: &Store, connection: &Connection) -> Result<Option<RulePlan>, Failure> {
    if connection.first_sync_at.is_some() {
        return Ok(None);
    }
    let client = graph_client(store, connection, &app.graph()).await?;
    let plan = match plan_first_sync(store, &client, connection).await {
        Ok(plan) => plan,
        Err(failure) => {
            output::note(&format!("the plan of the first sync cannot be shown: {failure}"));
            return Ok(None);
        }
    };
    if app.format == Format::Table {
        output::line("the plan of the first sync; whoever would lose access by it is held, all as one hold:")?;
        output::line(&shown(&plan))?;
    }
    Ok(Some(plan))
}

/// An id is taken as it is; a sign-in name is looked up in Microsoft.
async fn resolve(app: &App, store: &Store, connection: &Connection, user: &str) -> Result<ObjectId, Failure> {
    if let Ok(id) = user.parse() {
        return Ok(id);
    }
    let client = graph_client(store, connection, &app.graph()).await?;
    match client.read_user_by_name(user).await? {
        UserRead::Present(profile) => Ok(profile.id),
        UserRead::NotFound => Err(Failure::Failed(format!(
            "syncing one person: Microsoft knows no user {user} in this tenant; give the object id of somebody deleted"
        ))),
    }
}

/// Waits for the end of an on-demand request. `waiting` is an end for now too: a rule asks for a second read later.
async fn settled(store: &Store, id: EventId) -> Result<EventView, Failure> {
    const NOBODY_AT_WORK: Duration = Duration::from_secs(10);
    // `t_hint`: whatever takes longer is in trouble, and the event says which.
    const DECIDED_WITHIN: Duration = Duration::from_secs(60);
    let asked = Instant::now();
    loop {
        let event = store.lookup_event(id).await?;
        let event = event.ok_or_else(|| Failure::Failed(format!("waiting for event {id}: it is gone")))?;
        if event.status != EventStatus::InWork {
            return Ok(event);
        }
        if asked.elapsed() >= NOBODY_AT_WORK && store.workers_alive(NOBODY_AT_WORK).await? == 0 {
            return Err(Failure::Failed(
                "waiting for the sync: no worker is running; start `lockstep serve`".to_owned(),
            ));
        }
        if asked.elapsed() >= DECIDED_WITHIN {
            return Err(Failure::Failed(format!(
                "waiting for the sync: not decided within 60 s; `lockstep event show {id}` and `lockstep connection list` say why"
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Draws on stderr, and only if that is a terminal.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:24}] {pos}/{len} groups, {elapsed}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn show(bar: &ProgressBar, progress: &SyncProgress) {
    bar.set_length(progress.groups_total);
    bar.set_position(progress.groups_listed);
    bar.set_message(format!("{} {} users, {} Graph requests", progress.step, progress.users, progress.graph_requests));
}

/// A sync that held people took nothing from them; a first one holds whatever it would take, as one hold (D6).
fn about_held(connection: &Connection, held: u64) -> String {
    let why = match connection.first_sync_at {
        None => "this was the first sync, and of a first sync every removal waits for a person's yes",
        Some(_) => "that is more than the safety brake lets go",
    };
    format!("{held} people would lose access and keep it: {why}; `lockstep hold list --connection {}`", connection.name)
}

fn one_line(summary: &SyncSummary) -> String {
    format!(
        "{} users in {:.1} s: {} created, {} linked, {} updated, {} deactivated, {} held, {} reviews, {} failed; {} Graph requests",
        summary.users,
        summary.seconds,
        summary.created,
        summary.linked,
        summary.updated,
        summary.deactivated,
        summary.held,
        summary.reviews,
        summary.failed,
        summary.graph_requests,
    )
}
