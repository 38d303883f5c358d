//! `lockstep record show`: a record, who set each of its values, and what happened to it.

use lockstep_core::origin::{ValueShown, ValueSource};
use lockstep_store::view::origin::RecordShown;
use lockstep_store::view::record::HistoryView;

use super::{facts, named_record, plain};
use crate::app::App;
use crate::failure::Outcome;
use crate::output::{self, Format, or_dash};
use crate::word::word;

pub async fn show(app: &App, name: &str) -> Outcome {
    let store = app.store().await?;
    let record = named_record(&store, name).await?;
    let shown = store.record_shown(record).await?;
    match app.format {
        Format::Json => output::json(&shown),
        Format::Table => output::line(&screen(&shown)),
    }
}

fn screen(shown: &RecordShown) -> String {
    let mut parts = vec![facts(&shown.record)];
    if shown.activating {
        parts.push("by_hand goes with the next read of this person; `lockstep serve` must run".to_owned());
    }
    if let Some(at) = shown.sessions_ended_at {
        parts.push(format!("sessions that began before {at} ended"));
    }
    if !shown.values.is_empty() {
        parts.push(output::table(&["field", "value", "set by", "since", "filled by"], shown.values.iter().map(value)));
    }
    let history = shown.history.iter().flat_map(happened);
    parts.push(output::table(&["when", "trigger", "by", "field", "before", "after"], history));
    parts.join("\n\n")
}

fn value(value: &ValueShown) -> Vec<String> {
    let set_by = match (value.source, &value.by) {
        (ValueSource::Edit, Some(by)) => format!("edit by {by}"),
        (source, _) => word(source),
    };
    vec![
        value.field.clone(),
        plain(&value.value),
        set_by,
        or_dash(value.at.as_ref()),
        or_dash(value.expression.as_ref()),
    ]
}

/// One row for each field that changed; what they have in common stands in the first.
fn happened(entry: &HistoryView) -> Vec<Vec<String>> {
    let by = match &entry.reason {
        Some(reason) => format!("{} ({reason})", entry.actor),
        None => entry.actor.clone(),
    };
    let mut common = vec![entry.at.to_string(), entry.trigger.clone(), by];
    let changes = entry.changes.as_array().into_iter().flatten();
    let mut rows: Vec<Vec<String>> = Vec::new();
    for change in changes {
        let field = change["field"].as_str().unwrap_or_default();
        let mut row = std::mem::replace(&mut common, vec![String::new(); 3]);
        row.push(field.strip_prefix("fields.").unwrap_or(field).to_owned());
        row.extend([plain(&change["before"]), plain(&change["after"])]);
        rows.push(row);
    }
    rows
}
