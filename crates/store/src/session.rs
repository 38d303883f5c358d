//! Where sessions end: one place for every cause (D3, D5). Whatever is signed in as a record holds only if it began after
//! the record's latest row here.

use lockstep_core::record::{Record, Status};
use lockstep_core::{ConnectionId, RecordId};
use uuid::Uuid;

use crate::db::Tx;
use crate::error::StoreError;
use crate::sql::{Bind, ROWS_PER_STATEMENT, sql};

const INSERT: &str = "INSERT INTO session_end (id, connection_id, record_id, at, cause) VALUES ";

/// Whose sessions end, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionEnd {
    connection: Option<ConnectionId>,
    record: RecordId,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Deactivated,
    Archived,
    Revoked,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Deactivated => "deactivated",
            Self::Archived => "archived",
            Self::Revoked => "revoked",
        }
    }
}

impl SessionEnd {
    /// What this change of a record means for whoever is signed in as it; `revoked`: Microsoft says so.
    pub(crate) fn of(before: Option<&Record>, after: &Record, revoked: bool) -> Option<Self> {
        let was_in = before.is_some_and(|before| before.status == Status::Active);
        let cause = match after.status {
            Status::Inactive if was_in => Cause::Deactivated,
            Status::Archived if was_in => Cause::Archived,
            Status::Active if was_in && revoked => Cause::Revoked,
            Status::Active | Status::Inactive | Status::Archived => return None,
        };
        Some(Self { connection: after.connection, record: after.id, cause })
    }

    /// Ended although the record stays active (D5).
    pub(crate) fn is_revoked(self) -> bool {
        self.cause == Cause::Revoked
    }
}

impl Tx {
    /// In the transaction of the change that ends them (G-13).
    pub(crate) async fn end_sessions(&mut self, ends: &[SessionEnd]) -> Result<(), StoreError> {
        let now = self.now();
        for chunk in ends.chunks(ROWS_PER_STATEMENT) {
            let row = |end: &SessionEnd| -> Vec<Bind> {
                let id = Uuid::now_v7();
                vec![id.into(), end.connection.into(), end.record.into(), now.into(), end.cause.as_str().into()]
            };
            self.run(sql(INSERT).rows(chunk.iter().map(row))).await?;
        }
        Ok(())
    }
}
