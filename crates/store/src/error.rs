//! What can go wrong in the store, and what a person can do about it.

use std::path::PathBuf;

use lockstep_core::ErrorClass;
use sqlx::error::ErrorKind;
use sqlx::postgres::PgDatabaseError;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no, or could not be reached.
    #[error("{operation} failed in the database")]
    Database {
        /// The name of the transaction or query.
        operation: &'static str,
        /// What the database said; names tables and columns, never values.
        #[source]
        source: sqlx::Error,
    },
    /// The database cannot work at the moment; what was asked is tried again by itself.
    #[error("{operation} must wait: {why}")]
    Unavailable {
        /// The name of the transaction or query.
        operation: &'static str,
        /// What is the matter, and what a person can do.
        why: &'static str,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// The migrations could not be run.
    #[error("the database schema could not be brought up to date")]
    Migration {
        /// Why.
        #[source]
        source: Box<sqlx::migrate::MigrateError>,
    },
    /// A row that cannot be: a bug, and the message leads to the row.
    #[error("{table} row {row} has an impossible {column}")]
    ImpossibleRow {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The id of the row.
        row: String,
    },
    /// The store's secrets are under another key.
    #[error(
        "{path} is not the key this store's secrets are under (key {wanted}): put the right key file there or set LOCKSTEP_KEY_FILE"
    )]
    WrongKey {
        /// The key file that was looked at.
        path: PathBuf,
        /// Id of the key that the store wants.
        wanted: String,
    },
    /// A secret in the database was altered or copied from another row.
    #[error("the sealed {column} of {table} row {row} does not open: it was altered or belongs to another row")]
    Unsealable {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The id of the row.
        row: String,
    },
    /// A file or folder could not be made, read or written.
    #[error("{operation} {path} failed")]
    File {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// What was asked cannot be done; the sentence says what to do instead.
    #[error("{0}")]
    Refused(String),
    /// There is no such thing.
    #[error("there is no {what} {id}")]
    NotFound {
        /// Its noun.
        what: &'static str,
        /// The id or name asked for.
        id: String,
    },
    /// Somebody else was quicker; the task runs again on fresh reads.
    #[error("{operation} met a newer state ({why}) and must run again")]
    Conflict {
        /// The name of the transaction.
        operation: &'static str,
        /// What was newer.
        why: &'static str,
    },
}

impl StoreError {
    /// What kind of trouble this is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Database { source, .. } => database_class(source),
            Self::Conflict { .. } | Self::Unavailable { .. } => ErrorClass::Transient { retry_after: None },
            Self::WrongKey { .. }
            | Self::Unsealable { .. }
            | Self::File { .. }
            | Self::Refused(_)
            | Self::NotFound { .. }
            | Self::Migration { .. } => ErrorClass::Permanent,
            Self::ImpossibleRow { .. } => ErrorClass::Bug,
        }
    }

    /// A unique key that another transaction took first is a conflict; everything else keeps its cause.
    pub(crate) fn database(operation: &'static str, source: sqlx::Error) -> Self {
        match source.as_database_error() {
            Some(error) if error.is_unique_violation() => Self::Conflict { operation, why: "a unique key was taken" },
            Some(error) => match waits_for(error) {
                Some(why) => Self::Unavailable { operation, why, source },
                None => Self::Database { operation, source },
            },
            None => Self::Database { operation, source },
        }
    }

    pub(crate) fn refused(sentence: impl Into<String>) -> Self {
        Self::Refused(sentence.into())
    }

    pub(crate) fn impossible(table: &'static str, column: &'static str, row: impl ToString) -> Self {
        Self::ImpossibleRow { table, column, row: row.to_string() }
    }
}

/// What a person can do about a database that cannot work now; `None` when nobody need do anything, or nothing helps.
fn waits_for(error: &dyn sqlx::error::DatabaseError) -> Option<&'static str> {
    const SQLITE_READ_ONLY: &str = "8";
    const SQLITE_FULL: &str = "13";
    Some(match error.code()?.as_ref() {
        "53100" | SQLITE_FULL => "the disk of the database is full: free some space",
        "25006" => "the database is read-only: name the primary server in LOCKSTEP_STORE_URL",
        SQLITE_READ_ONLY => "the database file cannot be written: give its folder back to the user Lockstep runs as",
        "53300" => "the database takes no more connections: raise its max_connections",
        "57P01" | "57P02" | "57P03" => "the database stops or starts: it goes on by itself",
        _ => return None,
    })
}

/// A statement that can never succeed is our bug; a database that is busy, full or away may heal.
fn database_class(error: &sqlx::Error) -> ErrorClass {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => postgres_class(error.code()),
            None => sqlite_class(error.as_ref()),
        },
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::RowNotFound => ErrorClass::Bug,
        _ => ErrorClass::Transient { retry_after: None },
    }
}

fn sqlite_class(error: &dyn sqlx::error::DatabaseError) -> ErrorClass {
    const SQLITE_ERROR: &str = "1";
    let bug = !matches!(error.kind(), ErrorKind::Other) || error.code().as_deref() == Some(SQLITE_ERROR);
    if bug { ErrorClass::Bug } else { ErrorClass::Transient { retry_after: None } }
}

/// By the classes of SQLSTATE (PostgreSQL manual, appendix A).
fn postgres_class(code: &str) -> ErrorClass {
    const LOCK_NOT_AVAILABLE: &str = "55P03";
    const READ_ONLY: &str = "25006";
    const IDLE_IN_TRANSACTION: &str = "25P03";
    const NO_RIGHT: &str = "42501";
    let class = code.get(..2).unwrap_or_default();
    match (class, code) {
        // Connection, serialization and deadlock, resources, intervention (a timeout is one), the system below.
        ("08" | "40" | "53" | "57" | "58", _) | (_, LOCK_NOT_AVAILABLE | READ_ONLY | IDLE_IN_TRANSACTION) => {
            ErrorClass::Transient { retry_after: None }
        }
        // Sign-in, no such database, a right that `lockstep migrate` gives.
        ("28" | "3D", _) | (_, NO_RIGHT) => ErrorClass::Permanent,
        _ => ErrorClass::Bug,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fa08_what_heals_by_itself_is_tried_again_and_what_cannot_succeed_is_not() {
        for heals in ["40001", "40P01", "55P03", "57014", "57P01", "57P03", "08006", "53100", "53300", "25006", "25P03"]
        {
            assert!(matches!(postgres_class(heals), ErrorClass::Transient { .. }), "{heals}");
        }
        for person in ["28P01", "3D000", "42501"] {
            assert_eq!(postgres_class(person), ErrorClass::Permanent, "{person}");
        }
        for bug in ["42601", "22021", "23502", "25P02", ""] {
            assert_eq!(postgres_class(bug), ErrorClass::Bug, "{bug}");
        }
    }
}
