//! Expressions over the directory user (M11): CEL, read and checked when a rules file is saved, run for each user.
//!
//! CEL's grammar, precedence and escapes; of its types texts, whole numbers, true and false, and lists of texts. Read and
//! run here rather than by the `cel` crate, whose parser overflows a thread's stack on a dozen brackets and whose
//! evaluation knows no limit; the tests hold us against it. Bounded twice: source, size and depth when saved, the work
//! when run. So no expression, and no user, stops or slows down a decision (G-11, BI-55).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::attribute::{Attribute, Shape};
use crate::error::ErrorClass;
use crate::profile::Profile;

mod advice;
mod check;
mod date;
mod evaluate;
mod function;
mod syntax;
mod token;
mod value;

pub use function::{FUNCTIONS, Function};
pub use value::Type;

use check::Node;
use value::Value;

/// Longest source, in bytes.
pub const MAX_SOURCE: usize = 1024;
/// Nodes of a tree. A source of [`MAX_SOURCE`] could have four times as many.
pub const MAX_NODES: usize = 256;
/// How deep a tree may be: walks over it go as deep into the stack.
pub const MAX_DEPTH: usize = 32;
/// Work for one user: bytes made plus 16 for each step. A mapping of names, phones and addresses needs a few thousand.
pub const MAX_WORK: usize = 2 * 1024 * 1024;

/// An expression over the directory user, `user`, that was read and checked.
#[derive(Clone)]
pub struct Expression {
    source: String,
    node: Arc<Node>,
    gives: Type,
    lines: bool,
}

/// An expression that cannot be used, with the place of the fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading a field expression: {why} (at character {position})")]
pub struct BadExpression {
    /// Zero-based, in characters from the start of the expression.
    pub position: usize,
    /// What is wrong and what to write instead.
    pub why: String,
}

impl BadExpression {
    /// A person must change the expression.
    pub fn class(&self) -> ErrorClass {
        ErrorClass::Permanent
    }

    fn at(position: usize, why: impl Into<String>) -> Self {
        Self { position, why: why.into() }
    }
}

/// What an expression gives for one user.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A text, a number, true or false, or a list of texts. Not yet looked at for what cannot stand in a record.
    Value(Json),
    /// Entra has nothing there.
    Blank,
    /// Graph did not say anything about a property that counts: never a reason to write or to clear (G-09 in spirit).
    Unsaid,
}

impl Expression {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// [`BadExpression`] with the place of the fault (M11, BI-55).
    pub fn parse(source: &str) -> Result<Self, BadExpression> {
        let checked = check::check(&syntax::parse(source)?)?;
        let gives = match &checked.node {
            Node::Property(attribute) => type_of(attribute),
            _ => checked.gives,
        };
        Ok(Self { source: source.to_owned(), node: Arc::new(checked.node), gives, lines: checked.lines })
    }

    /// `user.<property>`.
    pub(crate) fn of_property(attribute: &'static Attribute) -> Self {
        let (source, lines) = (format!("user.{}", attribute.property), attribute.shape == Shape::Lines);
        Self { source, node: Arc::new(Node::Property(attribute)), gives: type_of(attribute), lines }
    }

    /// The property, for an expression that is nothing else but `user.<property>`.
    pub fn property(&self) -> Option<&'static str> {
        match *self.node {
            Node::Property(attribute) => Some(attribute.property),
            _ => None,
        }
    }

    /// Whether it may ask about the manager. The word alone counts: at worst somebody is read in vain.
    pub(crate) fn names_manager(&self) -> bool {
        self.source.contains("manager")
    }

    /// The kind of value it gives to a field.
    pub fn gives(&self) -> Type {
        self.gives
    }

    /// Its text may have several lines.
    pub fn has_lines(&self) -> bool {
        self.lines
    }

    /// What it gives for this user.
    ///
    /// # Errors
    /// Why it gives nothing, without any of the user's values: that field keeps what it has (G-11, G-27).
    pub fn evaluate(&self, profile: &Profile) -> Result<Answer, &'static str> {
        let ran = evaluate::run(&self.node, profile)?;
        if ran.unsaid {
            return Ok(Answer::Unsaid);
        }
        if ran.value.is_blank() {
            return Ok(Answer::Blank);
        }
        Ok(Answer::Value(match ran.value {
            Value::Text(text) => Json::String(text.into_owned()),
            Value::Number(number) => number.into(),
            Value::Flag(flag) => flag.into(),
            Value::List(items) => items.into_iter().map(|item| Json::String(item.into_owned())).collect(),
            Value::Null => Json::Null,
        }))
    }
}

/// What a property gives to a field as it is: of the phone numbers the first.
fn type_of(attribute: &Attribute) -> Type {
    match attribute.shape {
        Shape::Text | Shape::Lines | Shape::First => Type::Text,
        Shape::List => Type::List,
        Shape::Flag => Type::Flag,
    }
}

/// Two expressions are the same when they are written the same.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
