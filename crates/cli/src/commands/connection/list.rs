//! `lockstep connection list` and `show`.

use lockstep_store::view::connection::{ConnectionFilter, ConnectionView};
use lockstep_store::view::rule::{GroupState, RuleView};

use crate::app::{App, named_connection};
use crate::commands::hold::cause_label;
use crate::failure::{Failure, Outcome};
use crate::output::{self, Format, Listing, or_dash};
use crate::word::word;

const LISTING: Listing<'_, ConnectionView> = Listing {
    columns: &[
        "name", "tenant", "domain", "state", "active", "inactive", "waiting", "failed", "held", "reviews", "brake",
        "reason",
    ],
    row: |connection| {
        vec![
            connection.name.clone(),
            connection.tenant_id.to_string(),
            connection.domain.clone(),
            connection.state.as_str().to_owned(),
            connection.people.active.to_string(),
            connection.people.inactive.to_string(),
            connection.waiting.to_string(),
            connection.failed.to_string(),
            connection.held.to_string(),
            connection.reviews.to_string(),
            nearest(connection),
            or_dash(connection.reason.as_ref()),
        ]
    },
    when_empty: "no connections: add one with `lockstep connection add NAME --tenant … --client-id … --client-secret-file …` (or --certificate-file)",
};

/// How many more people the brake lets go before it holds one: of the two causes the nearer.
fn nearest(connection: &ConnectionView) -> String {
    let room = connection.brake.iter().map(|forecast| forecast.more.saturating_sub(1)).min();
    room.map_or_else(|| "-".to_owned(), |room| format!("{room} more"))
}

pub async fn list(app: &App) -> Outcome {
    let connections = app.store().await?.list_connection_views(&ConnectionFilter::default()).await?;
    LISTING.print(app.format, &connections)?;
    if !connections.is_empty() {
        note_missing_public_url(app);
    }
    Ok(())
}

pub async fn show(app: &App, name: &str) -> Outcome {
    let store = app.store().await?;
    let connection = store.lookup_connection_view(name).await?.ok_or_else(|| {
        Failure::Failed(format!("there is no connection {name}; `lockstep connection list` shows which there are"))
    })?;
    if app.format == Format::Json {
        return output::json(&connection);
    }
    let mut rules = store.list_rule_views(named_connection(&store, name).await?.id).await?;
    rules.retain(|rule| !matches!(rule.group_state, GroupState::InUse | GroupState::NotListed));
    let mut lines = vec![
        ("name", connection.name.clone()),
        ("tenant", connection.tenant_id.to_string()),
        ("domain", connection.domain.clone()),
        ("client id", connection.client_id.clone()),
        ("credential", connection.credential.kind.clone()),
        ("expires", or_dash(connection.credential.expires_at.as_ref())),
        ("state", connection.state.as_str().to_owned()),
        ("since", connection.since.to_string()),
        ("reason", or_dash(connection.reason.as_ref())),
        ("remedy", or_dash(connection.remedy.as_ref())),
        ("next try", or_dash(connection.next_try_at.as_ref())),
        ("last notification", or_dash(connection.last_notification_at.as_ref())),
        ("people", format!("{} active, {} inactive", connection.people.active, connection.people.inactive)),
        ("events", format!("{} waiting, {} failed", connection.waiting, connection.failed)),
        ("open", format!("{} held, {} reviews", connection.held, connection.reviews)),
        ("rules may give", super::grant::in_words(&connection.grantable)),
        ("rules without effect", without_effect(&rules)),
    ];
    lines.extend(connection.brake.iter().map(|forecast| (cause_label(forecast), forecast.words.clone())));
    output::line(&output::pairs(&lines))?;
    note_missing_public_url(app);
    Ok(())
}

/// Rules whose mapped groups are empty, deleted or hidden: they give nobody access.
fn without_effect(rules: &[RuleView]) -> String {
    let names = rules.iter().map(|rule| format!("{} ({} is {})", rule.order, rule.group_name, word(rule.group_state)));
    or_dash(Some(names.collect::<Vec<_>>().join(", ")).filter(|text| !text.is_empty()).as_ref())
}

/// Without an address that Microsoft can call there are no notifications; somebody looking for them should read why.
fn note_missing_public_url(app: &App) {
    if app.settings.public_url.is_none() && app.format == Format::Table {
        output::note(
            "note: LOCKSTEP_PUBLIC_URL is not set, so Microsoft is not asked to notify; changes arrive by `lockstep connection sync` only",
        );
    }
}
