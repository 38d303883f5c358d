//! `lockstep review settle`.

use clap::Args;
use lockstep_core::review::{Choice, Doubt};
use lockstep_core::{RecordId, ReviewId};
use lockstep_store::view::review::ReviewView;
use lockstep_store::{Admin, Chosen, NotSettled};

use super::named_review;
use crate::app::App;
use crate::commands::hold::a_reason;
use crate::failure::{Failure, Outcome};
use crate::operator::operator;
use crate::output::{self, Format};
use crate::word::{from_word, word};

#[derive(Args)]
pub struct Settle {
    /// The review's id
    id: ReviewId,
    /// One of the choices that `lockstep review show` names
    #[arg(value_parser = from_word::<Choice>)]
    choice: Choice,
    /// The record it is about, where several are concerned
    #[arg(long, value_name = "ID")]
    record: Option<RecordId>,
    /// The username, with the choice `name`
    #[arg(long)]
    username: Option<String>,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", value_parser = a_reason)]
    reason: Option<String>,
    /// Do it, where it touches what somebody else has or had
    #[arg(long)]
    yes: bool,
}

impl Settle {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let review = named_review(&store, self.id).await?;
        if wants_yes(&review, self.choice) && !self.yes {
            let effect = self.choice.effect();
            return Err(Failure::Refused(format!("{}: {effect}; say --yes to do it", word(self.choice))));
        }
        let by = Admin { name: operator(), reason: self.reason.clone() };
        let (record, username) = (self.record, self.username.as_deref());
        let chosen = Chosen { choice: self.choice, record, username, by: &by };
        match store.settle_review(self.id, &chosen).await? {
            Ok(_) => {}
            Err(why @ NotSettled::Choice(_)) => return Err(Failure::Usage(self.refusal(&why))),
            Err(why) => return Err(Failure::Refused(self.refusal(&why))),
        }
        match app.format {
            Format::Json => output::json(&named_review(&store, self.id).await?),
            Format::Table => output::line(&format!(
                "{}: {}\nthe person is read again first; `lockstep review show {}` tells when it is carried out",
                word(self.choice),
                self.choice.effect(),
                self.id,
            )),
        }
    }

    fn refusal(&self, why: &NotSettled) -> String {
        format!("settling review {} as {}: {why}", self.id, word(self.choice))
    }
}

/// Only of a choice that is offered: another one is refused anyway.
fn wants_yes(review: &ReviewView, choice: Choice) -> bool {
    let privileged = choice == Choice::Link && review.doubts.contains(&Doubt::Privileged);
    review.choices.contains(&choice) && (choice.wants_yes() || privileged)
}
