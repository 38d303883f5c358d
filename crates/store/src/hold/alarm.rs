//! Holds that somebody must hear of: those without an answer, and those by whose answer people stay whom Microsoft shows
//! as out (G-16).

use std::time::Duration;

use lockstep_core::{ConnectionId, HoldId};

use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, sql};

const AGAIN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

const UNHEARD: &str = "SELECT * FROM (SELECT h.id, h.connection_id, h.limit_reached, h.alarmed_at,
        (SELECT count(*) FROM hold_person p WHERE p.hold_id = h.id AND p.state = 'held') AS held,
        (SELECT count(*) FROM hold_person p WHERE p.hold_id = h.id AND p.state = 'kept') AS kept
        FROM hold h WHERE h.state IN ('open', 'rejected', 'partly_approved')) AS counted
    WHERE (alarmed_at IS NULL OR alarmed_at <= $1) AND held + kept > 0 ORDER BY id";

/// A hold to tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldAlarm {
    /// The hold.
    pub id: HoldId,
    /// Its connection.
    pub connection: ConnectionId,
    /// Which limit, in plain words.
    pub limit: String,
    /// People who wait for an answer.
    pub held: i64,
    /// People who stay by a no.
    pub kept: i64,
}

impl Store {
    /// The holds that nobody was told of in the last day; asking counts as telling.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn take_hold_alarms(&self) -> Result<Vec<HoldAlarm>, StoreError> {
        const OPERATION: &str = "take_hold_alarms";
        let now = self.now();
        // Most of the time there is nothing, and then nobody waits for this.
        if self.all(OPERATION, sql(UNHEARD).bind(now - AGAIN_AFTER).everywhere()).await?.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin_everywhere(OPERATION).await?;
        let rows = tx.all(sql(UNHEARD).bind(now - AGAIN_AFTER)).await?;
        let alarms = rows.iter().map(HoldAlarm::from_row).collect::<Result<Vec<_>, _>>()?;
        let told = sql("UPDATE hold SET alarmed_at = ").value(now).push(" WHERE id IN ");
        tx.run(told.list(alarms.iter().map(|alarm| alarm.id))).await?;
        tx.commit().await?;
        Ok(alarms)
    }
}

impl HoldAlarm {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: HoldId(row.get("id")?),
            connection: ConnectionId(row.get("connection_id")?),
            limit: row.get("limit_reached")?,
            held: row.get("held")?,
            kept: row.get("kept")?,
        })
    }
}
