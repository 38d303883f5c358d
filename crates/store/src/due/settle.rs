//! What becomes of a due row after the work: gone, due again later, or still due because a hint came meanwhile.

use std::collections::{BTreeMap, HashMap};

use lockstep_core::{ConnectionId, ObjectId, Timestamp};

use crate::db::{Store, Tx};
use crate::due::{COLUMNS, Due, DueClaim, DueKind, DueReason, due_from};
use crate::error::StoreError;
use crate::event::EventOutcome;
use crate::sql::{Bind, IDS_PER_STATEMENT, ROWS_PER_STATEMENT, lock, sql};

const RETRY: &str = "UPDATE due SET lease_owner = NULL, lease_until = NULL,
    due_at = CASE WHEN version = $3 THEN CAST($4 AS BIGINT) ELSE $5 END
    WHERE connection_id = $1 AND object_id = $2 AND lease_owner IS NOT NULL";
const GIVE_UP: &str = "DELETE FROM due WHERE connection_id = $1 AND object_id = $2 AND version = $3
    AND lease_owner IS NOT NULL";
const FREE: &str = "UPDATE due SET lease_owner = NULL, lease_until = NULL, attempts = 0
    WHERE connection_id = $1 AND object_id = $2";

/// The next look at an object that was just looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextLook {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: DueReason,
    /// The profile is wanted.
    pub read_profile: bool,
    /// The membership is wanted.
    pub read_membership: bool,
    /// A still later look that is owed as well.
    pub settle_at: Option<Timestamp>,
}

/// What became of one claimed object.
#[derive(Clone, Debug)]
pub struct SettledDue<'a> {
    /// As claimed.
    pub due: &'a Due,
    /// When to look again, if at all.
    pub next: Option<NextLook>,
    /// When the read began.
    pub read_at: Timestamp,
}

impl Tx {
    /// Settles one claimed object; see [`Tx::settle_many_due`].
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn settle_due(
        &mut self,
        due: &Due,
        next: Option<NextLook>,
        read_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.settle_many_due(&[SettledDue { due, next, read_at }]).await
    }

    /// Settles claimed objects: a row goes, or is set to its next look. A row whose version was raised since the claim
    /// stays due, no sooner than `coalesce` after the read: that hint may know of something the read did not see.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn settle_many_due(&mut self, settled: &[SettledDue<'_>]) -> Result<(), StoreError> {
        let mut by_connection: BTreeMap<ConnectionId, Vec<&SettledDue<'_>>> = BTreeMap::new();
        for one in settled {
            by_connection.entry(one.due.connection).or_default().push(one);
        }
        for (connection, settled) in by_connection {
            for chunk in settled.chunks(ROWS_PER_STATEMENT) {
                self.settle_chunk(connection, chunk).await?;
            }
        }
        Ok(())
    }

    async fn settle_chunk(&mut self, connection: ConnectionId, settled: &[&SettledDue<'_>]) -> Result<(), StoreError> {
        let now = self.now();
        let coalesce = self.timing().coalesce;
        let meanwhile = self.raised(connection, settled).await?;
        let (mut gone, mut stay) = (Vec::new(), Vec::new());
        for one in settled {
            match (meanwhile.get(&one.due.object), one.next) {
                (Some(row), next) => {
                    let at = now.max(one.read_at + coalesce);
                    stay.push(row_of(&raised(row, at, next), one.read_at));
                }
                (_, None) => gone.push(one.due.object),
                (_, Some(next)) => stay.push(row_of(&looked_at(one.due, next), one.read_at)),
            }
        }
        self.delete_due(connection, &gone).await?;
        if stay.is_empty() {
            return Ok(());
        }
        self.run(sql("INSERT INTO due (").push(COLUMNS).push(") VALUES ").rows(stay).push(REPLACE)).await?;
        Ok(())
    }

    /// The rows of those about whom a hint came since the claim. All are locked; of the others the version is enough.
    async fn raised(
        &mut self,
        connection: ConnectionId,
        settled: &[&SettledDue<'_>],
    ) -> Result<HashMap<ObjectId, Due>, StoreError> {
        let claimed: HashMap<ObjectId, i64> = settled.iter().map(|one| (one.due.object, one.due.version)).collect();
        let query = sql("SELECT object_id, version FROM due WHERE connection_id = ").value(connection);
        let query = query.push(" AND object_id IN ").list(claimed.keys().copied());
        let mut raised = Vec::new();
        for row in self.all(query.push(" ORDER BY object_id").on_postgres(lock::ROWS)).await? {
            let object = ObjectId(row.get("object_id")?);
            let version: i64 = row.get("version")?;
            if claimed.get(&object).is_some_and(|claimed| version > *claimed) {
                raised.push(object);
            }
        }
        if raised.is_empty() {
            return Ok(HashMap::new());
        }
        self.due_rows(connection, raised.into_iter()).await
    }

    async fn due_rows(
        &mut self,
        connection: ConnectionId,
        ids: impl Iterator<Item = ObjectId>,
    ) -> Result<HashMap<ObjectId, Due>, StoreError> {
        let query = sql("SELECT ").push(COLUMNS).push(" FROM due WHERE connection_id = ").value(connection);
        let query = query.push(" AND object_id IN ").list(ids).push(" ORDER BY object_id").on_postgres(lock::ROWS);
        let rows = self.all(query).await?;
        rows.iter().map(|row| due_from(row).map(|due| (due.object, due))).collect()
    }

    pub(crate) async fn delete_due(&mut self, connection: ConnectionId, ids: &[ObjectId]) -> Result<(), StoreError> {
        for chunk in ids.chunks(IDS_PER_STATEMENT) {
            let delete = sql("DELETE FROM due WHERE connection_id = ").value(connection);
            self.run(delete.push(" AND object_id IN ").list(chunk.iter().copied())).await?;
        }
        Ok(())
    }
}

const REPLACE: &str = " ON CONFLICT (connection_id, object_id) DO UPDATE SET object_kind = excluded.object_kind,
    due_at = excluded.due_at, settle_at = excluded.settle_at, hinted_at = excluded.hinted_at, claim = excluded.claim,
    claim_group = excluded.claim_group,
    urgent = excluded.urgent, read_profile = excluded.read_profile, read_membership = excluded.read_membership,
    reason = excluded.reason, attempts = 0, last_read_at = excluded.last_read_at, lease_owner = NULL, lease_until = NULL
    WHERE due.version <= excluded.version";

/// The hint that came meanwhile is looked at next, together with whatever the last look still owes.
fn raised(row: &Due, at: Timestamp, next: Option<NextLook>) -> Due {
    let owed = next.and_then(|next| next.settle_at.or(Some(next.at)));
    Due {
        due_at: at,
        settle_at: row.settle_at.or(owed),
        read_profile: row.read_profile || next.is_some_and(|next| next.read_profile),
        read_membership: row.read_membership || next.is_some_and(|next| next.read_membership),
        ..row.clone()
    }
}

fn looked_at(due: &Due, next: NextLook) -> Due {
    Due {
        due_at: next.at,
        settle_at: next.settle_at,
        read_profile: next.read_profile,
        read_membership: next.read_membership,
        reason: next.reason,
        ..due.clone()
    }
}

fn row_of(due: &Due, read_at: Timestamp) -> Vec<Bind> {
    vec![
        due.connection.into(),
        due.object.into(),
        due.kind.as_str().into(),
        due.due_at.into(),
        due.settle_at.into(),
        due.hinted_at.into(),
        due.claim.map(DueClaim::as_str).into(),
        due.claim_group.into(),
        is_urgent(due).into(),
        due.read_profile.into(),
        due.read_membership.into(),
        due.reason.as_str().into(),
        due.version.into(),
        0_i64.into(),
        read_at.into(),
        Bind::Id(None),
        Bind::Int(None),
    ]
}

/// A later look is urgent when it may take access away, or when somebody waits for it.
fn is_urgent(due: &Due) -> bool {
    match due.reason {
        DueReason::Hint => due.claim != Some(DueClaim::Added),
        DueReason::ScopeAgree | DueReason::MissingAgree | DueReason::ReenableAgree | DueReason::BothFacets => true,
        DueReason::NotListed | DueReason::LostRead | DueReason::OnDemand => due.kind != DueKind::Group,
        DueReason::Settle => matches!(due.claim, Some(DueClaim::Removed | DueClaim::Deleted)),
        DueReason::Recheck
        | DueReason::Incomplete
        | DueReason::FirstSync
        | DueReason::Relist
        | DueReason::EnteredScope
        | DueReason::Replay
        | DueReason::Rules => false,
    }
}

impl Store {
    /// Gives up on an object after its last attempt: its events are *failed* and shown. Nothing is owed for it any
    /// more, unless a hint came meanwhile.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn fail_object(&self, due: &Due, reason: &str) -> Result<(), StoreError> {
        let mut tx = self.begin("fail_object").await?;
        let given_up = sql(GIVE_UP).bind(due.connection).bind(due.object).bind(due.version);
        if tx.run(given_up).await? > 0 {
            tx.note_open_events(due, &EventOutcome::failed(reason)).await?;
        } else {
            tx.run(sql(FREE).bind(due.connection).bind(due.object)).await?;
        }
        tx.commit().await
    }

    /// Tries an object again later: its events wait. One that was settled meanwhile stays as it is.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn retry_object(&self, due: &Due, at: Timestamp, reason: &str) -> Result<(), StoreError> {
        let mut tx = self.begin("retry_object").await?;
        let soon = tx.now() + tx.timing().coalesce;
        let retry = sql(RETRY).bind(due.connection).bind(due.object).bind(due.version).bind(at).bind(at.min(soon));
        if tx.run(retry).await? == 0 {
            return Ok(());
        }
        tx.note_open_events(due, &EventOutcome::waiting(reason)).await?;
        tx.commit().await
    }
}
