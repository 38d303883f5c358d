//! A row, whichever database it came from.

use lockstep_core::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Postgres, Row as _, Sqlite, Type};
use uuid::Uuid;

use crate::error::StoreError;

/// A row, whichever database it came from.
pub(crate) enum Row {
    Lite(SqliteRow),
    Pg(PgRow),
}

impl Row {
    /// A column by name; `Option` for one that may be null.
    pub(crate) fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Lite(row) => row.try_get(column),
            Self::Pg(row) => row.try_get(column),
        }
        .map_err(|source| StoreError::Database { operation: "reading a row", source })
    }

    /// A small count: tries, failures, pages.
    pub(crate) fn small(&self, column: &'static str) -> Result<u32, StoreError> {
        Ok(u32::try_from(self.get::<i64>(column)?.max(0)).unwrap_or(u32::MAX))
    }

    /// An instant.
    pub(crate) fn at(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        self.get(column).map(Timestamp::from_micros)
    }

    /// An instant that may be null.
    pub(crate) fn maybe_at(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.get::<Option<i64>>(column)?.map(Timestamp::from_micros))
    }

    /// A JSON column.
    pub(crate) fn json<T: DeserializeOwned>(&self, table: &'static str, column: &'static str) -> Result<T, StoreError> {
        let text: String = self.get(column)?;
        serde_json::from_str(&text).map_err(|_| self.impossible(table, column))
    }

    /// A text column with one of a few words in it.
    pub(crate) fn word<T>(
        &self,
        table: &'static str,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        parse(&self.get::<String>(column)?).ok_or_else(|| self.impossible(table, column))
    }

    /// An `ImpossibleRow` that leads to this row, when it has an id among its columns.
    pub(crate) fn impossible(&self, table: &'static str, column: &'static str) -> StoreError {
        const KEYS: [&str; 4] = ["id", "user_id", "object_id", "group_id"];
        let id = KEYS.into_iter().find_map(|key| self.get::<Uuid>(key).ok());
        StoreError::impossible(table, column, id.map_or_else(|| "?".to_owned(), |id| id.to_string()))
    }
}
