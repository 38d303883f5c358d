//! Connections as they are shown: how each does, why, what to do, and what waits.

use std::time::Duration;

use lockstep_core::brake::{CauseClass, Forecast};
use lockstep_core::rule::Grantable;
use lockstep_core::{ConnectionId, ObjectId, Timestamp};
use serde::{Serialize, Serializer};

use super::PAGE;
use crate::connection::credential::{CredentialKind, RunningOut};
use crate::connection::{ConnectionState, is_stale};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, sql};

/// A connection and its health (C5).
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// What people call it.
    pub name: String,
    /// The tenant.
    pub tenant_id: ObjectId,
    /// The tenant's default domain.
    pub domain: String,
    /// Application (client) id.
    pub client_id: String,
    /// How it signs in to Microsoft.
    pub credential: CredentialView,
    /// How it does.
    #[serde(serialize_with = "as_word")]
    pub state: ConnectionState,
    /// Since when.
    pub since: Timestamp,
    /// Why, in plain words; also what is still missing before people come in.
    pub reason: Option<String>,
    /// What a person can do, in plain words.
    pub remedy: Option<String>,
    /// Nothing is tried before this.
    pub next_try_at: Option<Timestamp>,
    /// The last authentic notification.
    pub last_notification_at: Option<Timestamp>,
    /// The last complete delta round.
    pub last_delta_at: Option<Timestamp>,
    /// Records linked through it.
    pub people: PeopleCount,
    /// Events that are not decided yet: in work, waiting for a retry, or for the end of a pause.
    pub waiting: u64,
    /// Events that were given up.
    pub failed: u64,
    /// People the brake keeps active.
    pub held: u64,
    /// Open questions.
    pub reviews: u64,
    /// The roles and permissions that its rules may give; null: whatever they name (TH-10).
    pub grantable: Grantable,
    /// What would trip the brake: for lost scope, then for verified revocations.
    pub brake: Vec<BrakeForecast>,
}

/// How far the brake is from holding somebody.
#[derive(Clone, Debug, Serialize)]
pub struct BrakeForecast {
    /// What takes the access.
    pub cause: CauseClass,
    /// So many more people, and the last of them is held.
    pub more: u32,
    /// Until there is room for one more; null: time brings none.
    pub eases_at: Option<Timestamp>,
    /// The limit, in the words of a hold.
    pub limit: String,
    /// All of it, in a line.
    pub words: String,
}

/// A credential without its secret.
#[derive(Clone, Debug, Serialize)]
pub struct CredentialView {
    /// `client_secret` or `certificate`.
    pub kind: String,
    /// When it runs out, as far as known.
    pub expires_at: Option<Timestamp>,
}

/// How many people are in and out.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PeopleCount {
    /// With access.
    pub active: u64,
    /// Without.
    pub inactive: u64,
}

/// Which connections to list.
#[derive(Clone, Copy)]
pub struct ConnectionFilter<'a> {
    /// Only the one of this name.
    pub name: Option<&'a str>,
    /// At most so many.
    pub limit: usize,
    /// Older than this one.
    pub after: Option<ConnectionId>,
}

impl Default for ConnectionFilter<'_> {
    fn default() -> Self {
        Self { name: None, limit: PAGE, after: None }
    }
}

const CONNECTIONS: &str = "SELECT c.id, c.name, c.tenant_id, c.domain, c.client_id, c.credential_kind, \
     c.credential_expires_at, c.state, c.since, c.reason, c.remedy, c.next_try_at, c.checked_at, c.first_sync_at, \
     c.last_notification_at, c.last_delta_at, c.grantable, coalesce(p.active, 0) AS active, coalesce(p.inactive, 0) AS inactive, \
     EXISTS (SELECT 1 FROM rule r WHERE r.connection_id = c.id AND NOT r.exclude) AS has_rules, \
     EXISTS (SELECT 1 FROM task t WHERE t.connection_id = c.id AND t.kind = 'full_sync' AND t.state = 'due') AS syncing, \
     EXISTS (SELECT 1 FROM delta_link d WHERE d.connection_id = c.id AND d.expired_at IS NOT NULL) AS resyncing, \
     (SELECT count(*) FROM event e WHERE e.connection_id = c.id AND e.status IN ('in_work', 'waiting')) AS waiting, \
     (SELECT count(*) FROM event e WHERE e.connection_id = c.id AND e.status = 'failed') AS failed, \
     (SELECT count(*) FROM hold_person h WHERE h.connection_id = c.id AND h.state = 'held') AS held, \
     (SELECT count(*) FROM review v WHERE v.connection_id = c.id AND v.state = 'open') AS reviews \
     FROM connection c LEFT JOIN people_count p ON p.connection_id = c.id WHERE TRUE";

impl ConnectionView {
    fn from_row(
        row: &Row,
        forecasts: Option<&[Forecast; 2]>,
        now: Timestamp,
        t_missed: Duration,
    ) -> Result<Self, StoreError> {
        let count = |column| row.get::<i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
        let mut view = Self {
            name: row.get("name")?,
            tenant_id: ObjectId(row.get("tenant_id")?),
            domain: row.get("domain")?,
            client_id: row.get("client_id")?,
            credential: CredentialView {
                kind: row.get("credential_kind")?,
                expires_at: row.maybe_at("credential_expires_at")?,
            },
            state: row.word("connection", "state", ConnectionState::parse)?,
            since: row.at("since")?,
            reason: row.get("reason")?,
            remedy: row.get("remedy")?,
            next_try_at: row.maybe_at("next_try_at")?,
            last_notification_at: row.maybe_at("last_notification_at")?,
            last_delta_at: row.maybe_at("last_delta_at")?,
            people: PeopleCount { active: count("active")?, inactive: count("inactive")? },
            waiting: count("waiting")?,
            failed: count("failed")?,
            held: count("held")?,
            reviews: count("reviews")?,
            grantable: row.json("connection", "grantable")?,
            brake: forecasts.into_iter().flatten().map(|forecast| BrakeForecast::of(forecast, now)).collect(),
        };
        view.explain(row, now)?;
        if view.state == ConnectionState::Active {
            view.note_lateness(row, now, t_missed)?;
        }
        Ok(view)
    }

    /// It works, but what is shown of it may be older than `t_missed` (G-21, FA-13).
    fn note_lateness(&mut self, row: &Row, now: Timestamp, t_missed: Duration) -> Result<(), StoreError> {
        let first_sync_at = row.maybe_at("first_sync_at")?;
        if row.get("resyncing")? {
            self.state = ConnectionState::Resyncing;
            self.reason = Some("Microsoft forgot how far changes were told: everybody is compared".into());
            self.remedy = Some("wait; nobody loses access by it".into());
        } else if is_stale(first_sync_at, self.last_delta_at, now, t_missed) {
            self.state = ConnectionState::Stale;
            self.reason = Some("Microsoft was not asked for changes lately: what is shown may be older".into());
            self.remedy = Some("wait; lockstep serve must be running".into());
        }
        Ok(())
    }

    /// Without trouble: a pause, then what keeps people from coming in, then what will end.
    fn explain(&mut self, row: &Row, now: Timestamp) -> Result<(), StoreError> {
        if self.reason.is_some() {
            return Ok(());
        }
        let step = Setup::from_row(row)?.next_step(self.state, &self.name);
        let kind = row.word("connection", "credential_kind", CredentialKind::parse)?;
        let running_out = RunningOut::of(kind, self.credential.expires_at, now);
        if let Some((why, what)) = step {
            (self.reason, self.remedy) = (Some(why.into()), Some(what));
        } else if let Some(running_out) = running_out.filter(|_| self.state == ConnectionState::Active) {
            (self.reason, self.remedy) = (Some(running_out.reason()), Some(running_out.remedy()));
        }
        Ok(())
    }
}

impl BrakeForecast {
    fn of(forecast: &Forecast, now: Timestamp) -> Self {
        let Forecast { class, more, eases_at, limit } = forecast.clone();
        Self { cause: class, more, eases_at, limit, words: forecast.words(now) }
    }
}

/// How far a connection has come since it was added.
struct Setup {
    checked: bool,
    has_rules: bool,
    syncing: bool,
    synced: bool,
}

impl Setup {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            checked: row.maybe_at("checked_at")?.is_some(),
            has_rules: row.get("has_rules")?,
            syncing: row.get("syncing")?,
            synced: row.maybe_at("first_sync_at")?.is_some(),
        })
    }

    /// What is missing before people come in, and who or what brings it; nothing once the first sync is through.
    fn next_step(&self, state: ConnectionState, name: &str) -> Option<(&'static str, String)> {
        if state == ConnectionState::Paused {
            return Some(("paused by hand: changes are kept and wait", format!("lockstep connection resume {name}")));
        }
        if !self.checked {
            return Some(("not checked yet", format!("lockstep connection check {name}")));
        }
        if !self.has_rules {
            return Some(("no rules yet: nobody has access", format!("lockstep rule apply {name} rules.toml")));
        }
        match (self.synced, self.syncing) {
            (true, _) => None,
            (false, true) => Some(("the first sync is not through yet", "wait; lockstep serve must be running".into())),
            (false, false) => Some(("not synced yet", format!("lockstep connection sync {name}"))),
        }
    }
}

fn as_word<S: Serializer>(state: &ConnectionState, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.as_str())
}

impl Store {
    /// Connections with their health, newest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_connection_views(
        &self,
        filter: &ConnectionFilter<'_>,
    ) -> Result<Vec<ConnectionView>, StoreError> {
        let now = self.now();
        let query = sql(CONNECTIONS)
            .and("c.name = ", filter.name)
            .and("c.id < ", filter.after)
            .page(" ORDER BY c.id DESC", filter.limit);
        let forecasts = self.brake_forecasts().await?;
        self.shown("listing connections", query)
            .await?
            .iter()
            .map(|row| {
                let id = ConnectionId(row.get("id")?);
                ConnectionView::from_row(row, forecasts.get(&id), now, self.timing().t_missed)
            })
            .collect()
    }

    /// One connection with its health.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_connection_view(&self, name: &str) -> Result<Option<ConnectionView>, StoreError> {
        let filter = ConnectionFilter { name: Some(name), ..ConnectionFilter::default() };
        Ok(self.list_connection_views(&filter).await?.pop())
    }
}
