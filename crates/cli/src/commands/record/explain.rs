//! `lockstep record explain`: why somebody has the access they have.

use lockstep_core::explain::Explanation;

use super::{facts, named_record, plain};
use crate::app::App;
use crate::failure::Outcome;
use crate::output::{self, Format, or_dash};
use crate::word::word;

pub async fn explain(app: &App, name: &str) -> Outcome {
    let store = app.store().await?;
    let record = named_record(&store, name).await?;
    let source = store.explain_source(record.id).await?.ok_or_else(|| super::missing(name))?;
    let explanation = source.explanation();
    if app.format == Format::Json {
        return output::json(&explanation);
    }
    output::line(&facts(&record))?;
    output::line(&shown(&explanation))
}

fn shown(explanation: &Explanation) -> String {
    let mut parts = vec![user(explanation)];
    if !explanation.groups.is_empty() {
        let rows = explanation
            .groups
            .iter()
            .map(|group| vec![group.name.clone(), group.id.to_string(), group.chain.join(" > ")]);
        parts.push(output::table(&["in group", "id", "by way of"], rows));
    }
    if !explanation.rules.is_empty() {
        let rows = explanation
            .rules
            .iter()
            .map(|rule| vec![rule.order.to_string(), rule.group.to_string(), word(rule.outcome), rule.why.clone()]);
        parts.push(output::table(&["order", "rule's group", "outcome", "why"], rows));
    }
    if !explanation.fields.is_empty() {
        // What Entra leaves empty is in the JSON; here it would hide what there is.
        let filled = explanation.fields.iter().filter(|field| !field.value.is_null());
        let rows = filled.map(|field| vec![field.name.clone(), plain(&field.value), field.source.clone()]);
        parts.push(output::table(&["field", "value", "source"], rows));
    }
    let (holds, reviews) = (explanation.holds.len(), explanation.reviews.len());
    if holds + reviews > 0 {
        parts.push(format!("open: {holds} holds, {reviews} reviews (`lockstep hold list`, `lockstep review list`)"));
    }
    format!("\n{}", parts.join("\n\n"))
}

fn user(explanation: &Explanation) -> String {
    let Some(user) = &explanation.user else {
        return "nobody in Microsoft is linked to this record".to_owned();
    };
    output::pairs(&[
        ("in Microsoft", if user.deleted { "deleted" } else { "exists" }.to_owned()),
        ("enabled", or_dash(user.enabled.as_ref())),
        ("type", user.user_type.map_or_else(|| "-".to_owned(), word)),
        ("read", or_dash(user.verified_at.as_ref())),
    ])
}
