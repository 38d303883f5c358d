//! One statement: its text and its binds, the same for every database.
//!
//! A text is either fixed, with `$1` binds, or grown piece by piece, where each bind stands as `?` (SQLite looks `$n`
//! names up one by one, which is quadratic in a statement of thousands of binds). What PostgreSQL alone needs are row locks:
//! [`Sql::on_postgres`] with one of the constants in [`lock`].

#[cfg(test)]
pub(crate) mod plan;
mod render;
mod row;
mod scope;

use std::borrow::Cow;

use lockstep_core::{ConnectionId, EventId, HoldId, ObjectId, RecordId, ReviewId, SubscriptionId, TaskId};
use lockstep_core::{Ticket, Timestamp};
use serde::Serialize;
use uuid::Uuid;

pub(crate) use row::Row;
pub(crate) use scope::Scope;

/// Ids in one `IN` list: a third of what a page of Graph holds at most (999), so that a page fills its statements. A full
/// one comes again, and stays prepared.
pub(crate) const IDS_PER_STATEMENT: usize = 333;
/// Rows in one `VALUES` list; the same for the same reason. From some 200 on SQLite no longer finds each row that an update
/// names, but walks the table.
pub(crate) const ROWS_PER_STATEMENT: usize = IDS_PER_STATEMENT / 3;

/// Row locks. SQLite has one writer at a time and needs none.
pub(crate) mod lock {
    /// Waits for whoever holds the rows, and sees what they committed. The rows must come in a fixed order.
    pub(crate) const ROWS: &str = " FOR UPDATE";
    /// The same for the events of a join with what they named.
    pub(crate) const EVENTS: &str = " FOR UPDATE OF e";
    /// Passes over rows that somebody else holds.
    pub(crate) const FREE_ROWS: &str = " FOR UPDATE SKIP LOCKED";
    /// The same for the tasks of a join with their connections.
    pub(crate) const FREE_TASKS: &str = " FOR UPDATE OF t SKIP LOCKED";
    /// The same for the events of a join with their connections.
    pub(crate) const FREE_EVENTS: &str = " FOR UPDATE OF e SKIP LOCKED";
}

/// A value for a statement. A missing one keeps its type, which PostgreSQL needs.
#[derive(Clone, Debug)]
pub(crate) enum Bind {
    Int(Option<i64>),
    Text(Option<String>),
    Id(Option<Uuid>),
    /// An id that is a scope at the same time (G-22).
    Connection(Option<Uuid>),
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

/// What stands for a `?` of a growing text.
#[derive(Clone, Debug)]
enum Slot {
    One(Bind),
    /// `(…)` after `IN`.
    List(Vec<Bind>),
    /// What follows `VALUES`.
    Rows(Vec<Vec<Bind>>),
    /// A fragment that only PostgreSQL gets.
    Postgres(&'static str),
}

/// A statement under way.
#[derive(Clone, Debug)]
pub(crate) struct Sql {
    text: Cow<'static, str>,
    slots: Vec<Slot>,
    scope: Option<Scope>,
}

/// A fixed text with `$1` binds, or the beginning of a growing one.
pub(crate) fn sql(text: &'static str) -> Sql {
    Sql { text: Cow::Borrowed(text), slots: Vec::new(), scope: None }
}

impl Sql {
    /// The next value of a fixed text.
    pub(crate) fn bind(mut self, value: impl Into<Bind>) -> Self {
        self.slots.push(Slot::One(value.into()));
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

    /// `(?, ?, …)` of ids or texts, after `IN`.
    pub(crate) fn list<T: Into<Bind>>(self, values: impl IntoIterator<Item = T>) -> Self {
        self.slot(Slot::List(values.into_iter().map(Into::into).collect()))
    }

    /// `(?, ?), (?, ?), …` after `VALUES`: one parenthesis a row, all rows of the same types.
    pub(crate) fn rows(self, rows: impl IntoIterator<Item = Vec<Bind>>) -> Self {
        self.slot(Slot::Rows(rows.into_iter().collect()))
    }

    /// Asks how the database would run it.
    #[cfg(test)]
    pub(crate) fn explained(mut self) -> Self {
        self.text.to_mut().insert_str(0, "EXPLAIN QUERY PLAN ");
        self
    }

    /// A row lock, one of [`lock`].
    pub(crate) fn on_postgres(self, fragment: &'static str) -> Self {
        self.slot(Slot::Postgres(fragment))
    }

    fn slot(self, slot: Slot) -> Self {
        let mut grown = self.push("?");
        grown.slots.push(slot);
        grown
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
    ConnectionId => Connection, value => value.0;
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
