//! What the brake counts: who lost access lately, under a lock that only those take who would take access.

pub(crate) mod forecast;

use std::collections::BTreeSet;

use lockstep_core::brake::{CauseClass, LONG, SHORT, WindowCounts};
use lockstep_core::{RecordId, Timestamp};

use crate::connection::Connection;
use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::{Row, Sql, sql};

// The update is the lock: whoever judges next waits until this transaction has counted its own removals.
const LOCK: &str = "UPDATE brake SET judged_at = $2 WHERE scope = $1";
const INSTALLATION: &str = "installation";
const COUNTS: &str = "
    coalesce(sum(CASE WHEN at > ? AND class = 'lost_scope' AND NOT exempt THEN 1 ELSE 0 END), 0) AS short_lost_scope,
    coalesce(sum(CASE WHEN at > ? AND class = 'revoked' AND NOT exempt THEN 1 ELSE 0 END), 0) AS short_revoked,
    coalesce(sum(CASE WHEN class = 'lost_scope' AND NOT exempt THEN 1 ELSE 0 END), 0) AS long_lost_scope,
    coalesce(sum(CASE WHEN class = 'revoked' AND NOT exempt THEN 1 ELSE 0 END), 0) AS long_revoked,
    coalesce(sum(CASE WHEN at > ? THEN 1 ELSE 0 END), 0) AS short_all,
    count(*) AS long_all
    FROM removal WHERE at > ";
const ACTIVE_HERE: &str = "SELECT active FROM people_count WHERE connection_id = $1";
const ACTIVE_EVERYWHERE: &str = "SELECT CAST(coalesce(sum(active), 0) AS BIGINT) AS active FROM people_count";
// Nothing says so on the record itself.
const IMPORTED: &str =
    " OR EXISTS (SELECT 1 FROM history h WHERE h.record_id = r.id AND h.trigger = 'import')) AND r.id IN ";
const EXEMPT: &str = "SELECT record_id FROM exemption WHERE connection_id = $1 AND rules_version = $2";

/// Everything `brake::judge` wants to know, true until the transaction ends.
#[derive(Clone, Debug, PartialEq)]
pub struct BrakeState {
    /// Of this connection.
    pub connection: WindowCounts,
    /// Of all connections together.
    pub installation: WindowCounts,
    /// On the confirmed plan of the rules in force: they do not count.
    pub exempt: BTreeSet<RecordId>,
}

impl Tx {
    /// Locks the connection's brake, then the installation's, and counts. Call it only when somebody would lose access.
    ///
    /// The people active at a window's start are taken to be those active now and those removed since: whoever came in
    /// meanwhile is counted too, and so is whoever changed their kind.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn brake_state(&mut self, connection: &Connection) -> Result<BrakeState, StoreError> {
        let now = self.now();
        let scope = connection.id.to_string();
        self.run(sql(LOCK).bind(scope).bind(now)).await?;
        self.run(sql(LOCK).bind(INSTALLATION).bind(now)).await?;
        let here = self.one(sql(ACTIVE_HERE).bind(connection.id)).await?;
        let here: i64 = here.map_or(Ok(0), |row| row.get("active"))?;
        let everywhere: i64 = self.only(sql(ACTIVE_EVERYWHERE)).await?.get("active")?;
        Ok(BrakeState {
            connection: self.window_counts(Some(connection), here, now).await?,
            installation: self.window_counts(None, everywhere, now).await?,
            exempt: self.exempt(connection).await?,
        })
    }

    /// Which of these records were there before the connection's first sync: imported, or older than the connection. The others
    /// have their access from it.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn there_before(
        &mut self,
        connection: &Connection,
        records: impl IntoIterator<Item = RecordId>,
    ) -> Result<BTreeSet<RecordId>, StoreError> {
        let records: Vec<RecordId> = records.into_iter().collect();
        if records.is_empty() {
            return Ok(BTreeSet::new());
        }
        let older = sql("SELECT r.id FROM record r WHERE (r.created_at < ").value(connection.created_at);
        let rows = self.all(older.push(IMPORTED).list(records)).await?;
        rows.iter().map(|row| row.get("id").map(RecordId)).collect()
    }

    async fn window_counts(
        &mut self,
        connection: Option<&Connection>,
        active: i64,
        now: Timestamp,
    ) -> Result<WindowCounts, StoreError> {
        let query = counted(sql("SELECT "), now);
        let query = match connection {
            Some(connection) => query.push(" AND connection_id = ").value(connection.id),
            None => query,
        };
        windows_from(&self.only(query).await?, active)
    }

    pub(crate) async fn exempt(&mut self, connection: &Connection) -> Result<BTreeSet<RecordId>, StoreError> {
        let rows = self.all(sql(EXEMPT).bind(connection.id).bind(connection.rules_version)).await?;
        rows.iter().map(|row| row.get("record_id").map(RecordId)).collect()
    }
}

/// The counts of the removals in the windows that end now.
fn counted(select: Sql, now: Timestamp) -> Sql {
    let short = now - SHORT;
    select.push(COUNTS).bind(short).bind(short).bind(short).value(now - LONG)
}

fn windows_from(row: &Row, active: i64) -> Result<WindowCounts, StoreError> {
    Ok(WindowCounts {
        short_lost_scope: count(row, "short_lost_scope")?,
        short_revoked: count(row, "short_revoked")?,
        long_lost_scope: count(row, "long_lost_scope")?,
        long_revoked: count(row, "long_revoked")?,
        active_at_start_short: small(active).saturating_add(count(row, "short_all")?),
        active_at_start_long: small(active).saturating_add(count(row, "long_all")?),
    })
}

fn count(row: &Row, column: &'static str) -> Result<u32, StoreError> {
    row.get(column).map(small)
}

fn small(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

/// As stored.
pub(crate) const fn class_word(class: CauseClass) -> &'static str {
    match class {
        CauseClass::Revoked => "revoked",
        CauseClass::LostScope => "lost_scope",
    }
}

pub(crate) fn class_from(word: &str) -> Option<CauseClass> {
    [CauseClass::Revoked, CauseClass::LostScope].into_iter().find(|class| class_word(*class) == word)
}
