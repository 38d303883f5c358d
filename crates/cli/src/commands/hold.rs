//! `lockstep hold …`: changes kept back by the safety brake.

use clap::{Args, Subcommand};
use lockstep_core::HoldId;
use lockstep_store::Store;
use lockstep_store::view::connection::BrakeForecast;
use lockstep_store::view::hold::{HeldPerson, HeldState, HoldFilter, HoldState, HoldView};

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::word::{word, words};

mod answer;

pub use answer::a_reason;

#[derive(Subcommand)]
pub enum Hold {
    /// List holds, newest first
    List(List),
    /// Show one hold with everyone on it
    Show {
        /// The hold's id
        id: HoldId,
    },
    /// Let the people on a hold lose access; each of them is read again first, and whoever is back in scope stays
    Approve(answer::Approve),
    /// Keep the people on a hold in; nobody is asked again until something about them changes
    Reject(answer::Reject),
}

#[derive(Args)]
pub struct List {
    /// Of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    #[command(flatten)]
    page: Page,
}

const LISTING: Listing<'_, HoldView> = Listing {
    columns: &["id", "connection", "opened", "held", "approved", "gone", "kept", "cause", "limit", "state"],
    row: |hold| {
        let count = |state| hold.count(state).to_string();
        vec![
            hold.id.to_string(),
            or_dash(hold.connection.as_ref()),
            hold.opened_at.to_string(),
            count(HeldState::Held),
            count(HeldState::Approved),
            count(HeldState::Gone),
            count(HeldState::Kept),
            hold.cause.clone(),
            hold.limit.clone(),
            word(hold.state),
        ]
    },
    when_empty: "no holds: nobody's change is kept back",
};

impl Hold {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show { id } => show(app, id).await,
            Self::Approve(approve) => approve.run(app).await,
            Self::Reject(reject) => reject.run(app).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Outcome {
        let filter =
            HoldFilter { connection: self.connection.as_deref(), limit: self.page.limit, ..HoldFilter::default() };
        LISTING.print(app.format, &app.store().await?.list_holds(&filter).await?)
    }
}

/// A hold that there is.
async fn named_hold(store: &Store, id: HoldId) -> Result<HoldView, Failure> {
    let hold = store.lookup_hold(id).await?;
    hold.ok_or_else(|| Failure::Failed(format!("there is no hold {id}; `lockstep hold list` shows them")))
}

async fn show(app: &App, id: HoldId) -> Outcome {
    let store = app.store().await?;
    let hold = named_hold(&store, id).await?;
    if app.format == Format::Json {
        return output::json(&hold);
    }
    let connection = match &hold.connection {
        Some(name) => store.lookup_connection_view(name).await?,
        None => None,
    };
    output::line(&shown(&hold, &connection.map(|connection| connection.brake).unwrap_or_default()))?;
    if hold.state == HoldState::Open {
        output::note(&format!(
            "\nthey keep their access until somebody decides:\n  lockstep hold approve {id} --reason … --yes   they lose it (--only RECORD… for some of them)\n  lockstep hold reject {id} --reason …          they stay"
        ));
    }
    Ok(())
}

/// A hold as people read it.
pub fn shown(hold: &HoldView, brake: &[BrakeForecast]) -> String {
    let mut lines = vec![
        ("id", hold.id.to_string()),
        ("connection", or_dash(hold.connection.as_ref())),
        ("opened", hold.opened_at.to_string()),
        ("cause", hold.cause.clone()),
        ("limit", hold.limit.clone()),
        ("state", word(hold.state)),
        ("people", counts(hold)),
    ];
    lines.extend(brake.iter().map(|forecast| (cause_label(forecast), forecast.words.clone())));
    let people = hold.people.iter().map(|person| {
        let (answered, reason) = (or_dash(person.answered_at.as_ref()), or_dash(person.answer_reason.as_ref()));
        vec![
            person.record.to_string(),
            or_dash(person.display_name.as_ref()),
            words(&person.cause),
            state_in_words(person),
            answered,
            reason,
        ]
    });
    let table = output::table(&["record", "name", "cause", "state", "answered", "because"], people);
    format!("{}\n\n{table}", output::pairs(&lines))
}

/// What the brake's forecast is called where it is shown.
pub fn cause_label(forecast: &BrakeForecast) -> &'static str {
    match forecast.cause {
        lockstep_core::brake::CauseClass::LostScope => "brake, lost scope",
        lockstep_core::brake::CauseClass::Revoked => "brake, revoked",
    }
}

fn counts(hold: &HoldView) -> String {
    use HeldState::{Approved, Back, Gone, Held, Kept, Overtaken};
    let named = [
        (Held, "held"),
        (Approved, "approved, read again first"),
        (Gone, "gone"),
        (Kept, "kept"),
        (Back, "back in scope"),
        (Overtaken, "decided by a new cause"),
    ];
    let counted = named.into_iter().map(|(state, name)| (hold.count(state), name));
    let some = counted.filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}"));
    let text = some.collect::<Vec<_>>().join("; ");
    if text.is_empty() { "nobody any more".to_owned() } else { text }
}

fn state_in_words(person: &HeldPerson) -> String {
    match person.state {
        HeldState::Approved => "approved, waits to be read again".to_owned(),
        HeldState::Back => "back in scope".to_owned(),
        HeldState::Overtaken => "decided by a new cause".to_owned(),
        state => word(state),
    }
}
