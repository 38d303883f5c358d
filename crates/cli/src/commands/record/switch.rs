//! `lockstep record activate|deactivate`: off by hand, and back.

use clap::Args;
use lockstep_core::by_hand::Activation;
use lockstep_core::record::Reason;
use lockstep_store::Admin;
use lockstep_store::view::record::RecordView;

use super::named_record;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::operator::operator;
use crate::output::{self, Format};
use crate::word::words;

#[derive(Args)]
pub struct Switch {
    /// The record's id, e-mail address or username
    record: String,
    /// Why; kept with the record's history and in the audit trail
    #[arg(long)]
    reason: String,
}

impl Switch {
    fn admin(&self) -> Admin {
        Admin { name: operator(), reason: Some(self.reason.trim().to_owned()) }
    }

    pub async fn deactivate(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let id = named_record(&store, &self.record).await?.id;
        let switched = store.deactivate_record(id, &self.admin()).await.map_err(super::refused)?;
        let said = match switched {
            true => format!("record {id} is off until `lockstep record activate`; its sessions ended"),
            false => format!("record {id} is off by hand already"),
        };
        print(app.format, &named_record(&store, &id.to_string()).await?, &said)
    }

    pub async fn activate(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let before = named_record(&store, &self.record).await?;
        let id = before.id;
        let said = match store.activate_record(id, &self.admin()).await.map_err(super::refused)? {
            Activation::NotByHand if before.reasons.is_empty() => format!("record {id} is active already"),
            Activation::NotByHand => return Err(not_by_hand(&before)),
            Activation::Now(_) => format!("record {id} is active"),
            Activation::StillOut(_) => {
                let others = before.reasons.iter().filter(|reason| **reason != Reason::ByHand);
                format!("record {id} is no longer off by hand; it stays out: {}", words(others))
            }
            Activation::AfterRead(_) => format!(
                "record {id} comes back once Microsoft was read anew, within a minute while `lockstep serve` runs; \
                 `lockstep record show {id}` tells"
            ),
        };
        print(app.format, &named_record(&store, &id.to_string()).await?, &said)
    }
}

fn not_by_hand(record: &RecordView) -> Failure {
    Failure::Refused(format!(
        "record {} was not switched off by hand; it is out: {}. `lockstep record explain {}` tells why",
        record.id,
        words(&record.reasons),
        record.id
    ))
}

fn print(format: Format, record: &RecordView, said: &str) -> Outcome {
    match format {
        Format::Json => output::json(record),
        Format::Table => output::line(said),
    }
}
