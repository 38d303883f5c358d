//! What can go wrong in the store, and what a person can do about it.

use std::path::PathBuf;

use lockstep_core::ErrorClass;

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
            Self::Conflict { .. } => ErrorClass::Transient { retry_after: None },
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
            _ => Self::Database { operation, source },
        }
    }

    pub(crate) fn refused(sentence: impl Into<String>) -> Self {
        Self::Refused(sentence.into())
    }

    pub(crate) fn impossible(table: &'static str, column: &'static str, row: impl ToString) -> Self {
        Self::ImpossibleRow { table, column, row: row.to_string() }
    }
}

/// A statement that can never succeed is our bug; a database that is busy, full or away may heal.
fn database_class(error: &sqlx::Error) -> ErrorClass {
    use sqlx::error::ErrorKind;
    const SQLITE_ERROR: &str = "1";
    let bug = match error {
        sqlx::Error::Database(error) => {
            !matches!(error.kind(), ErrorKind::Other) || error.code().as_deref() == Some(SQLITE_ERROR)
        }
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::Encode(_)
        | sqlx::Error::TypeNotFound { .. }
        | sqlx::Error::RowNotFound => true,
        _ => false,
    };
    if bug { ErrorClass::Bug } else { ErrorClass::Transient { retry_after: None } }
}
