//! What an expression works on.

use std::borrow::Cow;
use std::fmt;

/// The kind of a value. Checked when the expression is read, so that nothing of the wrong kind is found while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// A text; what Entra leaves empty is the empty text.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// A list of texts.
    List,
    /// `null`: fits everywhere but among numbers, and is blank.
    Null,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Number => "a whole number",
            Self::Flag => "true or false",
            Self::List => "a list of texts",
            Self::Null => "null",
        })
    }
}

impl Type {
    /// The kind that both can stand for.
    pub(super) fn common(self, other: Self) -> Option<Self> {
        match (self, other) {
            (a, b) if a == b => Some(a),
            (Self::Null, some) | (some, Self::Null) => Some(some),
            _ => None,
        }
    }

    /// Whether a value of this kind can stand where `wanted` is asked for.
    pub(super) fn fits(self, wanted: Self) -> bool {
        self == wanted || (self == Self::Null && wanted != Self::Number)
    }
}

/// A value; texts are borrowed from the profile as long as they are as Entra has them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Number(i64),
    Flag(bool),
    List(Vec<Cow<'a, str>>),
    Null,
}

/// Why an expression gave nothing for this user; without any value of theirs (G-27).
pub(super) type Fault = &'static str;

/// Never seen where the check did its work; a fault of the field and no panic if it did not.
const UNFIT: Fault = "the expression met a value of another kind than it was checked for";

impl<'a> Value<'a> {
    pub fn text(self) -> Result<Cow<'a, str>, Fault> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Null => Ok(Cow::Borrowed("")),
            _ => Err(UNFIT),
        }
    }

    pub fn number(self) -> Result<i64, Fault> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Null => Err("the expression counts with a number that is not there"),
            _ => Err(UNFIT),
        }
    }

    pub fn flag(&self) -> Result<bool, Fault> {
        match self {
            Self::Flag(flag) => Ok(*flag),
            Self::Null => Ok(false),
            _ => Err(UNFIT),
        }
    }

    pub fn list(self) -> Result<Vec<Cow<'a, str>>, Fault> {
        match self {
            Self::List(items) => Ok(items),
            Self::Null => Ok(Vec::new()),
            _ => Err(UNFIT),
        }
    }

    /// `null`, an empty or blank text, an empty list.
    pub fn is_blank(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.trim().is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Number(_) | Self::Flag(_) => false,
        }
    }

    /// What holding it costs, in bytes: the unit of [`super::MAX_WORK`].
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(items) => items.iter().map(|item| item.len() + 8).sum(),
            Self::Number(_) | Self::Flag(_) | Self::Null => 0,
        }
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}
