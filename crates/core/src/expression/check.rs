//! From the tree as written to one that can be run: every name known, every value of the kind that is asked for.

use super::BadExpression;
use super::advice::{unknown_function, unknown_property, usage};
use super::date;
use super::function::{self, Function, Run};
use super::syntax::{Ast, Form};
use super::value::Type;
use crate::attribute::{self, Attribute, Shape};

/// An expression that can be run.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Number(i64),
    Flag(bool),
    Null,
    Property(&'static Attribute),
    /// The text that `filter`, `map`, `exists` or `all` has at hand.
    Item,
    List(Vec<Self>),
    Index(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Negate(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    Conditional(Box<Self>, Box<Self>, Box<Self>),
    Call(&'static Function, Vec<Self>),
    Each(Each, Box<Self>, Box<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// What is done with each text of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    Filter,
    Map,
    Exists,
    All,
}

/// A checked tree and what it gives.
#[derive(Debug)]
pub(super) struct Checked {
    pub node: Node,
    pub gives: Type,
    /// It reads or writes text of several lines.
    pub lines: bool,
}

/// Checks a tree.
///
/// # Errors
/// The first name that is not known, or value of a kind that cannot stand where it does.
pub(super) fn check(tree: &Ast) -> Result<Checked, BadExpression> {
    let mut checker = Checker { item: None, lines: false };
    let (node, gives) = checker.node(tree)?;
    Ok(Checked { node, gives, lines: checker.lines })
}

struct Checker {
    /// The name that `filter`, `map`, `exists` or `all` gave to the text at hand.
    item: Option<String>,
    lines: bool,
}

type Typed = Result<(Node, Type), BadExpression>;

impl Checker {
    fn node(&mut self, tree: &Ast) -> Typed {
        match &tree.form {
            Form::Text(text) => {
                self.lines |= text.contains('\n');
                Ok((Node::Text(text.clone()), Type::Text))
            }
            Form::Number(number) => Ok((Node::Number(*number), Type::Number)),
            Form::Name(name) => self.name(tree.at, name),
            Form::Select(of, property) => self.property(of, tree.at, property),
            Form::Index(list, index) => {
                let list = self.typed(list, Type::List)?;
                let index = self.typed(index, Type::Number)?;
                Ok((Node::Index(Box::new(list), Box::new(index)), Type::Text))
            }
            Form::List(items) => {
                let items = items.iter().map(|item| self.typed(item, Type::Text)).collect::<Result<_, _>>()?;
                Ok((Node::List(items), Type::List))
            }
            Form::Unary("!", of) => Ok((Node::Not(Box::new(self.typed(of, Type::Flag)?)), Type::Flag)),
            Form::Unary(_, of) => Ok((Node::Negate(Box::new(self.typed(of, Type::Number)?)), Type::Number)),
            Form::Binary(operator, left, right) => self.binary(tree.at, operator, left, right),
            Form::Conditional(condition, then, otherwise) => {
                let condition = self.typed(condition, Type::Flag)?;
                let ((then, a), (otherwise, b)) = (self.node(then)?, self.node(otherwise)?);
                let gives = a.common(b).ok_or_else(|| {
                    BadExpression::at(tree.at, format!("both sides must be of one kind; here are {a} and {b}"))
                })?;
                Ok((Node::Conditional(Box::new(condition), Box::new(then), Box::new(otherwise)), gives))
            }
            Form::Call { name, arguments } => self.call(tree.at, name, arguments),
        }
    }

    /// A node that must give this kind.
    fn typed(&mut self, tree: &Ast, wanted: Type) -> Result<Node, BadExpression> {
        let (node, gives) = self.node(tree)?;
        if gives.fits(wanted) {
            return Ok(node);
        }
        let hint = match (gives, wanted) {
            (Type::List, Type::Text) => "; `first(…)` takes the first of a list, `join(…, \", \")` all of them",
            (Type::Number, Type::Text) => "; `string(…)` makes a text of a number",
            (Type::Text, Type::Flag) => "; write `has(…)` to ask whether there is a value",
            _ => "",
        };
        Err(BadExpression::at(tree.at, format!("this is {gives}, and {wanted} is needed here{hint}")))
    }

    fn name(&self, at: usize, name: &str) -> Typed {
        match name {
            "true" => Ok((Node::Flag(true), Type::Flag)),
            "false" => Ok((Node::Flag(false), Type::Flag)),
            "null" => Ok((Node::Null, Type::Null)),
            _ if self.item.as_deref() == Some(name) => Ok((Node::Item, Type::Text)),
            "user" => Err(BadExpression::at(at, "say which property of the user, e.g. `user.jobTitle`")),
            _ if attribute::lookup(name).is_some() => {
                Err(BadExpression::at(at, format!("unknown name; the user's property is `user.{name}`")))
            }
            _ => Err(BadExpression::at(
                at,
                format!("unknown name `{name}`; write `user.jobTitle` for a property, texts in quotes"),
            )),
        }
    }

    fn property(&mut self, of: &Ast, at: usize, property: &str) -> Typed {
        if self.is_manager(of) {
            return self.known_property(at, &format!("manager.{property}"));
        }
        if !self.is_user(of) {
            self.node(of)?;
            return Err(BadExpression::at(at, "only `user` has properties; a function has brackets, e.g. `.lower()`"));
        }
        self.known_property(at, property)
    }

    fn is_user(&self, tree: &Ast) -> bool {
        matches!(&tree.form, Form::Name(name) if name == "user" && self.item.as_deref() != Some("user"))
    }

    fn is_manager(&self, tree: &Ast) -> bool {
        matches!(&tree.form, Form::Select(of, name) if name == "manager" && self.is_user(of))
    }

    fn known_property(&mut self, at: usize, property: &str) -> Typed {
        let Some(attribute) = attribute::lookup(property) else {
            return Err(BadExpression::at(at, unknown_property(property)));
        };
        self.lines |= attribute.shape == Shape::Lines;
        let gives = match attribute.shape {
            Shape::Text | Shape::Lines => Type::Text,
            Shape::List | Shape::First => Type::List,
            Shape::Flag => Type::Flag,
        };
        Ok((Node::Property(attribute), gives))
    }

    fn binary(&mut self, at: usize, sign: &str, left: &Ast, right: &Ast) -> Typed {
        let operator = operator(sign);
        let both = |checker: &mut Self, wanted| Ok((checker.typed(left, wanted)?, checker.typed(right, wanted)?));
        let ((a, b), gives) = match operator {
            Operator::And | Operator::Or => (both(self, Type::Flag)?, Type::Flag),
            Operator::In => ((self.typed(left, Type::Text)?, self.typed(right, Type::List)?), Type::Flag),
            Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                (both(self, Type::Number)?, Type::Number)
            }
            Operator::Add => {
                let (pair, kind) = self.alike(at, left, right)?;
                if kind == Type::Flag {
                    return Err(BadExpression::at(at, "true and false cannot be added; `&&` and `||` combine them"));
                }
                (pair, if kind == Type::Null { Type::Text } else { kind })
            }
            Operator::Equal | Operator::NotEqual => (self.alike(at, left, right)?.0, Type::Flag),
            Operator::Less | Operator::LessEqual | Operator::Greater | Operator::GreaterEqual => {
                let (pair, kind) = self.alike(at, left, right)?;
                if !matches!(kind, Type::Text | Type::Number) {
                    return Err(BadExpression::at(at, "only texts and numbers are less or greater"));
                }
                (pair, Type::Flag)
            }
        };
        Ok((Node::Binary(operator, Box::new(a), Box::new(b)), gives))
    }

    /// Two operands of one kind.
    fn alike(&mut self, at: usize, left: &Ast, right: &Ast) -> Result<((Node, Node), Type), BadExpression> {
        let ((left, a), (right, b)) = (self.node(left)?, self.node(right)?);
        match a.common(b) {
            Some(kind) => Ok(((left, right), kind)),
            None => Err(BadExpression::at(at, format!("both sides must be of one kind; here are {a} and {b}"))),
        }
    }

    fn call(&mut self, at: usize, name: &str, arguments: &[Ast]) -> Typed {
        if let (Some(each), [list, item, body]) = (each(name), arguments) {
            return self.each(at, each, list, item, body);
        }
        let Some(function) = function::lookup(name) else {
            return Err(BadExpression::at(at, unknown_function(name)));
        };
        let nodes = match function.run {
            Run::FirstNonEmpty => self.texts_and_lists(arguments)?,
            Run::Has => arguments.iter().map(|one| Ok(self.node(one)?.0)).collect::<Result<Vec<_>, _>>()?,
            Run::Plain(_) | Run::Growing(..) if function.name == "size" => self.texts_and_lists(arguments)?,
            Run::Plain(_) | Run::Growing(..) => {
                let pairs = arguments.iter().zip(function.takes);
                pairs.map(|(one, wanted)| self.typed(one, *wanted)).collect::<Result<_, _>>()?
            }
        };
        let fits = match function.run {
            Run::FirstNonEmpty => !arguments.is_empty(),
            _ if function.takes.is_empty() => arguments.len() == 1,
            _ => (function.takes.len() - function.optional..=function.takes.len()).contains(&arguments.len()),
        };
        if !fits {
            return Err(BadExpression::at(at, format!("`{name}` is written `{}`", usage(function))));
        }
        if let ("date", [_, pattern]) = (name, arguments) {
            check_date_pattern(pattern)?;
        }
        Ok((Node::Call(function, nodes), function.gives))
    }

    fn texts_and_lists(&mut self, arguments: &[Ast]) -> Result<Vec<Node>, BadExpression> {
        let checked = arguments.iter().map(|argument| match self.node(argument)? {
            (node, Type::Text | Type::List | Type::Null) => Ok(node),
            (_, other) => {
                Err(BadExpression::at(argument.at, format!("this is {other}, and a text or a list is needed here")))
            }
        });
        checked.collect()
    }

    fn each(&mut self, at: usize, each: Each, list: &Ast, item: &Ast, body: &Ast) -> Typed {
        if self.item.is_some() {
            let why =
                "`filter`, `map`, `exists` and `all` cannot stand inside one another; write them one after the other";
            return Err(BadExpression::at(at, why));
        }
        let list = self.typed(list, Type::List)?;
        let item = match &item.form {
            Form::Name(name) if !matches!(name.as_str(), "user" | "true" | "false" | "null") => name.clone(),
            _ => {
                let why = "the first argument names the text at hand, e.g. `user.otherMails.filter(m, m != \"\")`";
                return Err(BadExpression::at(item.at, why));
            }
        };
        self.item = Some(item);
        let wanted = if each == Each::Map { Type::Text } else { Type::Flag };
        let body = self.typed(body, wanted)?;
        self.item = None;
        let gives = if matches!(each, Each::Filter | Each::Map) { Type::List } else { Type::Flag };
        Ok((Node::Each(each, Box::new(list), Box::new(body)), gives))
    }
}

fn operator(sign: &str) -> Operator {
    match sign {
        "&&" => Operator::And,
        "||" => Operator::Or,
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        "<" => Operator::Less,
        "<=" => Operator::LessEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterEqual,
        "in" => Operator::In,
        "+" => Operator::Add,
        "-" => Operator::Subtract,
        "*" => Operator::Multiply,
        "/" => Operator::Divide,
        _ => Operator::Modulo,
    }
}

fn each(name: &str) -> Option<Each> {
    match name {
        "filter" => Some(Each::Filter),
        "map" => Some(Each::Map),
        "exists" => Some(Each::Exists),
        "all" => Some(Each::All),
        _ => None,
    }
}

/// A pattern that is made while the expression runs could not be refused when it is saved.
fn check_date_pattern(pattern: &Ast) -> Result<(), BadExpression> {
    let Form::Text(text) = &pattern.form else {
        return Err(BadExpression::at(pattern.at, "a date's pattern stands in quotes, e.g. `\"%d.%m.%Y\"`"));
    };
    date::check_pattern(text).map_err(|why| BadExpression::at(pattern.at, why))
}
