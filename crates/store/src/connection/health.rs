//! How a connection does: noted by whoever talked to Microsoft for it.

use lockstep_core::{ConnectionId, Timestamp};

use crate::connection::{Connection, ConnectionState};
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Sql, sql};

// `since` moves only with the state, so that "degraded since" is true. The reason of one that works is a drawback, which
// a token and a read do not end.
const OK: &str = "UPDATE connection SET
    since = CASE WHEN state IN ('active', 'paused') THEN since ELSE $2 END,
    reason = CASE WHEN state = 'active' THEN reason END, remedy = CASE WHEN state = 'active' THEN remedy END,
    state = CASE WHEN state = 'paused' THEN state ELSE 'active' END,
    failures = 0, next_try_at = NULL, checked_at = $2
    WHERE id = $1";
const TROUBLE: &str = "UPDATE connection SET
    since = CASE WHEN state IN ($2, 'paused') THEN since ELSE $3 END,
    state = CASE WHEN state = 'paused' THEN state ELSE $2 END,
    reason = $4, remedy = $5, failures = failures + 1, next_try_at = $6
    WHERE id = $1 AND coalesce(credential_since, 0) = $7";
// Of a connection that works: a state of trouble keeps its own reason.
const DRAWBACK: &str = "UPDATE connection SET reason = $2, remedy = $3 WHERE id = $1 AND state = 'active'";
const NO_DRAWBACK: &str = "UPDATE connection SET reason = NULL, remedy = NULL
    WHERE id = $1 AND state IN ('active', 'paused') AND reason = $2";
const GAP: &str = "UPDATE connection SET gap_since = coalesce(gap_since, $2) WHERE id = $1";

/// What is wrong with a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// `Degraded` or `NeedsAttention`.
    pub state: ConnectionState,
    /// Why, in plain words.
    pub reason: String,
    /// What a person can do, in plain words.
    pub remedy: String,
    /// Nothing is tried before this.
    pub next_try_at: Option<Timestamp>,
}

impl Store {
    /// A token and a read worked: the connection is active, unless it is paused.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_connection_ok(&self, id: ConnectionId) -> Result<(), StoreError> {
        self.write("note_connection_ok", sql(OK).bind(id).bind(self.now())).await
    }

    /// It did not work: says why, and when to try again. What is due waits till then and spends no attempts. Whoever began with a
    /// credential that was replaced meanwhile says nothing of the new one (C7).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_connection_trouble(&self, tried: &Connection, trouble: &Trouble) -> Result<(), StoreError> {
        let statement = sql(TROUBLE)
            .bind(tried.id)
            .bind(trouble.state.as_str())
            .bind(self.now())
            .bind(trouble.reason.as_str())
            .bind(trouble.remedy.as_str())
            .bind(trouble.next_try_at)
            .bind(tried.credential_since.unwrap_or(Timestamp::from_micros(0)));
        self.write("note_connection_trouble", statement).await
    }

    /// It works, but less well than it could: says why and what a person can do. Work goes on.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn note_drawback(&self, id: ConnectionId, reason: &str, remedy: &str) -> Result<(), StoreError> {
        self.write("note_drawback", sql(DRAWBACK).bind(id).bind(reason).bind(remedy)).await
    }

    /// The drawback noted with this reason is over.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn clear_drawback(&self, id: ConnectionId, reason: &str) -> Result<(), StoreError> {
        self.write("clear_drawback", sql(NO_DRAWBACK).bind(id).bind(reason)).await
    }

    /// A delta run is owed since now, or since an earlier gap (G-04).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn mark_gap(&self, id: ConnectionId) -> Result<(), StoreError> {
        self.write("mark_gap", mark_gap_statement(id, self.now())).await
    }

    /// One statement in a transaction of its own.
    pub(crate) async fn write(&self, name: &'static str, statement: Sql) -> Result<(), StoreError> {
        let mut tx = self.begin(name).await?;
        tx.run(statement).await?;
        tx.commit().await
    }
}

pub(crate) fn mark_gap_statement(id: ConnectionId, now: Timestamp) -> Sql {
    sql(GAP).bind(id).bind(now)
}
