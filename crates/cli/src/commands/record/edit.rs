//! `lockstep record edit`: a value set here stays until the person changes in Microsoft (Y4).

use clap::{ArgGroup, Args};
use lockstep_core::by_hand::{self, ByHandRefused, Editor, FieldEdit};
use lockstep_store::{Admin, RecordAtHand, Store};

use super::named_record;
use crate::app::App;
use crate::failure::{Failure, Outcome};
use crate::operator::operator;
use crate::output::{self, Format};

#[derive(Args)]
#[command(group(ArgGroup::new("edits").required(true).multiple(true).args(["set", "clear"])), after_help = HELP)]
pub struct Edit {
    /// The record's id, e-mail address or username
    record: String,
    /// Give a field this value; may be repeated
    #[arg(long, value_name = "FIELD=VALUE", value_parser = assignment)]
    set: Vec<FieldEdit>,
    /// Empty a field; may be repeated
    #[arg(long, value_name = "FIELD")]
    clear: Vec<String>,
    /// Save it although the person's next change in Microsoft overwrites it
    #[arg(long)]
    yes: bool,
}

const HELP: &str = "\
Fields are email, username, display_name and those of the mapping (docs/rules.md). A field that Microsoft fills keeps the
edit until that person changes there; `local_only` in the rules file keeps it for good.";

impl Edit {
    pub async fn run(self, app: &App) -> Outcome {
        let store = app.store().await?;
        let record = named_record(&store, &self.record).await?;
        let at_hand = store.record_at_hand(record.id).await?;
        let clear = self.clear.into_iter().map(|field| FieldEdit { field, value: None });
        let edits: Vec<FieldEdit> = self.set.into_iter().chain(clear).collect();
        let overwritten = overwritten(&store, &at_hand, &edits)?;
        if !overwritten.is_empty() {
            let warning = format!(
                "Microsoft fills {}; the next change of this person there overwrites the edit",
                overwritten.join(", ")
            );
            if !self.yes {
                return Err(Failure::Refused(format!(
                    "{warning}. Nothing is saved; say --yes to save it until then, or mark the field local_only in the \
                     rules file"
                )));
            }
            output::note(&format!("note: {warning}"));
        }
        let admin = Admin { name: operator(), reason: None };
        let changed = store.edit_record(record.id, &edits, &admin).await.map_err(super::refused)?;
        if app.format == Format::Json {
            return output::json(&named_record(&store, &record.id.to_string()).await?);
        }
        output::line(&match changed.as_slice() {
            [] => format!("record {} has these values already", record.id),
            changed => format!("record {}: changed {}", record.id, changed.join(", ").replace("fields.", "")),
        })
    }
}

/// The fields that this edit changes and that Entra fills, each with its expression.
fn overwritten(store: &Store, at_hand: &RecordAtHand, edits: &[FieldEdit]) -> Result<Vec<String>, Failure> {
    let (fields, style) = (at_hand.fields(), at_hand.settings().username);
    let editor = Editor { by: String::new(), at: store.now(), known: None };
    let edited = by_hand::edit(&at_hand.record, edits, &fields, &editor).map_err(|refused| match refused {
        ByHandRefused::UnknownField { .. } | ByHandRefused::BadValue { .. } => Failure::Usage(refused.to_string()),
        _ => Failure::Refused(refused.to_string()),
    })?;
    let changed = edited.edits.iter().filter(|(name, edit)| at_hand.record.edits.get(*name) != Some(edit));
    let filled = changed.filter_map(|(name, _)| {
        let expression = by_hand::overwritten_by(&at_hand.record, name, &fields, style)?;
        Some(format!("{name} by {expression}"))
    });
    Ok(filled.collect())
}

fn assignment(text: &str) -> Result<FieldEdit, String> {
    match text.split_once('=') {
        Some((field, value)) if !field.trim().is_empty() => {
            Ok(FieldEdit { field: field.trim().to_owned(), value: Some(value.to_owned()) })
        }
        _ => Err("write FIELD=VALUE".to_owned()),
    }
}
