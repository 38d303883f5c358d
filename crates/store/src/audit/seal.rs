//! Sealing: chaining audit entries after they were written, so that commits do not queue behind one hash (G-13, G-28).
//!
//! Entries are sealed in the order in which the sealer finds them; ids follow the clocks of the processes that wrote
//! them, so that an entry may come after younger ones. One that is much older than the head is not sealed any more:
//! nobody may write into the past.

use std::time::Duration;

use lockstep_core::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::audit::chain::{AuditHash, ENTRY, Entry};
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::lease::Lease;
use crate::sql::{Bind, ROWS_PER_STATEMENT, Row, sql};

/// Entries in one transaction: nobody waits long behind a seal.
const ENTRIES: usize = 1_000;
/// Clocks may differ by 10 min (FA-26), and a transaction lasts seconds.
const LATE_BY: Duration = Duration::from_secs(15 * 60);
/// As far as entries of clocks that agree come late.
const LATELY: Duration = Duration::from_secs(10);

const HEAD: &str = "SELECT position, entry_id, hash, sealed_at FROM audit_seal ORDER BY position DESC LIMIT 1";
const UNSEALED: &str =
    " FROM audit a WHERE a.id > ? AND NOT EXISTS (SELECT 1 FROM audit_seal s WHERE s.entry_id = a.id)
    ORDER BY a.id LIMIT ?";
const SEAL: &str = "INSERT INTO audit_seal (position, entry_id, hash, sealed_at) VALUES ";

/// The end of the chain. Noted outside, it also shows that the chain was cut off or made anew (`audit verify --head`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AuditHead {
    /// How many entries are chained.
    pub entries: i64,
    /// Over all of them.
    pub hash: AuditHash,
    /// When the last one was sealed.
    pub sealed_at: Timestamp,
    #[serde(skip)]
    last: Uuid,
}

/// How far back to look for entries that are not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealLook {
    /// As far as clocks that agree need it.
    Near,
    /// As far as clocks may differ; reads every entry of the last 15 min.
    Far,
    /// After this entry: where the look before came to its limit.
    After(Uuid),
}

/// What one round of sealing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Entries chained.
    pub entries: u64,
    /// How long ago the oldest of them was written.
    pub oldest: Duration,
    /// There may be more after this entry: look there.
    pub more_after: Option<Uuid>,
}

impl AuditHead {
    fn from_row(row: &Row) -> Result<Self, StoreError> {
        let (entries, last) = (row.get("position")?, row.get("entry_id")?);
        Ok(Self { entries, last, hash: AuditHash::from_row(row)?, sealed_at: row.at("sealed_at")? })
    }

    /// Entries with lower ids belong before this head. A clock that jumped, ours or a writer's, moves this by no more
    /// than its way back.
    pub(crate) fn begins_after(&self, now: Timestamp, late_by: Duration) -> Uuid {
        // The first 48 bits of an id are milliseconds.
        let written = i64::try_from(self.last.as_u128() >> 80).unwrap_or(i64::MAX).saturating_mul(1_000);
        let newest = Timestamp::from_micros(written).min(self.sealed_at).min(now) - late_by;
        let millis = u128::try_from(newest.micros() / 1_000).unwrap_or(0);
        Uuid::from_u128(millis << 80)
    }

    /// Entries with lower ids are not sealed any more.
    pub(crate) fn closed_before(&self, now: Timestamp) -> Uuid {
        self.begins_after(now, LATE_BY)
    }
}

impl Store {
    /// The end of the chain; `None`: nothing is sealed yet.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_head(&self) -> Result<Option<AuditHead>, StoreError> {
        self.one("audit_head", sql(HEAD)).await?.as_ref().map(AuditHead::from_row).transpose()
    }

    /// Chains entries that are not chained yet, up to a thousand.
    ///
    /// # Errors
    /// `Conflict` when the lease is not ours any more: nothing was sealed.
    pub async fn seal_audit(&self, lease: Lease, look: SealLook) -> Result<Sealed, StoreError> {
        let entries = self.unsealed(look).await?;
        let Some((oldest, last)) = entries.iter().map(Entry::at).min().zip(entries.last().map(|entry| entry.id)) else {
            return Ok(Sealed::default());
        };
        let mut tx = self.begin("seal_audit").await?;
        tx.check_fence(lease).await?;
        tx.seal(&entries).await?;
        tx.commit().await?;
        let more_after = (entries.len() == ENTRIES).then_some(last);
        Ok(Sealed { entries: entries.len() as u64, oldest: self.now().since(oldest), more_after })
    }

    async fn unsealed(&self, look: SealLook) -> Result<Vec<Entry>, StoreError> {
        let late = |late_by| async move {
            let head = self.audit_head().await?;
            Ok::<_, StoreError>(head.map_or(Uuid::nil(), |head| head.begins_after(self.now(), late_by)))
        };
        let after = match look {
            SealLook::Near => late(LATELY).await?,
            SealLook::Far => late(LATE_BY).await?,
            SealLook::After(entry) => entry,
        };
        let limit = i64::try_from(ENTRIES).unwrap_or(i64::MAX);
        let query = sql("SELECT ").push(ENTRY).push(UNSEALED).bind(after).bind(limit);
        self.all("seal_audit", query).await?.iter().map(Entry::from_row).collect()
    }
}

impl Tx {
    async fn seal(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let head = self.one(sql(HEAD)).await?.as_ref().map(AuditHead::from_row).transpose()?;
        let (mut position, mut hash) = head.map_or((0, AuditHash::BEGINNING), |head| (head.entries, head.hash));
        let now = self.now();
        for chunk in entries.chunks(ROWS_PER_STATEMENT) {
            let rows = chunk.iter().map(|entry| {
                position += 1;
                hash = entry.chained(position, hash);
                vec![Bind::from(position), entry.id.into(), hash.0.to_vec().into(), now.into()]
            });
            let insert = sql(SEAL).rows(rows);
            self.run(insert).await?;
        }
        Ok(())
    }
}
