//! Delta rounds: where each goes on, and what its rows make due.
//!
//! A page's due rows and its checkpoint are one transaction; the link of the next round is stored only with the last
//! page, by compare-and-set (G-12). A round that ends early leaves the old link.

pub(crate) mod rows;

use lockstep_core::{ConnectionId, Timestamp};

use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::sql::{Row, Sql, sql};

const COLUMNS: &str =
    "SELECT connection_id, round, link, taken_at, expired_at, step, next_link, started_at, pages, told,
    refused, covered_at, completed_at FROM delta_link WHERE connection_id = $1";
const CHECKPOINT: &str = "UPDATE delta_link SET next_link = $4, started_at = $5, pages = $6, told = $7, refused = $8,
    step = step + 1 WHERE connection_id = $1 AND round = $2 AND step = $3";
const COMPLETE: &str =
    "UPDATE delta_link SET link = $4, taken_at = $5, covered_at = $5, completed_at = $6, next_link = NULL,
    started_at = NULL, pages = 0, told = 0, refused = 0, step = step + 1
    WHERE connection_id = $1 AND round = $2 AND step = $3";
const ABANDON: &str = "UPDATE delta_link SET next_link = NULL, started_at = NULL, pages = 0, told = 0, refused = 0,
    step = step + 1 WHERE connection_id = $1 AND round = $2 AND step = $3";
const EXPIRE: &str = "UPDATE delta_link SET expired_at = coalesce(expired_at, $4), next_link = NULL, started_at = NULL,
    pages = 0, told = 0, refused = 0, step = step + 1 WHERE connection_id = $1 AND round = $2 AND step = $3";
// A link that works goes on without a gap: a newer one would jump over what it has still to tell.
const RENEW: &str =
    "INSERT INTO delta_link (connection_id, round, link, taken_at, step, pages, told, refused, covered_at,
    completed_at) VALUES ($1, $2, $3, $4, 1, 0, 0, 0, $4, $5)
    ON CONFLICT (connection_id, round) DO UPDATE SET link = excluded.link, taken_at = excluded.taken_at,
    expired_at = NULL, covered_at = excluded.covered_at, completed_at = excluded.completed_at, next_link = NULL,
    started_at = NULL, pages = 0, told = 0, refused = 0, step = delta_link.step + 1
    WHERE delta_link.expired_at IS NOT NULL";
const LAST_DELTA: &str = "UPDATE connection SET last_delta_at =
    (SELECT min(completed_at) FROM delta_link WHERE connection_id = $1 AND round IN ('users_access', 'groups'))
    WHERE id = $1 AND 2 = (SELECT count(completed_at) FROM delta_link
        WHERE connection_id = $1 AND round IN ('users_access', 'groups') AND expired_at IS NULL)";
const COVERED: &str = "SELECT min(covered_at) AS covered_at FROM delta_link
    WHERE connection_id = $1 AND expired_at IS NULL HAVING count(covered_at) = 3";

/// One of the delta queries of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeltaRound {
    /// Users, only what access depends on: other churn cannot clog it.
    UsersAccess,
    /// Groups with their members.
    Groups,
    /// Users, everything that may be mapped.
    UsersProfile,
}

impl DeltaRound {
    /// In the order in which they run: what may take access first.
    pub const ALL: [Self; 3] = [Self::UsersAccess, Self::Groups, Self::UsersProfile];

    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UsersAccess => "users_access",
            Self::Groups => "groups",
            Self::UsersProfile => "users_profile",
        }
    }

    /// From the stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|round| round.as_str() == word)
    }
}

/// Where a round stands.
#[derive(Clone, Debug, PartialEq)]
pub struct DeltaState {
    /// The connection.
    pub connection: ConnectionId,
    /// Which round.
    pub round: DeltaRound,
    /// Where the next round begins.
    pub link: String,
    /// No later than Graph gave the link.
    pub taken_at: Timestamp,
    /// Graph does not know the link any more.
    pub expired_at: Option<Timestamp>,
    /// The round under way, from its last committed page.
    pub under_way: Option<DeltaProgress>,
    /// When the last complete round began: everything Graph showed then is in the mirror, or due.
    pub covered_at: Option<Timestamp>,
    /// When the last complete round ended.
    pub completed_at: Option<Timestamp>,
    step: i64,
}

/// A round between two pages.
#[derive(Clone, Debug, PartialEq)]
pub struct DeltaProgress {
    /// The page to fetch next.
    pub next_link: String,
    /// When the round began.
    pub started_at: Timestamp,
    /// Pages taken.
    pub pages: u32,
    /// Rows taken.
    pub rows: u64,
    /// Rows that could not be used (BI-33).
    pub refused: u64,
}

/// A link taken at *latest*, before a full sync listed anybody.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TakenLink {
    /// [`DeltaRound::as_str`].
    pub round: String,
    /// As Graph gave it.
    pub link: String,
    /// When it was asked for.
    pub taken_at: Timestamp,
}

impl Store {
    /// The rounds of a connection that ever had a link.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn delta_states(&self, connection: ConnectionId) -> Result<Vec<DeltaState>, StoreError> {
        let rows = self.all("delta_states", sql(COLUMNS).bind(connection)).await?;
        rows.iter().map(state_from).collect()
    }

    /// Where one round stands; `None`: it has no link yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn lookup_delta(
        &self,
        connection: ConnectionId,
        round: DeltaRound,
    ) -> Result<Option<DeltaState>, StoreError> {
        Ok(self.delta_states(connection).await?.into_iter().find(|state| state.round == round))
    }

    /// Graph does not know the link any more. It is kept until a full sync brings another (FA-13).
    ///
    /// # Errors
    /// `Conflict` when the round went on meanwhile.
    pub async fn expire_delta(&self, state: &DeltaState) -> Result<(), StoreError> {
        let mut tx = self.begin("expire_delta").await?;
        let now = tx.now();
        tx.set_delta(state, state.keyed(EXPIRE).bind(now)).await?;
        tx.commit().await
    }

    /// Forgets the pages taken so far: the round begins anew at its link, which stays.
    ///
    /// # Errors
    /// `Conflict` when the round went on meanwhile.
    pub async fn abandon_delta(&self, state: &DeltaState) -> Result<(), StoreError> {
        let mut tx = self.begin("abandon_delta").await?;
        tx.abandon_delta(state).await?;
        tx.commit().await
    }
}

impl DeltaState {
    fn keyed(&self, statement: &'static str) -> Sql {
        sql(statement).bind(self.connection).bind(self.round.as_str()).bind(self.step)
    }
}

impl Tx {
    /// A page is taken, another one follows. Gives the state to go on from.
    ///
    /// # Errors
    /// `Conflict` when somebody else went on with the round.
    pub async fn checkpoint_delta(
        &mut self,
        state: &DeltaState,
        progress: DeltaProgress,
    ) -> Result<DeltaState, StoreError> {
        let statement = state
            .keyed(CHECKPOINT)
            .bind(progress.next_link.as_str())
            .bind(progress.started_at)
            .bind(progress.pages)
            .bind(i64::try_from(progress.rows).unwrap_or(i64::MAX))
            .bind(i64::try_from(progress.refused).unwrap_or(i64::MAX));
        self.set_delta(state, statement).await?;
        Ok(DeltaState { under_way: Some(progress), step: state.step + 1, ..state.clone() })
    }

    /// The last page is taken: the next round begins at `link`. With users and groups complete the connection's last
    /// delta is noted, and with all rounds complete a gap that was known before they began is closed.
    ///
    /// # Errors
    /// `Conflict` when somebody else went on with the round.
    pub async fn complete_delta(
        &mut self,
        state: &DeltaState,
        link: &str,
        started_at: Timestamp,
    ) -> Result<(), StoreError> {
        let now = self.now();
        self.set_delta(state, state.keyed(COMPLETE).bind(link).bind(started_at).bind(now)).await?;
        self.note_covered(state.connection).await
    }

    /// See [`Store::abandon_delta`].
    ///
    /// # Errors
    /// `Conflict` when the round went on meanwhile.
    pub async fn abandon_delta(&mut self, state: &DeltaState) -> Result<(), StoreError> {
        self.set_delta(state, state.keyed(ABANDON)).await
    }

    /// A full sync is complete: the links it took before it listed anybody become current where there is none that
    /// works.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn renew_delta_links(&mut self, connection: ConnectionId, taken: &[TakenLink]) -> Result<(), StoreError> {
        let now = self.now();
        for TakenLink { round, link, taken_at } in taken {
            let renew = sql(RENEW).bind(connection).bind(round.as_str()).bind(link.as_str());
            self.run(renew.bind(*taken_at).bind(now)).await?;
        }
        self.run(sql(LAST_DELTA).bind(connection)).await?;
        Ok(())
    }

    async fn note_covered(&mut self, connection: ConnectionId) -> Result<(), StoreError> {
        self.run(sql(LAST_DELTA).bind(connection)).await?;
        let Some(row) = self.one(sql(COVERED).bind(connection)).await? else {
            return Ok(());
        };
        match row.maybe_at("covered_at")? {
            Some(covered_at) => self.close_gap(connection, covered_at).await,
            None => Ok(()),
        }
    }

    async fn set_delta(&mut self, state: &DeltaState, statement: Sql) -> Result<(), StoreError> {
        debug_assert!(state.step > 0);
        match self.run(statement).await? {
            0 => Err(StoreError::Conflict { operation: self.name(), why: "somebody else went on with the round" }),
            _ => Ok(()),
        }
    }
}

fn state_from(row: &Row) -> Result<DeltaState, StoreError> {
    let count = |column| row.get::<i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    let under_way = match (row.get::<Option<String>>("next_link")?, row.maybe_at("started_at")?) {
        (Some(next_link), Some(started_at)) => Some(DeltaProgress {
            next_link,
            started_at,
            pages: row.small("pages")?,
            rows: count("told")?,
            refused: count("refused")?,
        }),
        _ => None,
    };
    Ok(DeltaState {
        connection: ConnectionId(row.get("connection_id")?),
        round: row.word("delta_link", "round", DeltaRound::parse)?,
        link: row.get("link")?,
        taken_at: row.at("taken_at")?,
        expired_at: row.maybe_at("expired_at")?,
        under_way,
        covered_at: row.maybe_at("covered_at")?,
        completed_at: row.maybe_at("completed_at")?,
        step: row.get("step")?,
    })
}
