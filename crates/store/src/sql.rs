//! One statement: its text and its binds, the same for every database.
//!
//! A text is either fixed, with `$1` binds, or grown piece by piece, where each bind stands as `?` (SQLite looks `$n`
//! names up one by one, which is quadratic in a statement of thousands of binds).

use std::borrow::Cow;

use lockstep_core::{ConnectionId, EventId, HoldId, ObjectId, RecordId, ReviewId, SubscriptionId, TaskId};
use lockstep_core::{Ticket, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Row as _, Sqlite};
use uuid::Uuid;

use crate::error::StoreError;

/// Rows in one `VALUES` list.
pub(crate) const ROWS_PER_STATEMENT: usize = 200;
/// Ids in one `IN` list.
pub(crate) const IDS_PER_STATEMENT: usize = 500;

/// A value for a statement. A missing one keeps its type, which PostgreSQL needs.
#[derive(Clone, Debug)]
pub(crate) enum Bind {
    Int(Option<i64>),
    Text(Option<String>),
    Id(Option<Uuid>),
    Bytes(Option<Vec<u8>>),
    Flag(Option<bool>),
    Json(Option<String>),
}

impl Bind {
    /// The value as JSON. What cannot be JSON (a map with keys that are not text) is not in any of our types.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::Json(serde_json::to_string(value).ok())
    }
}

/// A statement under way.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    text: Cow<'static, str>,
    binds: Vec<Bind>,
}

/// A fixed text with `$1` binds, or the beginning of a growing one.
pub(crate) fn sql(text: &'static str) -> Sql {
    Sql { text: Cow::Borrowed(text), binds: Vec::new() }
}

impl Sql {
    /// The next value of a fixed text.
    pub(crate) fn bind(mut self, value: impl Into<Bind>) -> Self {
        self.binds.push(value.into());
        self
    }

    /// More text.
    pub(crate) fn push(mut self, text: &str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// A value in its place of a growing text.
    pub(crate) fn value(self, value: impl Into<Bind>) -> Self {
        self.push("?").bind(value)
    }

    /// `(?, ?, …)` of ids or texts.
    pub(crate) fn list<T: Into<Bind>>(mut self, values: impl IntoIterator<Item = T>) -> Self {
        let text = self.text.to_mut();
        text.push('(');
        for (place, value) in values.into_iter().enumerate() {
            text.push_str(if place == 0 { "?" } else { ", ?" });
            self.binds.push(value.into());
        }
        text.push(')');
        self
    }

    /// `(?, ?), (?, ?), …`: one parenthesis a row.
    pub(crate) fn rows(mut self, rows: impl IntoIterator<Item = Vec<Bind>>) -> Self {
        for (place, row) in rows.into_iter().enumerate() {
            if place > 0 {
                self.text.to_mut().push_str(", ");
            }
            self = self.list(row);
        }
        self
    }

    /// Asks how the database would run it.
    #[cfg(test)]
    pub(crate) fn explained(mut self) -> Self {
        self.text.to_mut().insert_str(0, "EXPLAIN QUERY PLAN ");
        self
    }

    /// Ready for SQLite. Fixed texts stay prepared; grown ones rarely come again.
    pub(crate) fn for_sqlite(self) -> sqlx::query::Query<'static, Sqlite, SqliteArguments> {
        let mut arguments = SqliteArguments::default();
        arguments.reserve(self.binds.len(), 0);
        for bind in self.binds {
            // Encoding these types into SQLite's own cannot fail.
            let _ = match bind {
                Bind::Int(value) => arguments.add(value),
                Bind::Text(value) | Bind::Json(value) => arguments.add(value),
                Bind::Id(value) => arguments.add(value),
                Bind::Bytes(value) => arguments.add(value),
                Bind::Flag(value) => arguments.add(value),
            };
        }
        match self.text {
            Cow::Borrowed(text) => sqlx::query_with(text, arguments),
            Cow::Owned(text) => sqlx::query_with(AssertSqlSafe(text), arguments).persistent(false),
        }
    }
}

macro_rules! bind_from {
    ($($from:ty => $variant:ident, $value:ident => $into:expr;)*) => {$(
        impl From<$from> for Bind {
            fn from($value: $from) -> Self {
                Self::$variant(Some($into))
            }
        }
        impl From<Option<$from>> for Bind {
            fn from(value: Option<$from>) -> Self {
                Self::$variant(value.map(|$value| $into))
            }
        }
    )*};
}

bind_from! {
    i64 => Int, value => value;
    u32 => Int, value => i64::from(value);
    Timestamp => Int, value => value.micros();
    Ticket => Int, value => value.0;
    &str => Text, value => value.to_owned();
    String => Text, value => value;
    Uuid => Id, value => value;
    ConnectionId => Id, value => value.0;
    RecordId => Id, value => value.0;
    EventId => Id, value => value.0;
    HoldId => Id, value => value.0;
    ReviewId => Id, value => value.0;
    SubscriptionId => Id, value => value.0;
    TaskId => Id, value => value.0;
    ObjectId => Id, value => value.0;
    bool => Flag, value => value;
    &[u8] => Bytes, value => value.to_vec();
    Vec<u8> => Bytes, value => value;
}

/// A row, whichever database it came from.
pub(crate) enum Row {
    Lite(SqliteRow),
}

impl Row {
    /// A column by name; `Option` for one that may be null.
    pub(crate) fn get<T>(&self, column: &'static str) -> Result<T, StoreError>
    where
        T: for<'r> sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>,
    {
        match self {
            Self::Lite(row) => row.try_get(column),
        }
        .map_err(|source| StoreError::Database { operation: "reading a row", source })
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
        let Self::Lite(row) = self;
        let id = KEYS.iter().find_map(|key| row.try_get::<Uuid, _>(key).ok());
        StoreError::impossible(table, column, id.map_or_else(|| "?".to_owned(), |id| id.to_string()))
    }
}
