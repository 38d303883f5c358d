//! What is shown: rows as the JSON that the command line, the API and the console share (R3).
//!
//! Names stand in place of our connection ids, instants are RFC 3339, what is absent is null. Every listing is the
//! newest first and goes on `after` the last id of the page before: a page costs the same at any depth.
//!
//! Invariant: nothing here writes, and no view carries a secret. Views with personal data have no Debug (G-27).

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::db::Store;
use crate::error::StoreError;
use crate::sql::{Bind, Row, Sql};

pub mod audit;
pub mod connection;
pub mod event;
pub mod explain;
pub mod hold;
pub mod origin;
pub mod record;
pub mod review;
pub mod rule;
pub mod subscription;

/// Rows in a page when nobody says otherwise.
pub const PAGE: usize = 100;

impl Store {
    /// Views show the rows of all connections: whoever may ask for them is an operator (G-22).
    async fn shown(&self, operation: &'static str, query: Sql) -> Result<Vec<Row>, StoreError> {
        self.all(operation, query.everywhere()).await
    }

    /// The same for one row, if there is one.
    async fn shown_one(&self, operation: &'static str, query: Sql) -> Result<Option<Row>, StoreError> {
        self.one(operation, query.everywhere()).await
    }
}

impl Sql {
    /// Adds `AND condition value` if there is a value, so that each listing has only the conditions that were asked
    /// for and finds its index.
    fn and(self, condition: &str, value: Option<impl Into<Bind>>) -> Self {
        match value {
            Some(value) => self.push(" AND ").push(condition).value(value),
            None => self,
        }
    }

    /// Adds the order and the limit of a page.
    fn page(self, order: &str, limit: usize) -> Self {
        self.push(order).push(" LIMIT ").value(i64::try_from(limit).unwrap_or(i64::MAX))
    }
}

/// The word a value is stored and shown as.
pub(crate) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}

/// The value behind a stored word.
pub(crate) fn meaning<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(Value::from(word)).ok()
}
