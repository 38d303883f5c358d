//! What only one process needs to do at a time: a lease with a fencing number (FA-20).

use std::time::Duration;

use uuid::Uuid;

use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::sql::sql;

const LOOK: &str = "SELECT holder, held_until FROM lease WHERE name = $1";
const TAKE: &str = "INSERT INTO lease (name, holder, fence, held_until) VALUES ($1, $2, 1, $3)
    ON CONFLICT (name) DO UPDATE SET
        fence = CASE WHEN lease.holder = excluded.holder THEN lease.fence ELSE lease.fence + 1 END,
        holder = excluded.holder, held_until = excluded.held_until
    WHERE lease.holder IS NULL OR lease.holder = excluded.holder OR lease.held_until <= $4
    RETURNING fence";
const GIVE_BACK: &str = "UPDATE lease SET holder = NULL WHERE name = $1 AND holder = $2 AND fence = $3";
// Changes nothing, but holds the row: whoever takes the lease over waits for the end of this transaction.
const FENCE: &str = "UPDATE lease SET fence = fence WHERE name = $1 AND holder = $2 AND fence = $3";

/// A lease as it was when it was taken. What it protects checks its fence in the transaction that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    name: &'static str,
    holder: Uuid,
    /// Raised by every change of holder.
    pub fence: i64,
}

impl Store {
    /// Takes, or keeps, the lease of this name for so long; `None`: somebody else has it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn take_lease(
        &self,
        name: &'static str,
        holder: Uuid,
        length: Duration,
    ) -> Result<Option<Lease>, StoreError> {
        if self.is_leased_to_another(name, holder).await? {
            return Ok(None);
        }
        let mut tx = self.begin("take_lease").await?;
        let now = tx.now();
        let taken = tx.one(sql(TAKE).bind(name).bind(holder).bind(now + length).bind(now)).await?;
        tx.commit().await?;
        taken.map(|row| Ok(Lease { name, holder, fence: row.get("fence")? })).transpose()
    }

    /// Gives it back, so that another process goes on at once (FA-33). One that was lost meanwhile stays with its holder.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn give_back_lease(&self, lease: Lease) -> Result<(), StoreError> {
        self.write("give_back_lease", sql(GIVE_BACK).bind(lease.name).bind(lease.holder).bind(lease.fence)).await?;
        Ok(())
    }

    /// A look that takes no lock: all but one look in vain.
    async fn is_leased_to_another(&self, name: &'static str, holder: Uuid) -> Result<bool, StoreError> {
        let Some(row) = self.one("take_lease", sql(LOOK).bind(name)).await? else {
            return Ok(false);
        };
        let held_by: Option<Uuid> = row.get("holder")?;
        Ok(held_by.is_some_and(|id| id != holder) && row.at("held_until")? > self.now())
    }
}

impl Tx {
    /// Goes on only while the lease is ours: one that was taken over in a pause of this process writes nothing.
    pub(crate) async fn check_fence(&mut self, lease: Lease) -> Result<(), StoreError> {
        let ours = self.run(sql(FENCE).bind(lease.name).bind(lease.holder).bind(lease.fence)).await?;
        if ours == 1 {
            return Ok(());
        }
        Err(StoreError::Conflict { operation: self.name(), why: "the lease was taken over" })
    }
}
