//! How long transactions wait and last, and whether their end is known (FA-08, FA-09).

use std::time::Instant;

/// A transaction wanted to begin since then, and does now.
pub(crate) fn waited(since: Instant) {
    metrics::histogram!("lockstep_store_wait_seconds").record(since.elapsed());
}

/// The time of one transaction. One that is dropped without a commit is not counted.
pub(crate) struct Timer {
    name: &'static str,
    since: Instant,
}

impl Timer {
    /// Somebody wants to begin.
    pub(crate) fn asked(name: &'static str) -> Self {
        Self { name, since: Instant::now() }
    }

    /// It was their turn.
    pub(crate) fn begun(self) -> Self {
        waited(self.since);
        Self { name: self.name, since: Instant::now() }
    }

    /// The commit came back.
    pub(crate) fn ended(self, commit: &Result<(), sqlx::Error>) {
        metrics::histogram!("lockstep_store_transaction_seconds", "transaction" => self.name)
            .record(self.since.elapsed());
        // A database that says no has rolled back; of one that says nothing nobody knows.
        if commit.as_ref().is_err_and(|error| error.as_database_error().is_none()) {
            metrics::counter!("lockstep_commit_unknown_total", "transaction" => self.name).increment(1);
        }
    }
}
