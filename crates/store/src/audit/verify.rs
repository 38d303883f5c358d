//! Verifying the audit chain: every entry from the first, a page at a time, so that memory stays flat (G-28).

use serde::Serialize;
use uuid::Uuid;

use crate::audit::chain::{AuditHash, ENTRY, Entry};
use crate::audit::seal::AuditHead;
use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Row, sql};

const PAGE: i64 = 2_000;

const CHAINED: &str = ", s.position, s.entry_id, s.hash FROM audit_seal s LEFT JOIN audit a ON a.id = s.entry_id
    WHERE s.position > ? ORDER BY s.position LIMIT ?";
const ALL: &str = "SELECT a.id, s.position FROM audit a LEFT JOIN audit_seal s ON s.entry_id = a.id
    WHERE a.id > $1 ORDER BY a.id LIMIT $2";

/// What is wrong at the first place that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditFault {
    /// The entry, its seal or their order is not what was sealed.
    Altered,
    /// A sealed entry is not there any more.
    EntryMissing,
    /// A seal is not there any more.
    SealMissing,
    /// An entry that is older than what was sealed, but was not there then.
    Inserted,
    /// The chain does not contain the head that was noted: it was cut off or made anew.
    HeadUnknown,
}

/// The first place that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AuditBreak {
    /// What is wrong.
    pub fault: AuditFault,
    /// Its place in the chain, from 1.
    pub position: Option<i64>,
    /// The entry.
    pub entry: Option<Uuid>,
}

/// What a verification found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AuditCheck {
    /// Entries whose chain was followed and found whole.
    pub verified: i64,
    /// The end of the chain.
    pub head: Option<AuditHead>,
    /// Entries after it that wait for the sealer. Not counted when the chain is broken.
    pub unsealed: u64,
    /// The first place that is wrong; null: the chain is whole.
    pub broken: Option<AuditBreak>,
}

/// How far the chain was followed.
struct Walk {
    position: i64,
    hash: AuditHash,
    noted: Option<AuditHash>,
}

impl Walk {
    /// One sealed entry; what is wrong with it, if anything.
    fn step(&mut self, row: &Row) -> Result<Option<AuditBreak>, StoreError> {
        let position: i64 = row.get("position")?;
        let entry: Uuid = row.get("entry_id")?;
        let broken = |fault| Ok(Some(AuditBreak { fault, position: Some(self.position + 1), entry: Some(entry) }));
        if position != self.position + 1 {
            return Ok(Some(AuditBreak {
                fault: AuditFault::SealMissing,
                position: Some(self.position + 1),
                entry: None,
            }));
        }
        if row.get::<Option<Uuid>>("id")?.is_none() {
            return broken(AuditFault::EntryMissing);
        }
        let hash = Entry::from_row(row)?.chained(position, self.hash);
        if AuditHash::from_row(row).ok() != Some(hash) {
            return broken(AuditFault::Altered);
        }
        (self.position, self.hash) = (position, hash);
        self.noted = self.noted.filter(|noted| *noted != hash);
        Ok(None)
    }
}

impl Store {
    /// Follows the chain from the first entry to its end, then looks for entries that stand outside of it. With the
    /// hash of a head noted earlier also: whether the chain still contains it.
    ///
    /// # Errors
    /// When the database cannot be read. A chain that is not whole is no error, but an answer.
    pub async fn verify_audit(&self, noted: Option<AuditHash>) -> Result<AuditCheck, StoreError> {
        let head = self.audit_head().await?;
        let mut walk = Walk { position: 0, hash: AuditHash::BEGINNING, noted };
        let mut broken = self.follow(&mut walk).await?;
        let mut unsealed = 0;
        if broken.is_none() && walk.noted.is_some() {
            broken = Some(AuditBreak { fault: AuditFault::HeadUnknown, position: None, entry: None });
        }
        if broken.is_none() {
            (unsealed, broken) = self.look_outside(head).await?;
        }
        Ok(AuditCheck { verified: walk.position, head: self.audit_head().await?, unsealed, broken })
    }

    async fn follow(&self, walk: &mut Walk) -> Result<Option<AuditBreak>, StoreError> {
        loop {
            let page = sql("SELECT ").push(ENTRY).push(CHAINED).bind(walk.position).bind(PAGE);
            let rows = self.all("verify_audit", page).await?;
            for row in &rows {
                if let Some(broken) = walk.step(row)? {
                    return Ok(Some(broken));
                }
            }
            if rows.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Entries without a seal: those that wait for one, and the first that is too old to.
    async fn look_outside(&self, head: Option<AuditHead>) -> Result<(u64, Option<AuditBreak>), StoreError> {
        let closed = head.map_or(Uuid::nil(), |head| head.closed_before(self.now()));
        let (mut after, mut waiting) = (Uuid::nil(), 0);
        loop {
            let rows = self.all("verify_audit", sql(ALL).bind(after).bind(PAGE)).await?;
            for row in &rows {
                after = row.get("id")?;
                if row.get::<Option<i64>>("position")?.is_some() {
                    continue;
                }
                if after < closed {
                    let fault = AuditFault::Inserted;
                    return Ok((waiting, Some(AuditBreak { fault, position: None, entry: Some(after) })));
                }
                waiting += 1;
            }
            if rows.is_empty() {
                return Ok((waiting, None));
            }
        }
    }
}
