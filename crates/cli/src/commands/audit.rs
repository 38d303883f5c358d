//! `lockstep audit …`: who changed what, and whether that is still what was written.

use std::time::Instant;

use clap::{Args, Subcommand};
use lockstep_core::RecordId;
use lockstep_store::view::audit::{AuditFilter, AuditView};
use lockstep_store::{AuditBreak, AuditCheck, AuditFault, AuditHash};
use serde::Serialize;

use super::Page;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::word::word;

#[derive(Subcommand)]
pub enum Audit {
    /// List audit entries, newest first
    List(List),
    /// Follow the chain over all entries; exit code 3 when it is broken
    Verify(Verify),
}

#[derive(Args)]
pub struct List {
    /// Of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// About this record
    #[arg(long, value_name = "ID")]
    record: Option<RecordId>,
    #[command(flatten)]
    page: Page,
}

#[derive(Args)]
pub struct Verify {
    /// A head noted earlier (from the log, or from here): the chain must contain it
    #[arg(long, value_name = "HASH")]
    head: Option<AuditHash>,
}

const LISTING: Listing<'_, AuditView> = Listing {
    columns: &["at", "connection", "actor", "action", "object", "place"],
    row: |entry| {
        vec![
            entry.at.to_string(),
            or_dash(entry.connection.as_ref()),
            entry.actor.clone(),
            entry.action.clone(),
            format!("{} {}", entry.object_kind, entry.object_id),
            or_dash(entry.position.as_ref()),
        ]
    },
    when_empty: "no audit entries: nothing was changed",
};

/// What was found, and how fast.
#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    check: AuditCheck,
    seconds: f64,
}

impl Audit {
    pub async fn run(self, app: &App) -> Outcome {
        match self {
            Self::List(list) => list.run(app).await,
            Self::Verify(verify) => verify.run(app).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Outcome {
        let filter = AuditFilter {
            connection: self.connection.as_deref(),
            record: self.record,
            limit: self.page.limit,
            ..AuditFilter::default()
        };
        LISTING.print(app.format, &app.store().await?.list_audit(&filter).await?)
    }
}

impl Verify {
    async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let began = Instant::now();
        let check = store.verify_audit(self.head).await?;
        let verified = Verified { check, seconds: began.elapsed().as_secs_f64() };
        match app.format {
            Format::Json => output::json(&verified)?,
            Format::Table => output::line(&verified.pairs())?,
        }
        match check.broken {
            None => Ok(()),
            Some(broken) => Err(Failure::Refused(sentence(broken))),
        }
    }
}

impl Verified {
    fn pairs(&self) -> String {
        let Self { check, seconds } = self;
        let rate = check.verified as f64 / seconds.max(1e-6);
        output::pairs(&[
            (
                "chain",
                check.broken.map_or_else(|| "whole".to_owned(), |broken| format!("broken: {}", word(broken.fault))),
            ),
            ("verified", format!("{} entries in {seconds:.2} s ({rate:.0} a second)", check.verified)),
            ("head", or_dash(check.head.map(|head| head.hash).as_ref())),
            ("not sealed yet", if check.broken.is_some() { "-".to_owned() } else { check.unsealed.to_string() }),
        ])
    }
}

fn sentence(broken: AuditBreak) -> String {
    let entry = or_dash(broken.entry.as_ref());
    let place = or_dash(broken.position.as_ref());
    let what = match broken.fault {
        AuditFault::Altered => format!("entry {entry} (place {place}) is not what was sealed"),
        AuditFault::EntryMissing => format!("entry {entry} (place {place}) was sealed and is not there any more"),
        AuditFault::SealMissing => format!("the seal of place {place} is not there any more"),
        AuditFault::Inserted => format!("entry {entry} is older than what was sealed, and was not there then"),
        AuditFault::HeadUnknown => {
            "the noted head is not in the chain: entries were cut off, or the chain was made anew".to_owned()
        }
    };
    format!(
        "the audit chain is broken: {what}. Somebody wrote to the database beside Lockstep, or an old backup is in use"
    )
}
