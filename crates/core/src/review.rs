//! Questions only a person can answer.

use serde::{Deserialize, Serialize};

use crate::id::RecordId;

/// What a review asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewKind {
    /// A record has this person's address, but TH-09's conditions do not all hold.
    Link,
    /// The person's new address belongs to another record: the old one is kept.
    AddressTaken,
    /// The username is taken: the record has none until somebody decides.
    UsernameTaken,
    /// The winning rule gives another kind of record.
    KindChange,
}

/// A question to open. One open review per kind and person.
#[derive(Clone, Debug, PartialEq)]
pub struct NewReview {
    /// What it asks.
    pub kind: ReviewKind,
    /// Records concerned.
    pub candidates: Vec<RecordId>,
    /// Why it could not be decided, in plain words without names or addresses.
    pub why: String,
    /// What can be chosen, e.g. `link`, `keep_apart`.
    pub choices: Vec<String>,
}
