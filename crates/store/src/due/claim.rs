//! Taking work, and giving it back. A lease runs out by itself when its worker is lost (FA-18).

use std::time::Duration;

use lockstep_core::{ConnectionId, ObjectId, Timestamp};
use uuid::Uuid;

use crate::db::{Store, Tx};
use crate::due::{COLUMNS, Due, due_from};
use crate::error::StoreError;
use crate::sql::{IDS_PER_STATEMENT, Row, Sql, lock, sql};

/// How long a worker that says nothing keeps what it took.
pub(crate) const LEASE: Duration = Duration::from_secs(15);

const LEASED: &str = "UPDATE due SET attempts = attempts + 1, lease_owner = ";
const EXTEND: &str = "UPDATE due SET lease_until = ";
const OF_OWNER: &str =
    " WHERE (connection_id, object_id) IN (SELECT connection_id, object_id FROM due WHERE lease_owner = ";
const RELEASE: &str = "UPDATE due SET lease_owner = NULL, lease_until = NULL,
    attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE lease_owner = ";
const PUT_OFF: &str = "UPDATE due SET lease_owner = NULL, lease_until = NULL,
    attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END";
const FREE_EXPIRED: &str = "UPDATE due SET lease_owner = NULL, lease_until = NULL
    WHERE lease_owner IS NOT NULL AND lease_until <= $1 AND lease_owner <> $2";
// Word for word as the index `due_rank` has it.
const RANK: &str = "(CASE WHEN claim IN ('deleted', 'removed') OR reason = 'missing_agree' THEN 2
    WHEN urgent THEN 1 ELSE 0 END)";
// One look into the index per connection, however many rows wait.
const NEXT_DUE: &str = "SELECT min(CASE WHEN next_try_at > at THEN next_try_at ELSE at END) AS at FROM (
    SELECT c.next_try_at AS next_try_at, (SELECT d.due_at FROM due d WHERE d.connection_id = c.id
        AND d.lease_owner IS NULL ORDER BY d.due_at LIMIT 1) AS at
        FROM connection c WHERE c.state <> 'paused'
    UNION ALL
    SELECT c.next_try_at AS next_try_at, d.due_at AS at FROM due d JOIN connection c ON c.id = d.connection_id
        WHERE d.lease_owner IS NOT NULL AND d.lease_until <= $1 AND c.state <> 'paused'
    UNION ALL
    SELECT c.next_try_at AS next_try_at, t.due_at AS at FROM task t JOIN connection c ON c.id = t.connection_id
        WHERE t.state = 'due' AND (t.lease_until IS NULL OR t.lease_until <= $1) AND c.state <> 'paused'
    ) AS soonest";

const IN_HAND: &str = "SELECT (SELECT count(*) FROM due WHERE lease_owner IS NOT NULL AND lease_until > $1)
    + (SELECT count(*) FROM task WHERE state = 'due' AND lease_until > $1) AS leased";

/// Connections looked into by one claim: with more, those whose work is due longest come first.
const CONNECTIONS_AT_ONCE: i64 = 64;

/// Beside the ranks of what is free: a lease that ran out.
const EXPIRED: i64 = -1;

/// In what order work is taken; as numbered in `due_rank`.
#[derive(Clone, Copy)]
enum Rank {
    Background = 0,
    Urgent = 1,
    /// Whoever a hint says is gone, and whoever answered 404 once (FA-11).
    Suspect = 2,
}

/// What a worker can take on beside what it has in hand. What gathers is taken once it fills all places, so that a burst costs
/// few requests (T5); suspects never wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Room<'a> {
    /// For objects of any rank.
    pub places: usize,
    /// For so many urgent ones there is room even where there is none for others: a backlog keeps nobody waiting (T14).
    pub urgent_beside: usize,
    /// Urgent work of these connections is in hand: more of it gathers.
    pub urgent_at_work: &'a [ConnectionId],
    /// Any work of these connections is in hand: background work of theirs gathers.
    pub at_work: &'a [ConnectionId],
}

/// Fewer rows than `until` of these connections are left for later.
#[derive(Clone, Copy, Default)]
struct Gather<'a> {
    behind: &'a [ConnectionId],
    until: usize,
}

impl Store {
    /// Takes at most `limit` due objects for this worker. Urgent ones first, of these the suspects (FA-11), yet a tenth
    /// of the places goes to the rest. The attempt is counted here, before the work: work that kills its worker is counted too (FA-24).
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn claim_due(&self, worker: Uuid, limit: usize) -> Result<Vec<Due>, StoreError> {
        self.claim_due_beside(worker, &Room { places: limit, ..Room::default() }).await
    }

    /// The same for a worker that has work in hand.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn claim_due_beside(&self, worker: Uuid, room: &Room<'_>) -> Result<Vec<Due>, StoreError> {
        let Room { places, urgent_beside, urgent_at_work, at_work } = *room;
        let most = places.max(urgent_beside);
        if most == 0 {
            return Ok(Vec::new());
        }
        let mut tx = self.begin_unsynced("claim_due").await?;
        let waiting = tx.connections_with_work(worker).await?;
        let mut urgent = tx.claimable(&waiting, Rank::Suspect, most, Gather::default()).await?;
        let left = most - urgent.len();
        // What there is no place for fills no batch.
        let gather = Gather { behind: urgent_at_work, until: if places > 0 { left } else { usize::MAX } };
        urgent.append(&mut tx.claimable(&waiting, Rank::Urgent, left, gather).await?);
        let gather = Gather { behind: at_work, until: places };
        let mut background = tx.claimable(&waiting, Rank::Background, places, gather).await?;
        if urgent.is_empty() && background.is_empty() {
            // Ended here rather than rolled back behind us: the next writer may use another connection.
            tx.commit().await?;
            return Ok(Vec::new());
        }
        let kept = self.background_places(places).min(background.len());
        urgent.truncate((places - kept).max(urgent_beside));
        background.truncate(places.saturating_sub(urgent.len()));
        urgent.append(&mut background);
        tx.lease(worker, &mut urgent).await?;
        tx.commit().await?;
        Ok(urgent)
    }

    /// Says that this worker is alive: its leases run anew.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn extend_leases(&self, worker: Uuid) -> Result<(), StoreError> {
        let extend = sql(EXTEND).value(self.now() + LEASE).push(OF_OWNER).value(worker);
        // What is being settled at this moment needs no lease; whoever waited for it while holding others that the next one
        // settles would stop them both.
        self.write("extend_leases", extend.on_postgres(lock::FREE_ROWS).push(")")).await
    }

    /// Gives objects back untouched: the fault was not theirs, the attempt is not counted.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn release(&self, worker: Uuid, objects: &[Due]) -> Result<(), StoreError> {
        let mut tx = self.begin("release").await?;
        for (connection, ids) in by_connection(objects) {
            for chunk in ids.chunks(IDS_PER_STATEMENT) {
                let release = sql(RELEASE).value(worker).push(" AND connection_id = ").value(connection);
                tx.run(release.push(" AND object_id IN ").list(chunk.iter().copied())).await?;
            }
        }
        tx.commit().await
    }

    /// Gives back all that this worker still holds: what held it broke down, and its leases are kept up with the others.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn release_all(&self, worker: Uuid) -> Result<(), StoreError> {
        let release = sql("UPDATE due SET lease_owner = NULL, lease_until = NULL WHERE lease_owner = $1");
        self.write("release_all", release.bind(worker)).await
    }

    /// Gives objects back that a fault kept from being looked at: no attempt is counted, and their events wait for the
    /// reason given. They are due again at `at`; without it at once, when their connection is tried again.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn put_off(
        &self,
        worker: Uuid,
        objects: &[Due],
        at: Option<Timestamp>,
        reason: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin("put_off").await?;
        for (connection, ids) in by_connection(objects) {
            for chunk in ids.chunks(IDS_PER_STATEMENT) {
                let mut put_off = sql(PUT_OFF);
                if let Some(at) = at {
                    put_off = put_off.push(", due_at = ").value(at);
                }
                let put_off = put_off.push(" WHERE lease_owner = ").value(worker);
                let put_off = put_off.push(" AND connection_id = ").value(connection).push(" AND object_id IN ");
                tx.run(put_off.list(chunk.iter().copied())).await?;
            }
            tx.note_waiting(connection, &ids, reason).await?;
        }
        tx.commit().await
    }

    /// When the next object or task is due; may lie in the past. What is leased or paused does not count.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn next_due_at(&self) -> Result<Option<Timestamp>, StoreError> {
        let row = self.one("next_due_at", sql(NEXT_DUE).bind(self.now())).await?;
        row.map_or(Ok(None), |row| row.maybe_at("at"))
    }

    /// How many objects and tasks some worker has in hand at this moment.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn work_in_hand(&self) -> Result<u64, StoreError> {
        let row = self.one("work_in_hand", sql(IN_HAND).bind(self.now())).await?;
        let count = row.map_or(Ok(0), |row| row.get::<i64>("leased"))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

impl Tx {
    /// Connections at work that have something to do, of each rank those whose work is due longest.
    async fn connections_with_work(&mut self, worker: Uuid) -> Result<Vec<(i64, ConnectionId)>, StoreError> {
        let now = self.now();
        let mut rows = self.all(connections_with_work(worker, now)).await?;
        let is_expired = |row: &Row| Ok::<_, StoreError>(row.get::<i64>("rank")? == EXPIRED);
        // A lease that ran out is none: its rows stand among the others again.
        if rows.iter().map(is_expired).collect::<Result<Vec<_>, _>>()?.contains(&true) {
            self.run(sql(FREE_EXPIRED).bind(now).bind(worker)).await?;
            rows = self.all(connections_with_work(worker, now)).await?;
        }
        rows.iter().map(|row| Ok((row.get("rank")?, ConnectionId(row.get("id")?)))).collect()
    }

    /// The work of this rank that is due longest. Connection by connection, so that the backlog of one that is paused or
    /// in trouble is not walked through.
    async fn claimable(
        &mut self,
        waiting: &[(i64, ConnectionId)],
        rank: Rank,
        limit: usize,
        gather: Gather<'_>,
    ) -> Result<Vec<Due>, StoreError> {
        let mut dues = Vec::new();
        if limit == 0 {
            return Ok(dues);
        }
        let now = self.now();
        for (_, connection) in waiting.iter().filter(|(of, _)| *of == rank as i64) {
            let rows = self.all(free_rows(*connection, rank, now, limit)).await?;
            if rows.len() < gather.until && gather.behind.contains(connection) {
                continue;
            }
            dues.extend(rows.iter().map(due_from).collect::<Result<Vec<_>, _>>()?);
        }
        dues.sort_by_key(|due| due.due_at);
        dues.truncate(limit);
        Ok(dues)
    }

    async fn lease(&mut self, worker: Uuid, objects: &mut [Due]) -> Result<(), StoreError> {
        let until = self.now() + LEASE;
        for (connection, ids) in by_connection(objects) {
            for chunk in ids.chunks(IDS_PER_STATEMENT) {
                let lease = sql(LEASED).value(worker).push(", lease_until = ").value(until);
                let lease = lease.push(" WHERE connection_id = ").value(connection).push(" AND object_id IN ");
                self.run(lease.list(chunk.iter().copied())).await?;
            }
        }
        for due in objects {
            due.attempts += 1;
        }
        Ok(())
    }
}

/// One row per rank and connection, and one of [`EXPIRED`] if others left leases that ran out.
fn connections_with_work(worker: Uuid, now: Timestamp) -> Sql {
    let mut query =
        sql("SELECT ").value(EXPIRED).push(" AS rank, connection_id AS id FROM (SELECT connection_id FROM due");
    query = query.push(" WHERE lease_owner IS NOT NULL AND lease_until <= ").value(now);
    query = query.push(" AND lease_owner <> ").value(worker).push(" LIMIT 1) AS expired");
    for rank in [Rank::Suspect, Rank::Urgent, Rank::Background] {
        query = query
            .push(" UNION ALL SELECT ")
            .value(rank as i64)
            .push(" AS rank, id FROM (SELECT id, at FROM (SELECT c.id AS id,");
        query = query.push(" (SELECT d.due_at FROM due d WHERE d.connection_id = c.id AND ").push(RANK).push(" = ");
        query = query.value(rank as i64).push(" AND d.lease_owner IS NULL ORDER BY d.due_at LIMIT 1) AS at");
        query =
            query.push(" FROM connection c WHERE c.state <> 'paused' AND (c.next_try_at IS NULL OR c.next_try_at <= ");
        query = query.value(now).push(")) AS waiting WHERE at <= ").value(now).push(" ORDER BY at, id LIMIT ");
        query = query.value(CONNECTIONS_AT_ONCE).push(") AS longest");
    }
    query
}

fn free_rows(connection: ConnectionId, rank: Rank, now: Timestamp, limit: usize) -> Sql {
    let query = sql("SELECT ").push(COLUMNS).push(" FROM due WHERE connection_id = ").value(connection);
    let query = query.push(" AND ").push(RANK).push(" = ").value(rank as i64);
    let query = query.push(" AND lease_owner IS NULL AND due_at <= ").value(now).push(" ORDER BY due_at LIMIT ");
    query.value(i64::try_from(limit).unwrap_or(i64::MAX)).on_postgres(lock::FREE_ROWS)
}

fn by_connection(objects: &[Due]) -> std::collections::BTreeMap<ConnectionId, Vec<ObjectId>> {
    let mut ids = std::collections::BTreeMap::<_, Vec<_>>::new();
    for due in objects {
        ids.entry(due.connection).or_default().push(due.object);
    }
    ids
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sql::plan::plans;

    /// FA-25: with a million rows not due yet, leased, or of a connection that is paused, a claim costs what it takes.
    #[tokio::test]
    async fn fa_25_a_claim_walks_past_no_backlog() {
        let (now, connection) = (Timestamp::from_micros(1), ConnectionId(Uuid::nil()));
        for rank in [Rank::Suspect, Rank::Urgent, Rank::Background] {
            let steps = plans(vec![free_rows(connection, rank, now, 300)]).await;
            let by_rank = "SEARCH due USING INDEX due_rank (connection_id=? AND <expr>=? AND due_at<?)";
            assert_eq!(steps, [by_rank], "and no sorting");
        }
        let steps = plans(vec![connections_with_work(Uuid::nil(), now)]).await;
        let looks: Vec<&String> = steps.iter().filter(|step| step.contains(" d ")).collect();
        let first = |step: &&String| {
            step.starts_with("SEARCH d USING") && step.contains("INDEX due_rank (connection_id=? AND <expr>=?")
        };
        assert!(looks.len() >= 3 && looks.iter().all(first), "{steps:#?}");
        assert!(steps.contains(&"SEARCH due USING INDEX due_lease_end (lease_until<?)".to_owned()), "{steps:#?}");
        let steps = plans(vec![sql(FREE_EXPIRED).bind(now).bind(Uuid::nil())]).await;
        assert_eq!(steps, ["SEARCH due USING INDEX due_lease_end (lease_until<?)"]);
    }

    #[tokio::test]
    async fn fa_25_the_next_due_time_is_one_look_per_connection() {
        let steps = plans(vec![sql(NEXT_DUE).bind(Timestamp::from_micros(1))]).await;
        let free = |step: &String| step.contains("due_soonest (connection_id=?)");
        let expired = |step: &String| step.contains("due_lease_end (lease_until<?)");
        assert!(steps.iter().any(free) && steps.iter().any(expired), "{steps:#?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN d")), "{steps:#?}");
    }
}
