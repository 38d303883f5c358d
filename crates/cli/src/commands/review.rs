//! `lockstep review …`: questions only a person can answer.

use clap::{Args, Subcommand};
use lockstep_core::ReviewId;
use lockstep_core::review::ReviewKind;
use lockstep_store::view::review::{ReviewFilter, ReviewView};

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::word::{from_word, word, words};

#[derive(Subcommand)]
pub enum Review {
    /// List open reviews, newest first
    List(List),
    /// Show one review
    Show {
        /// The review's id
        id: ReviewId,
    },
}

#[derive(Args)]
pub struct List {
    /// Of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// link, address_taken, username_taken or kind_change
    #[arg(long, value_parser = from_word::<ReviewKind>)]
    kind: Option<ReviewKind>,
    #[command(flatten)]
    page: Page,
}

const LISTING: Listing<'_, ReviewView> = Listing {
    columns: &["id", "connection", "kind", "entra id", "candidates", "choices"],
    row: |review| {
        vec![
            review.id.to_string(),
            or_dash(review.connection.as_ref()),
            word(review.kind),
            review.entra_id.to_string(),
            words(&review.candidates),
            review.choices.join(", "),
        ]
    },
    when_empty: "no reviews: there is no question open",
};

impl Review {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Show { id } => show(app, id).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Outcome {
        let filter = ReviewFilter {
            connection: self.connection.as_deref(),
            kind: self.kind,
            limit: self.page.limit,
            ..ReviewFilter::default()
        };
        LISTING.print(app.format, &app.store().await?.list_reviews(&filter).await?)
    }
}

async fn show(app: &App, id: ReviewId) -> Outcome {
    let review = app.store().await?.lookup_review(id).await?;
    let review =
        review.ok_or_else(|| Failure::Failed(format!("there is no review {id}; `lockstep review list` shows them")))?;
    if app.format == Format::Json {
        return output::json(&review);
    }
    output::line(&output::pairs(&[
        ("id", review.id.to_string()),
        ("connection", or_dash(review.connection.as_ref())),
        ("kind", word(review.kind)),
        ("entra id", review.entra_id.to_string()),
        ("candidates", words(&review.candidates)),
        ("choices", review.choices.join(", ")),
    ]))
}
