//! Questions only a person can answer, what can be chosen, and how long an answer holds.
//!
//! An answer belongs to what was asked: another address, another record or a doubt that was not shown asks anew.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::id::{RecordId, ReviewId};

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
    /// The winning rule gives another kind of record. Asked by earlier versions only: the kind is changed now.
    KindChange,
}

/// What an admin can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The record is this person's.
    Link,
    /// The record is this person's, who came back under a new object id.
    Rehire,
    /// Both records are this person's.
    Merge,
    /// Somebody else's: a record of their own for this person.
    Create,
    /// Somebody else's, and nothing for this person.
    KeepApart,
    /// The link was wrong.
    Unlink,
    /// The old address stays.
    Keep,
    /// The address is this person's now.
    Reassign,
    /// The name with a number.
    Number,
    /// No username.
    LeaveOut,
    /// The username that is given with the choice.
    Name,
    /// A record of the other kind.
    ChangeKind,
}

impl Choice {
    /// What it will do, for whoever has to choose.
    pub const fn effect(self) -> &'static str {
        match self {
            Self::Link => {
                "the record is this person's: it keeps its id and all that refers to it, and follows Microsoft from now on"
            }
            Self::Rehire => {
                "the record is this person's, who came back under a new object id: it keeps its id, and follows the new one"
            }
            Self::Merge => {
                "both records are this person's: the other one keeps its id and all that refers to it and follows Microsoft from now on, the one they have is archived"
            }
            Self::Create => {
                "somebody else's record: this person gets one of their own, without what the other one has (address, username)"
            }
            Self::KeepApart => {
                "somebody else's record, and none for this person; asked again only when the address or the records differ"
            }
            Self::Unlink => {
                "the link was wrong: the record gets back what it had before and is linked to nobody; the person is asked about again"
            }
            Self::Keep => "everything stays as it is; asked again only when the address or the records differ",
            Self::Reassign => "the address goes to this person; the other record loses it and is looked at again",
            Self::Number => "the name with the first free number, as `number_usernames = true` would give",
            Self::LeaveOut => "no username; asked again only when the name or the records differ",
            Self::Name => "the username given with --username",
            Self::ChangeKind => "a record of the other kind",
        }
    }

    /// Touches a record that another person has, had, or must be trusted with: wants a second yes.
    pub const fn wants_yes(self) -> bool {
        matches!(self, Self::Rehire | Self::Merge | Self::Unlink | Self::Reassign)
    }

    /// It is about one of the records concerned.
    const fn names_record(self) -> bool {
        matches!(self, Self::Link | Self::Rehire | Self::Merge | Self::Reassign)
    }
}

/// Why a likeness is not enough to link a record by itself (TH-09, G-22 to G-24).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// It is root's.
    Root,
    /// It lies in another realm.
    OtherRealm,
    /// It was archived.
    Archived,
    /// A directory user who is there has it.
    LinkedElsewhere,
    /// A directory user who is disabled or deleted had it.
    FormerOwner,
    /// It is privileged.
    Privileged,
    /// The person is a guest, or was one.
    Guest,
    /// The address lies in a domain that the connection may not match by.
    ForeignDomain,
    /// Several records have an address of this person.
    SeveralRecords,
    /// Not exactly this one user has the address in Microsoft.
    SeveralUsers,
    /// Only another address or the sign-in name agrees.
    OtherAddress,
    /// Microsoft was not asked who else has the address.
    NotAsked,
    /// They were linked before, and somebody undid it.
    Undone,
}

impl Doubt {
    /// In plain words, without names or addresses.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Root => "the address belongs to the root user, who is never linked",
            Self::OtherRealm => "the address belongs to a record of another realm",
            Self::Archived => "the address belongs to an archived record",
            Self::LinkedElsewhere => {
                "the record is linked to another directory user (a rehire only once that one is disabled or deleted)"
            }
            Self::FormerOwner => {
                "the record was another directory user's who is disabled or deleted; possibly a rehire, possibly the address was given to somebody else"
            }
            Self::Privileged => "the record is privileged: linking it needs an admin's yes",
            Self::Guest => "a guest never takes over a record by address",
            Self::ForeignDomain => "the address's domain is not one this connection may match by",
            Self::SeveralRecords => {
                "several records have an address of this person; Microsoft was not asked who else has them"
            }
            Self::SeveralUsers => "in Microsoft, not exactly this one user has the address",
            Self::OtherAddress => "a record has another address or the sign-in name of this person as its address",
            Self::NotAsked => "Microsoft was not asked who else has the address",
            Self::Undone => "they were linked before, and an admin undid it",
        }
    }

    /// An admin who was shown it may decide otherwise. The others hold whoever decides.
    pub const fn is_overrulable(self) -> bool {
        !matches!(self, Self::Root | Self::OtherRealm | Self::Archived | Self::LinkedElsewhere)
    }
}

/// A question to open. One open review per kind and person; a question that has changed is another one.
#[derive(Clone, Debug, PartialEq)]
pub struct NewReview {
    /// What it asks.
    pub kind: ReviewKind,
    /// The address or username in question, in compared form.
    pub about: Option<String>,
    /// Records concerned.
    pub candidates: Vec<RecordId>,
    /// Everything that speaks against deciding it here: an answer overrules these and no others.
    pub doubts: BTreeSet<Doubt>,
    /// Why it could not be decided, in plain words without names or addresses.
    pub why: String,
    /// What can be chosen.
    pub choices: Vec<Choice>,
}

/// What somebody answered to a review about this person.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The review.
    pub review: ReviewId,
    /// What it asked.
    pub kind: ReviewKind,
    /// What was chosen.
    pub choice: Choice,
    /// The record it was chosen for.
    pub record: Option<RecordId>,
    /// The username given.
    pub username: Option<String>,
    /// The address or username in question, as asked.
    pub about: Option<String>,
    /// Records concerned, as asked.
    pub candidates: Vec<RecordId>,
    /// The doubts that were shown.
    pub doubts: BTreeSet<Doubt>,
    /// It was carried out. What is remembered holds on; what was to be done once is done.
    pub applied: bool,
}

impl Answer {
    /// The question is still the one that was asked: the same address or name, and no record that was not shown.
    pub fn is_to(&self, about: &str, candidates: &[RecordId]) -> bool {
        self.about.as_deref() == Some(about) && candidates.iter().all(|candidate| self.candidates.contains(candidate))
    }

    /// Whoever answered was shown all of these, and may decide otherwise.
    pub fn overrules(&self, doubts: &BTreeSet<Doubt>) -> bool {
        doubts.iter().all(|doubt| doubt.is_overrulable() && self.doubts.contains(doubt))
    }
}

/// The latest answer of a kind; `answers` has the oldest first.
pub fn latest(answers: &[Answer], kind: ReviewKind) -> Option<&Answer> {
    answers.iter().rev().find(|answer| answer.kind == kind)
}

/// What somebody chose, checked against what can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The choice.
    pub choice: Choice,
    /// The record it is about.
    pub record: Option<RecordId>,
    /// The username given with it.
    pub username: Option<String>,
}

/// Why a choice is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAChoice {
    /// The question has other choices.
    #[error("it cannot be chosen here; the choices are shown by `lockstep review show`")]
    NotOffered,
    /// Several records are concerned.
    #[error("several records are concerned: say which one with --record")]
    WhichRecord,
    /// The record is not one of those concerned.
    #[error("the record named is not one that the question is about")]
    OtherRecord,
    /// The choice is about no record.
    #[error("--record does not go with this choice")]
    NoRecord,
    /// A name must be given, a usable one, and only with the choice `name`.
    #[error("--username goes with the choice `name`, and must be a name without blanks of at most 256 bytes")]
    Username,
}

/// Longest username that can be given, in bytes.
const MAX_USERNAME: usize = 256;

/// Checks a choice against what can be chosen.
///
/// # Errors
/// Why it cannot be chosen.
pub fn settlement(
    choices: &[Choice],
    candidates: &[RecordId],
    choice: Choice,
    record: Option<RecordId>,
    username: Option<&str>,
) -> Result<Settlement, NotAChoice> {
    if !choices.contains(&choice) {
        return Err(NotAChoice::NotOffered);
    }
    let record = match (choice.names_record(), record, candidates) {
        (false, None, _) => None,
        (false, Some(_), _) => return Err(NotAChoice::NoRecord),
        (true, None, [only]) => Some(*only),
        (true, None, _) => return Err(NotAChoice::WhichRecord),
        (true, Some(named), _) if candidates.contains(&named) => Some(named),
        (true, Some(_), _) => return Err(NotAChoice::OtherRecord),
    };
    let username = match (choice, username.map(str::trim)) {
        (Choice::Name, Some(name)) if is_username(name) => Some(name.to_owned()),
        (Choice::Name, _) | (_, Some(_)) => return Err(NotAChoice::Username),
        (_, None) => None,
    };
    Ok(Settlement { choice, record, username })
}

fn is_username(name: &str) -> bool {
    let unfit = |c: char| c.is_whitespace() || c.is_control();
    !name.is_empty() && name.len() <= MAX_USERNAME && !name.contains(unfit)
}
