//! Marks on a record: root (G-24), and that other data refers to it (M8).

use lockstep_core::RecordId;
use lockstep_core::by_hand;
use lockstep_core::record::Record;
use serde_json::json;

use super::{Admin, RecordAtHand};
use crate::db::{Store, Tx};
use crate::error::StoreError;
use crate::sql::sql;

const ROOT_OF: &str = "SELECT id FROM record WHERE realm = $1 AND root";
const SET_ROOT: &str = "UPDATE record SET root = $2, updated_at = $3 WHERE id = $1";
const SET_IN_USE: &str = "UPDATE record SET in_use = $2, updated_at = $3 WHERE id = $1";

/// What came of asking for another root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootMade {
    /// It was root already.
    Already,
    /// It is the first of its realm.
    First,
    /// It is root now, and this one is an ordinary record.
    InPlaceOf(RecordId),
}

impl Store {
    /// The root user of a realm.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn root_of(&self, realm: &str) -> Result<Option<RecordId>, StoreError> {
        let row = self.one("root_of", sql(ROOT_OF).bind(realm).everywhere()).await?;
        row.map(|row| row.get("id").map(RecordId)).transpose()
    }

    /// Makes this record the root user of its realm: the sync leaves it alone from now on. There is one a realm: `replace`
    /// makes the one before an ordinary record, which is read anew.
    ///
    /// # Errors
    /// `Refused` when the record is not active, or when another one is root and `replace` is not set.
    pub async fn make_root(&self, id: RecordId, replace: bool, admin: &Admin) -> Result<RootMade, StoreError> {
        let before = self.root_of(&self.record_at_hand(id).await?.record.realm).await?;
        match before {
            Some(root) if root == id => return Ok(RootMade::Already),
            Some(root) if !replace => {
                return Err(StoreError::refused(format!(
                    "record {root} is the root user of this realm; --yes makes it an ordinary record and this one root"
                )));
            }
            _ => {}
        }
        let (mut tx, at_hand, _) = self.take_in_hand(id, "record.root").await?;
        by_hand::may_be_root(&at_hand.record)?;
        if let Some(before) = before {
            tx.unmake_root(&self.record_at_hand(before).await?, admin).await?;
        }
        tx.set_root(&at_hand, true, admin).await?;
        // Nothing that a hold keeps back is ever done to root.
        if let (Some(connection), Some(user)) = (&at_hand.connection, at_hand.record.entra_id) {
            tx.leave_hold(connection, id, user, "back").await?;
        }
        tx.commit().await?;
        Ok(before.map_or(RootMade::First, RootMade::InPlaceOf))
    }

    /// Marks that other data refers to this record, or that none does any more. `false`: it was so already.
    ///
    /// # Errors
    /// `NotFound` when there is no such record.
    pub async fn mark_in_use(&self, id: RecordId, in_use: bool, admin: &Admin) -> Result<bool, StoreError> {
        let (mut tx, at_hand, _) = self.take_in_hand(id, "record.mark_in_use").await?;
        let before = at_hand.record.in_use;
        if before == in_use {
            return Ok(false);
        }
        let now = tx.now();
        tx.run(sql(SET_IN_USE).bind(id).bind(in_use).bind(now)).await?;
        let change = json!({ "field": "in_use", "before": before, "after": in_use });
        tx.trace_by_hand(&at_hand, vec![change], "record.mark_in_use", admin).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Tx {
    /// An ordinary record again: what the directory says of its person counts from the next read on.
    async fn unmake_root(&mut self, at_hand: &RecordAtHand, admin: &Admin) -> Result<(), StoreError> {
        self.set_root(at_hand, false, admin).await?;
        if let Record { connection: Some(connection), entra_id: Some(user), .. } = at_hand.record {
            self.request_on_demand(connection, user).await?;
        }
        Ok(())
    }

    async fn set_root(&mut self, at_hand: &RecordAtHand, root: bool, admin: &Admin) -> Result<(), StoreError> {
        let now = self.now();
        self.run(sql(SET_ROOT).bind(at_hand.record.id).bind(root).bind(now)).await?;
        let change = json!({ "field": "root", "before": !root, "after": root });
        self.trace_by_hand(at_hand, vec![change], "record.root", admin).await?;
        Ok(())
    }
}
