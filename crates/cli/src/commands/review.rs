//! `lockstep review …`: questions only a person can answer.

mod settle;

use clap::{Args, Subcommand};
use lockstep_core::ReviewId;
use lockstep_core::review::ReviewKind;
use lockstep_store::Store;
use lockstep_store::view::review::{ReviewFilter, ReviewState, ReviewView};

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::word::{from_word, word, words};

#[derive(Subcommand)]
pub enum Review {
    /// List open reviews, newest first
    List(List),
    /// Show one review, with what can be chosen and what each choice will do
    Show {
        /// The review's id
        id: ReviewId,
    },
    /// Answer a review
    Settle(settle::Settle),
}

#[derive(Args)]
pub struct List {
    /// Of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// link, address_taken, username_taken or kind_change
    #[arg(long, value_parser = from_word::<ReviewKind>)]
    kind: Option<ReviewKind>,
    /// open, settled or obsolete; links that were made by themselves are settled
    #[arg(long, value_parser = from_word::<ReviewState>, default_value = "open")]
    state: ReviewState,
    #[command(flatten)]
    page: Page,
}

const LISTING: Listing<'_, ReviewView> = Listing {
    columns: &["id", "connection", "kind", "entra id", "candidates", "choices", "chosen"],
    row: |review| {
        vec![
            review.id.to_string(),
            or_dash(review.connection.as_ref()),
            word(review.kind),
            review.entra_id.to_string(),
            words(&review.candidates),
            words(&review.choices),
            or_dash(review.choice.map(word).as_ref()),
        ]
    },
    when_empty: "no reviews: there is no question open",
};

impl Review {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show { id } => show(app, id).await,
            Self::Settle(settle) => settle.run(app).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Outcome {
        let filter = ReviewFilter {
            connection: self.connection.as_deref(),
            kind: self.kind,
            state: Some(self.state),
            limit: self.page.limit,
            ..ReviewFilter::default()
        };
        LISTING.print(app.format, &app.store().await?.list_reviews(&filter).await?)
    }
}

/// The review of this id.
async fn named_review(store: &Store, id: ReviewId) -> Result<ReviewView, Failure> {
    let review = store.lookup_review(id).await?;
    review.ok_or_else(|| Failure::Failed(format!("there is no review {id}; `lockstep review list` shows them")))
}

async fn show(app: &App, id: ReviewId) -> Outcome {
    let review = named_review(&app.store().await?, id).await?;
    if app.format == Format::Json {
        return output::json(&review);
    }
    output::line(&output::pairs(&[
        ("id", review.id.to_string()),
        ("connection", or_dash(review.connection.as_ref())),
        ("kind", word(review.kind)),
        ("state", word(review.state)),
        ("entra id", review.entra_id.to_string()),
        ("about", or_dash(review.about.as_ref())),
        ("candidates", words(&review.candidates)),
        ("why", review.why.clone()),
        ("chosen", or_dash(review.choice.map(word).as_ref())),
        ("for record", or_dash(review.record.as_ref())),
        ("username", or_dash(review.username.as_ref())),
        ("reason", or_dash(review.reason.as_ref())),
        ("carried out", or_dash(review.applied_at.as_ref())),
    ]))?;
    if review.choices.is_empty() {
        return Ok(());
    }
    let choices = review.choices.iter().map(|choice| vec![word(choice), choice.effect().to_owned()]);
    output::line(&format!("\n{}", output::table(&["choice", "what it will do"], choices)))
}
