//! `lockstep connection check`: token, permissions by name, the end of the credential, subscriptions.

use lockstep_core::Timestamp;
use lockstep_core::renewal::SubscriptionStatus;
use lockstep_graph::GraphError;
use lockstep_store::view::subscription::SubscriptionFilter;
use lockstep_store::{Connection, Store};
use lockstep_worker::{Checked, check_connection, graph_client};
use serde::Serialize;

use crate::app::{App, named_connection};
use crate::connecting::permissions;
use crate::failure::{Failure, Outcome};
use crate::output::{Listing, or_dash};
use crate::word::word;

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    check: String,
    ok: bool,
    detail: String,
    remedy: Option<String>,
}

const LISTING: Listing<'_, Check> = Listing {
    columns: &["check", "result", "detail", "what to do"],
    row: |check| {
        let result = if check.ok { "ok" } else { "FAILED" };
        vec![check.check.clone(), result.to_owned(), check.detail.clone(), or_dash(check.remedy.as_ref())]
    },
    when_empty: "",
};

pub async fn run(app: &App, name: &str) -> Outcome {
    let store = app.store().await?;
    let connection = named_connection(&store, name).await?;
    let client = graph_client(&store, &connection, &app.graph()).await?;
    let mut checks = match check_connection(&client).await {
        Ok(checked) => microsoft_checks(&connection, &checked),
        Err(error) => vec![failed_token(&error)],
    };
    if checks.iter().all(|check| check.ok) {
        store.note_connection_ok(connection.id).await?;
    }
    checks.push(credential_check(&connection, store.now()));
    checks.extend(subscription_checks(app, &store, &connection).await?);
    LISTING.print(app.format, &checks)?;
    match checks.iter().filter(|check| !check.ok).count() {
        0 => Ok(()),
        failed => Err(Failure::Refused(format!("{failed} of {} checks of connection {name} failed", checks.len()))),
    }
}

fn failed_token(error: &GraphError) -> Check {
    Check {
        check: "token and organization".to_owned(),
        ok: false,
        detail: error.to_string(),
        remedy: Some(error.operator_sentence()),
    }
}

fn microsoft_checks(connection: &Connection, checked: &Checked) -> Vec<Check> {
    let same = checked.organization == connection.tenant_id;
    let tenant = Check {
        check: "token and organization".to_owned(),
        ok: same,
        detail: format!("tenant {}", checked.organization),
        remedy: (!same).then(|| "another tenant answered: remove this connection and add the right tenant".to_owned()),
    };
    let permission = |(name, granted): (&str, bool)| Check {
        check: format!("permission {name}"),
        ok: granted,
        detail: if granted { "granted" } else { "missing" }.to_owned(),
        remedy: (!granted).then(|| "add it to the app registration and grant admin consent".to_owned()),
    };
    std::iter::once(tenant).chain(permissions(checked).map(permission)).collect()
}

/// What will end is told before it ends; only what has ended is a failure.
fn credential_check(connection: &Connection, now: Timestamp) -> Check {
    let running_out = connection.running_out(now);
    let noun = connection.credential_kind.noun();
    Check {
        check: format!("credential ({noun})"),
        ok: !running_out.is_some_and(|running_out| running_out.is_over()),
        detail: match (running_out, connection.credential_expires_at) {
            (Some(running_out), _) => running_out.reason(),
            (None, Some(at)) => format!("good until {at}"),
            (None, None) => "Microsoft does not tell when it ends; Entra shows it".to_owned(),
        },
        remedy: running_out.map(|running_out| running_out.remedy()),
    }
}

/// Without a public address there are none, and that is no failure. With one, both must stand once rules exist.
async fn subscription_checks(app: &App, store: &Store, connection: &Connection) -> Result<Vec<Check>, Failure> {
    let expected = app.settings.public_url.is_some() && connection.rules_version > 0;
    let filter = SubscriptionFilter { connection: Some(&connection.name), ..SubscriptionFilter::default() };
    let subscriptions = store.list_subscription_views(&filter).await?;
    Ok(["users", "groups"]
        .into_iter()
        .map(|resource| {
            let live = subscriptions.iter().find(|found| found.resource == resource && notifies(found.status));
            Check {
                check: format!("subscription {resource}"),
                ok: live.is_some() || !expected,
                detail: match live {
                    Some(found) => format!("{} until {}", word(found.status), or_dash(found.expires_at.as_ref())),
                    None if expected => none_active(connection),
                    None if connection.rules_version == 0 => "none yet: no rules".to_owned(),
                    None => "none: LOCKSTEP_PUBLIC_URL is not set".to_owned(),
                },
                remedy: (live.is_none() && expected).then(|| how_to_get_one(connection)),
            }
        })
        .collect())
}

/// One whose renewals fail still notifies until its end.
fn notifies(status: SubscriptionStatus) -> bool {
    matches!(status, SubscriptionStatus::Active | SubscriptionStatus::Expiring)
}

fn none_active(connection: &Connection) -> String {
    let why = connection.reason.as_ref().map(|why| format!(": {why}"));
    format!("none is active{}", why.unwrap_or_default())
}

fn how_to_get_one(connection: &Connection) -> String {
    let known = connection.remedy.clone();
    known.unwrap_or_else(|| "start `lockstep serve`; it makes them within seconds".to_owned())
}
