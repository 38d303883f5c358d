//! Making objects due: one upsert for many, whoever asks.

use std::collections::BTreeMap;

use lockstep_core::{ConnectionId, ObjectId, Timestamp};

use crate::db::Tx;
use crate::due::{DueClaim, DueKind, DueReason};
use crate::error::StoreError;
use crate::sql::{Bind, ROWS_PER_STATEMENT, sql};

const INSERT: &str = "INSERT INTO due (connection_id, object_id, object_kind, due_at, settle_at, hinted_at, claim,
    claim_group, urgent, read_profile, read_membership, reason, version) VALUES ";

// Of two claims about one group the later stands; of those about several the one that may take access.
// The version is raised whatever is asked for: a read that began before does not answer it.
const MERGE_HINT: &str = " ON CONFLICT (connection_id, object_id) DO UPDATE SET
    object_kind = CASE WHEN due.object_kind = 'unknown' THEN excluded.object_kind ELSE due.object_kind END,
    due_at = CASE
        WHEN due.last_read_at IS NOT NULL AND due.last_read_at + ? > excluded.due_at AND due.last_read_at + ? < due.due_at
            THEN due.last_read_at + ?
        WHEN due.last_read_at IS NOT NULL AND due.last_read_at + ? > excluded.due_at THEN due.due_at
        WHEN excluded.due_at < due.due_at THEN excluded.due_at
        ELSE due.due_at END,
    hinted_at = excluded.hinted_at,
    claim = CASE
        WHEN due.claim = 'deleted' OR excluded.claim = 'deleted' THEN 'deleted'
        WHEN due.claim_group = excluded.claim_group THEN excluded.claim
        WHEN due.claim = 'removed' OR excluded.claim = 'removed' THEN 'removed'
        WHEN due.claim = 'added' OR excluded.claim = 'added' THEN 'added'
        ELSE coalesce(excluded.claim, due.claim) END,
    claim_group = CASE
        WHEN excluded.claim_group IS NULL THEN due.claim_group
        WHEN due.claim = 'removed' AND excluded.claim = 'added'
            AND (due.claim_group IS NULL OR due.claim_group <> excluded.claim_group) THEN due.claim_group
        ELSE excluded.claim_group END,
    urgent = CASE WHEN due.urgent THEN due.urgent ELSE excluded.urgent END,
    read_profile = CASE WHEN due.read_profile THEN due.read_profile ELSE excluded.read_profile END,
    read_membership = CASE WHEN due.read_membership THEN due.read_membership ELSE excluded.read_membership END,
    reason = excluded.reason,
    version = due.version + 1";

// The earlier of the two looks is due; the later one, if it lies ahead, is owed as well.
const MERGE_LOOK: &str = " ON CONFLICT (connection_id, object_id) DO UPDATE SET
    object_kind = CASE WHEN due.object_kind = 'unknown' THEN excluded.object_kind ELSE due.object_kind END,
    due_at = CASE WHEN excluded.due_at < due.due_at THEN excluded.due_at ELSE due.due_at END,
    settle_at = CASE
        WHEN excluded.due_at < due.due_at AND due.due_at > ? AND (due.settle_at IS NULL OR due.due_at < due.settle_at)
            THEN due.due_at
        WHEN excluded.due_at > due.due_at AND excluded.due_at > ?
            AND (due.settle_at IS NULL OR excluded.due_at < due.settle_at)
            THEN excluded.due_at
        ELSE due.settle_at END,
    hinted_at = coalesce(excluded.hinted_at, due.hinted_at),
    urgent = CASE WHEN due.urgent THEN due.urgent ELSE excluded.urgent END,
    read_profile = CASE WHEN due.read_profile THEN due.read_profile ELSE excluded.read_profile END,
    read_membership = CASE WHEN due.read_membership THEN due.read_membership ELSE excluded.read_membership END,
    reason = CASE WHEN excluded.due_at < due.due_at THEN excluded.reason ELSE due.reason END,
    version = due.version + 1";

/// An object to look at, for any reason but a hint.
#[derive(Clone, Debug, PartialEq)]
pub struct MarkDue {
    /// Entra's id.
    pub object: ObjectId,
    /// What it is.
    pub kind: DueKind,
    /// When.
    pub at: Timestamp,
    /// May take access away, or gives an admin an answer.
    pub urgent: bool,
    /// The profile is wanted.
    pub read_profile: bool,
    /// The membership is wanted.
    pub read_membership: bool,
    /// Why.
    pub reason: DueReason,
}

/// An object named by a hint that is in scope.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HintedObject {
    pub(crate) connection: ConnectionId,
    pub(crate) object: ObjectId,
    pub(crate) kind: DueKind,
    pub(crate) claim: DueClaim,
    /// See [`crate::Due`].
    pub(crate) claim_group: Option<ObjectId>,
    pub(crate) urgent: bool,
    pub(crate) read_profile: bool,
    pub(crate) read_membership: bool,
}

impl HintedObject {
    /// Two hints about one object are one piece of work.
    pub(crate) fn join(&mut self, other: &Self) {
        if self.kind == DueKind::Unknown {
            self.kind = other.kind;
        }
        (self.claim, self.claim_group) = self.joined_claim(other);
        self.urgent |= other.urgent;
        self.read_profile |= other.read_profile;
        self.read_membership |= other.read_membership;
    }

    /// As `MERGE_HINT` has it.
    fn joined_claim(&self, other: &Self) -> (DueClaim, Option<ObjectId>) {
        let either_group = other.claim_group.or(self.claim_group);
        let deleted = self.claim.max(other.claim) == DueClaim::Deleted;
        if deleted {
            (DueClaim::Deleted, either_group)
        } else if other.claim_group.is_some() && other.claim_group == self.claim_group || other.claim >= self.claim {
            (other.claim, either_group)
        } else {
            (self.claim, self.claim_group.or(other.claim_group))
        }
    }
}

impl Tx {
    /// Makes these objects due at their time; a row that is there keeps the earlier look and owes the later one.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn mark_due(&mut self, connection: ConnectionId, objects: &[MarkDue]) -> Result<(), StoreError> {
        let now = self.now();
        for chunk in once_each(objects).chunks(ROWS_PER_STATEMENT) {
            let rows = chunk.iter().map(|mark| {
                let facets = (mark.read_profile, mark.read_membership);
                // Entering scope is itself a hint: it is settled like one.
                let hinted_at = (mark.reason == DueReason::EnteredScope).then_some(now);
                row(
                    connection,
                    mark.object,
                    mark.kind,
                    mark.at,
                    now.micros(),
                    hinted_at,
                    None,
                    mark.urgent,
                    facets,
                    mark.reason,
                )
            });
            let statement = sql(INSERT).rows(rows).push(MERGE_LOOK).bind(now).bind(now);
            self.run(statement).await?;
        }
        Ok(())
    }

    /// Makes hinted objects due now, but no sooner than `coalesce` after their last read (BI-24). Of a single object the
    /// version of its row is given back.
    pub(crate) async fn mark_hinted(&mut self, objects: &[HintedObject]) -> Result<Option<i64>, StoreError> {
        let now = self.now();
        let coalesce = i64::try_from(self.timing().coalesce.as_micros()).unwrap_or(i64::MAX);
        for chunk in objects.chunks(ROWS_PER_STATEMENT) {
            let rows = chunk.iter().map(|hinted| {
                let facets = (hinted.read_profile, hinted.read_membership);
                let HintedObject { connection, object, kind, claim, claim_group, urgent, .. } = *hinted;
                row(
                    connection,
                    object,
                    kind,
                    now,
                    now.micros(),
                    Some(now),
                    Some((claim, claim_group)),
                    urgent,
                    facets,
                    DueReason::Hint,
                )
            });
            let statement = sql(INSERT).rows(rows).push(MERGE_HINT);
            let statement = statement.bind(coalesce).bind(coalesce).bind(coalesce).bind(coalesce);
            if objects.len() == 1 {
                let row = self.only(statement.push(" RETURNING version")).await?;
                return Ok(Some(row.get("version")?));
            }
            self.run(statement).await?;
        }
        Ok(None)
    }
}

/// An upsert may name a row only once: of two marks for one object the earlier stands, with what both want read.
fn once_each(objects: &[MarkDue]) -> Vec<MarkDue> {
    let mut marks: BTreeMap<ObjectId, MarkDue> = BTreeMap::new();
    for mark in objects {
        let known = marks.entry(mark.object).or_insert_with(|| mark.clone());
        if mark.at < known.at {
            (known.at, known.reason) = (mark.at, mark.reason);
        }
        known.urgent |= mark.urgent;
        known.read_profile |= mark.read_profile;
        known.read_membership |= mark.read_membership;
    }
    marks.into_values().collect()
}

#[allow(clippy::too_many_arguments)] // one per column
fn row(
    connection: ConnectionId,
    object: ObjectId,
    kind: DueKind,
    due_at: Timestamp,
    first_version: i64,
    hinted_at: Option<Timestamp>,
    claim: Option<(DueClaim, Option<ObjectId>)>,
    urgent: bool,
    (read_profile, read_membership): (bool, bool),
    reason: DueReason,
) -> Vec<Bind> {
    vec![
        connection.into(),
        object.into(),
        kind.as_str().into(),
        due_at.into(),
        Bind::Int(None),
        hinted_at.into(),
        claim.map(|(claim, _)| claim.as_str()).into(),
        claim.and_then(|(_, group)| group).into(),
        urgent.into(),
        read_profile.into(),
        read_membership.into(),
        reason.as_str().into(),
        // Above every version that a row of this object had before it went: a worker that claimed that one cannot settle this.
        first_version.into(),
    ]
}
