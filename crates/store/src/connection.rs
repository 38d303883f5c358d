//! Connections: one Entra tenant each, with its secrets and its health.

pub(crate) mod credential;
pub(crate) mod grant;
pub(crate) mod health;
pub(crate) mod pause;
pub(crate) mod removal;
mod rotation;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockstep_core::field::FieldMap;
use lockstep_core::rule::Grantable;
use lockstep_core::settings::{Defaults, Settings};
use lockstep_core::timing::Timing;
use lockstep_core::{ConnectionId, ObjectId, Timestamp};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Actor, AuditEntry};
use crate::connection::credential::{CredentialKind, NewCredential, RunningOut};
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::secret::{MacPurpose, Place, random_bytes};
use crate::sql::{Bind, Row, Sql, sql};

const COLUMNS: &str = "SELECT id, name, tenant_id, domain, client_id, cloud, credential_kind, credential_expires_at, credential_since, realm, guests,
    match_domains, test_users, state, since, reason, remedy, failures, next_try_at, checked_at, first_sync_at, gap_since,
    last_notification_at, last_delta_at, rules_version, fields, defaults, settings, grantable,
    created_at FROM connection ";
const TAKEN: &str = "SELECT name, tenant_id FROM connection WHERE name = $1 OR tenant_id = $2";
const ADD: &str =
    "INSERT INTO connection (id, name, tenant_id, domain, client_id, cloud, credential_kind, credential, realm,
    guests, match_domains, test_users, path_token, path_token_mac, state, since, fields, defaults, settings, created_at,
    credential_expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'new', $15, $16, $17, $18, $15, $19)";
const ADD_BRAKE: &str = "INSERT INTO brake (scope) VALUES ($1)";
const ADD_COUNT: &str = "INSERT INTO people_count (connection_id, active, inactive) VALUES ($1, 0, 0)";
const CREDENTIAL: &str = "SELECT credential FROM connection WHERE id = $1";
const PATH_TOKEN: &str = "SELECT path_token FROM connection WHERE id = $1";

/// A connection to add.
pub struct NewConnection {
    /// What people call it; unique.
    pub name: String,
    /// The tenant; one connection each.
    pub tenant_id: ObjectId,
    /// The tenant's default domain, for people.
    pub domain: String,
    /// Application (client) id of the app registration.
    pub client_id: String,
    /// How it signs in to Microsoft.
    pub credential: NewCredential,
    /// `global`, `usgov`, `usgov-dod`, `china` or `custom`.
    pub cloud: String,
    /// The set of records it may link to and create in; `None`: one of its own, called like the connection.
    pub realm: Option<String>,
    /// Guests get access too.
    pub guests: bool,
    /// E-mail domains this connection may match people by (TH-09).
    pub match_domains: Vec<String>,
    /// When not empty, only these people are touched.
    pub test_users: Vec<String>,
}

/// How a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Added, never yet checked with success.
    New,
    /// Works.
    Active,
    /// Trouble that may heal by itself.
    Degraded,
    /// A person must act.
    NeedsAttention,
    /// Stopped by a person: hints are taken and wait.
    Paused,
    /// Works, but Graph forgot its delta link: everybody is compared (FA-13). Shown, never stored.
    Resyncing,
    /// Works, but its last complete delta run is older than `t_missed` (G-21). Shown, never stored.
    Stale,
}

impl ConnectionState {
    /// As shown and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Active => "active",
            Self::Degraded => "degraded",
            Self::NeedsAttention => "needs_attention",
            Self::Paused => "paused",
            Self::Resyncing => "resyncing",
            Self::Stale => "stale",
        }
    }

    /// From the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::New, Self::Active, Self::Degraded, Self::NeedsAttention, Self::Paused]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// A connection as stored; its secrets are fetched apart.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Ours.
    pub id: ConnectionId,
    /// What people call it.
    pub name: String,
    /// The tenant.
    pub tenant_id: ObjectId,
    /// The tenant's default domain.
    pub domain: String,
    /// Application (client) id.
    pub client_id: String,
    /// Which Microsoft cloud.
    pub cloud: String,
    /// What it signs in with.
    pub credential_kind: CredentialKind,
    /// When the credential runs out, as far as known.
    pub credential_expires_at: Option<Timestamp>,
    /// When it was replaced last; `None`: it is the first one.
    pub credential_since: Option<Timestamp>,
    /// The set of records it may link to and create in.
    pub realm: String,
    /// Guests get access too.
    pub guests: bool,
    /// E-mail domains it may match people by.
    pub match_domains: BTreeSet<String>,
    /// When not empty, only these people are touched.
    pub test_users: Vec<String>,
    /// How it does.
    pub state: ConnectionState,
    /// Since when.
    pub since: Timestamp,
    /// Why, in plain words.
    pub reason: Option<String>,
    /// What a person can do.
    pub remedy: Option<String>,
    /// Troubles in an unbroken row.
    pub failures: u32,
    /// Nothing is tried before this.
    pub next_try_at: Option<Timestamp>,
    /// The last successful token and read.
    pub checked_at: Option<Timestamp>,
    /// When every mapped group had been seen.
    pub first_sync_at: Option<Timestamp>,
    /// A delta run is owed since then (G-04).
    pub gap_since: Option<Timestamp>,
    /// The last authentic notification.
    pub last_notification_at: Option<Timestamp>,
    /// The last complete delta round.
    pub last_delta_at: Option<Timestamp>,
    /// Raised by every apply of rules.
    pub rules_version: i64,
    /// How attributes are mapped.
    pub fields: FieldMap,
    /// Values for what Entra leaves empty.
    pub defaults: Defaults,
    /// Settings of the rules file.
    pub settings: Settings,
    /// What its rules may give.
    pub grantable: Grantable,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Connection {
    /// Whether its credential has run out or soon will.
    pub fn running_out(&self, now: Timestamp) -> Option<RunningOut> {
        RunningOut::of(self.credential_kind, self.credential_expires_at, now)
    }
}

impl Connection {
    /// Synced once, but the last complete delta run is older than `t_missed`: what is shown may be, too (G-21).
    pub fn is_stale(&self, now: Timestamp, timing: &Timing) -> bool {
        is_stale(self.first_sync_at, self.last_delta_at, now, timing.t_missed)
    }
}

pub(crate) fn is_stale(
    first_sync_at: Option<Timestamp>,
    last_delta_at: Option<Timestamp>,
    now: Timestamp,
    t_missed: Duration,
) -> bool {
    first_sync_at.is_some_and(|first| now.since(last_delta_at.unwrap_or(first)) > t_missed)
}

impl Store {
    /// Adds a connection with a fresh path token.
    ///
    /// # Errors
    /// `Refused` when its name or its tenant is taken.
    pub async fn add_connection(&self, new: NewConnection) -> Result<Connection, StoreError> {
        let id = ConnectionId(Uuid::now_v7());
        let mut tx = self.begin("add_connection").await?;
        tx.refuse_taken(&new).await?;
        let now = tx.now();
        let statement = tx.add_statement(id, &new, now);
        tx.run(statement).await?;
        tx.run(sql(ADD_BRAKE).bind(id.to_string())).await?;
        tx.run(sql(ADD_COUNT).bind(id)).await?;
        tx.audit(AuditEntry {
            connection: Some(id),
            actor: Actor::Cli,
            action: "connection.add",
            object_kind: "connection",
            object_id: id.to_string(),
            detail: json!({ "name": new.name, "tenant_id": new.tenant_id, "client_id": new.client_id, "cloud": new.cloud }),
        })
        .await?;
        tx.commit().await?;
        self.get_connection(id).await
    }

    /// All connections by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn list_connections(&self) -> Result<Vec<Connection>, StoreError> {
        let rows = self.all("list_connections", sql(COLUMNS).push("ORDER BY name")).await?;
        rows.iter().map(connection_from).collect()
    }

    /// One connection by id.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_connection(&self, id: ConnectionId) -> Result<Option<Connection>, StoreError> {
        let row = self.one("lookup_connection", sql(COLUMNS).push("WHERE id = ").value(id)).await?;
        row.as_ref().map(connection_from).transpose()
    }

    /// One connection by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_connection_by_name(&self, name: &str) -> Result<Option<Connection>, StoreError> {
        let row = self.one("lookup_connection_by_name", sql(COLUMNS).push("WHERE name = ").value(name)).await?;
        row.as_ref().map(connection_from).transpose()
    }

    pub(crate) async fn get_connection(&self, id: ConnectionId) -> Result<Connection, StoreError> {
        let found = self.lookup_connection(id).await?;
        found.ok_or_else(|| StoreError::NotFound { what: "connection", id: id.to_string() })
    }

    /// The client secret, or the certificate with its key as PEM, decrypted; [`Connection::credential_kind`] tells which.
    ///
    /// # Errors
    /// `Unsealable` when the row was tampered with.
    pub async fn connection_secret(&self, connection: &Connection) -> Result<SecretString, StoreError> {
        self.unseal(connection.id, sql(CREDENTIAL), "credential").await
    }

    /// The path token as it stands in notification URLs.
    ///
    /// # Errors
    /// `Unsealable` when the row was tampered with.
    pub async fn path_token(&self, connection: &Connection) -> Result<SecretString, StoreError> {
        self.unseal(connection.id, sql(PATH_TOKEN), "path_token").await
    }

    async fn unseal(&self, id: ConnectionId, query: Sql, column: &'static str) -> Result<SecretString, StoreError> {
        let row = self.one("unsealing a secret", query.bind(id)).await?;
        let row = row.ok_or_else(|| StoreError::NotFound { what: "connection", id: id.to_string() })?;
        let sealed: Vec<u8> = row.get(column)?;
        let row_id = id.to_string();
        let plain = self.keys().open(&Place { table: "connection", row: &row_id, column }, &sealed)?;
        as_text(&plain).ok_or_else(|| StoreError::impossible("connection", column, id))
    }
}

impl Tx {
    async fn refuse_taken(&mut self, new: &NewConnection) -> Result<(), StoreError> {
        let Some(row) = self.one(sql(TAKEN).bind(new.name.as_str()).bind(new.tenant_id)).await? else {
            return Ok(());
        };
        let name: String = row.get("name")?;
        Err(StoreError::Refused(if name == new.name {
            format!("there is already a connection {name}: choose another name")
        } else {
            format!("tenant {} is already connected as {name}: a tenant has one connection", new.tenant_id)
        }))
    }

    fn add_statement(&self, id: ConnectionId, new: &NewConnection, now: Timestamp) -> Sql {
        let token = Zeroizing::new(URL_SAFE_NO_PAD.encode(random_bytes::<32>()));
        let row = id.to_string();
        let seal =
            |column, plain: &str| self.keys().seal(&Place { table: "connection", row: &row, column }, plain.as_bytes());
        let domains: BTreeSet<String> = new.match_domains.iter().map(|domain| domain.trim().to_lowercase()).collect();
        sql(ADD)
            .bind(id)
            .bind(new.name.as_str())
            .bind(new.tenant_id)
            .bind(new.domain.as_str())
            .bind(new.client_id.as_str())
            .bind(new.cloud.as_str())
            .bind(new.credential.kind().as_str())
            .bind(seal("credential", new.credential.secret().expose_secret()))
            .bind(new.realm.as_deref().unwrap_or(&new.name))
            .bind(new.guests)
            .bind(Bind::json(&domains))
            .bind(Bind::json(&new.test_users))
            .bind(seal("path_token", &token))
            .bind(self.keys().mac(MacPurpose::PathToken, token.as_bytes()).to_vec())
            .bind(now)
            .bind(Bind::json(&FieldMap::default()))
            .bind(Bind::json(&Defaults::default()))
            .bind(Bind::json(&Settings::default()))
            .bind(new.credential.expires_at())
    }
}

fn as_text(plain: &SecretSlice<u8>) -> Option<SecretString> {
    std::str::from_utf8(plain.expose_secret()).ok().map(SecretString::from)
}

fn connection_from(row: &Row) -> Result<Connection, StoreError> {
    const T: &str = "connection";
    Ok(Connection {
        id: ConnectionId(row.get("id")?),
        name: row.get("name")?,
        tenant_id: ObjectId(row.get("tenant_id")?),
        domain: row.get("domain")?,
        client_id: row.get("client_id")?,
        cloud: row.get("cloud")?,
        credential_kind: row.word(T, "credential_kind", CredentialKind::parse)?,
        credential_expires_at: row.maybe_at("credential_expires_at")?,
        credential_since: row.maybe_at("credential_since")?,
        realm: row.get("realm")?,
        guests: row.get("guests")?,
        match_domains: row.json(T, "match_domains")?,
        test_users: row.json(T, "test_users")?,
        state: row.word(T, "state", ConnectionState::parse)?,
        since: row.at("since")?,
        reason: row.get("reason")?,
        remedy: row.get("remedy")?,
        failures: row.small("failures")?,
        next_try_at: row.maybe_at("next_try_at")?,
        checked_at: row.maybe_at("checked_at")?,
        first_sync_at: row.maybe_at("first_sync_at")?,
        gap_since: row.maybe_at("gap_since")?,
        last_notification_at: row.maybe_at("last_notification_at")?,
        last_delta_at: row.maybe_at("last_delta_at")?,
        rules_version: row.get("rules_version")?,
        fields: row.json(T, "fields")?,
        defaults: row.json(T, "defaults")?,
        settings: row.json(T, "settings")?,
        grantable: row.json(T, "grantable")?,
        created_at: row.at("created_at")?,
    })
}
