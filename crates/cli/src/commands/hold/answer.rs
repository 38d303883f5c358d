//! `lockstep hold approve` and `reject`: a person's yes or no to this list.

use std::collections::BTreeSet;

use clap::Args;
use lockstep_core::{HoldId, RecordId};
use lockstep_store::view::hold::{HeldState, HoldView};
use lockstep_store::{Answered, HoldDecision, Store};
use serde_json::json;

use super::named_hold;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format};

#[derive(Args)]
pub struct Approve {
    #[command(flatten)]
    what: What,
    /// Do it: people lose access
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub struct Reject {
    #[command(flatten)]
    what: What,
}

/// Whom the answer is for, and why.
#[derive(Args)]
struct What {
    /// The hold's id
    id: HoldId,
    /// Why; kept in the audit trail
    #[arg(long, value_name = "TEXT", value_parser = a_reason)]
    reason: String,
    /// Only these of its people, by record id; the others go on waiting for an answer
    #[arg(long, value_name = "RECORD", num_args = 1..)]
    only: Vec<RecordId>,
}

/// Longer than this nobody reads.
const LONGEST_REASON: usize = 1_000;

/// A reason as it is kept.
pub fn a_reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("say why: whoever reads the audit trail later wants to know".to_owned()),
        1..=LONGEST_REASON => Ok(text.to_owned()),
        _ => Err(format!("at most {LONGEST_REASON} characters")),
    }
}

impl Approve {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let (hold, waiting) = self.what.waiting(&store, HoldDecision::Approve).await?;
        if !self.yes && !waiting.is_empty() {
            return Err(Failure::Refused(format!(
                "approving hold {} takes access from {} people who keep it now, and nothing was changed; look at `lockstep hold show {}`, then say --yes",
                hold.id,
                waiting.len(),
                hold.id
            )));
        }
        self.what.answer(app, &store, HoldDecision::Approve, &waiting).await
    }
}

impl Reject {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let (_, waiting) = self.what.waiting(&store, HoldDecision::Reject).await?;
        self.what.answer(app, &store, HoldDecision::Reject, &waiting).await
    }
}

impl What {
    /// The people who wait for this answer. Refused if nobody does because somebody answered otherwise before.
    async fn waiting(&self, store: &Store, answer: HoldDecision) -> Result<(HoldView, Vec<RecordId>), Failure> {
        let hold = named_hold(store, self.id).await?;
        if hold.connection.is_none() {
            return Err(Failure::Failed(format!(
                "answering hold {}: its connection was removed, so there is nothing to decide",
                self.id
            )));
        }
        let named: BTreeSet<RecordId> = self.only.iter().copied().collect();
        let stranger = named.iter().find(|record| !hold.people.iter().any(|person| person.record == **record));
        if let Some(stranger) = stranger {
            return Err(Failure::Failed(format!(
                "answering hold {0}: record {stranger} is not on it; `lockstep hold show {0}` shows who is",
                self.id
            )));
        }
        let asked: Vec<_> =
            hold.people.iter().filter(|person| named.is_empty() || named.contains(&person.record)).collect();
        let waiting: Vec<_> =
            asked.iter().filter(|person| person.state == HeldState::Held).map(|person| person.record).collect();
        let opposite: &[HeldState] = match answer {
            HoldDecision::Approve => &[HeldState::Kept],
            HoldDecision::Reject => &[HeldState::Approved, HeldState::Gone],
        };
        let otherwise = asked.iter().filter(|person| opposite.contains(&person.state)).count();
        if waiting.is_empty() && otherwise > 0 {
            let (was, then) = match answer {
                HoldDecision::Approve => {
                    ("rejected", "they are asked about again when something about them changes in Microsoft")
                }
                HoldDecision::Reject => ("approved", "restore them in Microsoft, and they come back"),
            };
            return Err(Failure::Refused(format!(
                "nothing was changed: hold {} was {was} for {otherwise} of these people, and the first answer stands; {then}",
                self.id
            )));
        }
        Ok((hold, waiting))
    }

    async fn answer(&self, app: &App, store: &Store, answer: HoldDecision, waiting: &[RecordId]) -> Outcome {
        let answered = store.answer_hold(self.id, answer, waiting, &self.reason).await?;
        if answered.contested > 0 {
            return Err(Failure::Refused(format!(
                "somebody else answered hold {0} otherwise at the same time, and the first answer stands; {1} people were answered by you before: `lockstep hold show {0}`",
                self.id, answered.now
            )));
        }
        if app.format == Format::Json {
            let Answered { now, before, left, .. } = answered;
            return output::json(&json!({ "hold": self.id, "answered": now, "answered_before": before, "left": left }));
        }
        output::line(&told(self.id, answer, &answered))
    }
}

fn told(hold: HoldId, answer: HoldDecision, answered: &Answered) -> String {
    let left = match answered.left {
        0 => String::new(),
        left => format!("; {left} had left it by themselves"),
    };
    match (answer, answered.now) {
        (_, 0) => format!("nobody on hold {hold} waits for an answer any more{left}"),
        (HoldDecision::Approve, people) => format!(
            "approved for {people} people: each is read again, and loses access if that is still so{left}; `lockstep hold show {hold}` shows what became of them"
        ),
        (HoldDecision::Reject, people) => format!(
            "{people} people stay{left}; they are asked about again when their account, their groups or the rules change"
        ),
    }
}
