//! From words to a tree, with CEL's precedence. Everything that could make a tree costly is refused here: its source, its
//! size and its depth are bounded, so that no walk over it can run out of stack.

use super::token::{Token, Word, tokens};
use super::{BadExpression, MAX_DEPTH, MAX_NODES, MAX_SOURCE};

/// One node of the tree as written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ast {
    /// Where it stands, in characters.
    pub at: usize,
    /// The longest way down from here, this node included.
    depth: usize,
    pub form: Form,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Text(String),
    Number(i64),
    Name(String),
    /// `of.name`; the place is the name's.
    Select(Box<Ast>, String),
    /// `of[index]`
    Index(Box<Ast>, Box<Ast>),
    /// `name(…)`, or `receiver.name(…)` with the receiver as the first argument.
    Call {
        name: String,
        arguments: Vec<Ast>,
    },
    List(Vec<Ast>),
    Unary(&'static str, Box<Ast>),
    Binary(&'static str, Box<Ast>, Box<Ast>),
    Conditional(Box<Ast>, Box<Ast>, Box<Ast>),
}

/// Reads an expression.
///
/// # Errors
/// The first thing that CEL does not allow, or that is beyond our bounds.
pub(super) fn parse(source: &str) -> Result<Ast, BadExpression> {
    if source.len() > MAX_SOURCE {
        return Err(BadExpression::at(0, format!("an expression has at most {MAX_SOURCE} bytes")));
    }
    let mut parser = Parser { tokens: tokens(source)?, next: 0, nodes: 0, nesting: 0 };
    let tree = parser.expression()?;
    match parser.peek() {
        Word::End => Ok(tree),
        _ => Err(parser.unexpected("the end of the expression, or an operator")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    nodes: usize,
    nesting: usize,
}

/// Operators that stand between two operands, by how tightly they bind.
const LEVELS: [&[&str]; 5] =
    [&["||"], &["&&"], &["==", "!=", "<", "<=", ">", ">=", "in"], &["+", "-"], &["*", "/", "%"]];

impl Parser {
    fn peek(&self) -> &Word {
        self.tokens.get(self.next).map_or(&Word::End, |token| &token.word)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |token| token.at)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Word::Sign(found) if *found == sign);
        if there {
            self.next += 1;
        }
        there
    }

    fn expect(&mut self, sign: &str) -> Result<(), BadExpression> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> BadExpression {
        let found = match self.peek() {
            Word::End => "the end".to_owned(),
            Word::Sign(sign) => format!("`{sign}`"),
            Word::Name(name) => format!("`{name}`"),
            Word::Text(_) => "a text".to_owned(),
            Word::Number(number) => number.to_string(),
        };
        BadExpression::at(self.at(), format!("found {found}, expected {wanted}"))
    }

    /// Every node is made here, so that no tree can outgrow the bounds.
    fn node(&mut self, at: usize, form: Form) -> Result<Ast, BadExpression> {
        let below = match &form {
            Form::Text(_) | Form::Number(_) | Form::Name(_) => 0,
            Form::Select(of, _) | Form::Unary(_, of) => of.depth,
            Form::Index(a, b) | Form::Binary(_, a, b) => a.depth.max(b.depth),
            Form::Conditional(a, b, c) => a.depth.max(b.depth).max(c.depth),
            Form::Call { arguments: items, .. } | Form::List(items) => {
                items.iter().map(|item| item.depth).max().unwrap_or(0)
            }
        };
        self.nodes += 1;
        if self.nodes > MAX_NODES || below >= MAX_DEPTH {
            return Err(BadExpression::at(at, "the expression is too large from here on; split it into two fields"));
        }
        Ok(Ast { at, depth: below + 1, form })
    }

    /// A conditional, or anything that binds tighter.
    fn expression(&mut self) -> Result<Ast, BadExpression> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return Err(BadExpression::at(self.at(), format!("nested deeper than {MAX_DEPTH}")));
        }
        let condition = self.binary(0)?;
        let at = self.at();
        let tree = if self.takes("?") {
            let then = self.binary(0)?;
            self.expect(":")?;
            let otherwise = self.expression()?;
            self.node(at, Form::Conditional(Box::new(condition), Box::new(then), Box::new(otherwise)))?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(tree)
    }

    /// Operators that bind at least as tightly as this level, grouped from the left.
    fn binary(&mut self, loosest: usize) -> Result<Ast, BadExpression> {
        let mut left = self.unary()?;
        while let Some((level, operator)) = self.operator().filter(|(level, _)| *level >= loosest) {
            let at = self.at();
            self.next += 1;
            let right = self.binary(level + 1)?;
            left = self.node(at, Form::Binary(operator, Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(usize, &'static str)> {
        let found: &str = match self.peek() {
            Word::Sign(sign) => sign,
            Word::Name(name) => name,
            _ => return None,
        };
        let at_level = |(level, operators): (usize, &&[&'static str])| {
            operators.iter().find(|operator| **operator == found).map(|operator| (level, *operator))
        };
        LEVELS.iter().enumerate().find_map(at_level)
    }

    /// `!` and `-`, any number of one of them.
    fn unary(&mut self) -> Result<Ast, BadExpression> {
        let mut places = Vec::new();
        let operator = ["!", "-"].into_iter().find(|operator| matches!(self.peek(), Word::Sign(s) if s == operator));
        let Some(operator) = operator else { return self.member() };
        while matches!(self.peek(), Word::Sign(sign) if *sign == operator) {
            places.push(self.at());
            self.next += 1;
        }
        let mut tree = self.member()?;
        for at in places.into_iter().rev() {
            tree = self.node(at, Form::Unary(operator, Box::new(tree)))?;
        }
        Ok(tree)
    }

    /// A value with `.name`, `.name(…)` and `[…]` after it.
    fn member(&mut self) -> Result<Ast, BadExpression> {
        let mut tree = self.primary()?;
        loop {
            let at = self.at();
            if self.takes("[") {
                let index = self.expression()?;
                self.expect("]")?;
                tree = self.node(at, Form::Index(Box::new(tree), Box::new(index)))?;
            } else if self.takes(".") {
                let at = self.at();
                let name = self.name("a name after the dot")?;
                let form = if self.takes("(") {
                    let mut arguments = vec![tree];
                    arguments.extend(self.items(")")?);
                    Form::Call { name, arguments }
                } else {
                    Form::Select(Box::new(tree), name)
                };
                tree = self.node(at, form)?;
            } else {
                return Ok(tree);
            }
        }
    }

    fn primary(&mut self) -> Result<Ast, BadExpression> {
        let at = self.at();
        let form = match self.peek().clone() {
            Word::Text(text) => Form::Text(text),
            Word::Number(number) => Form::Number(number),
            Word::Name(name) if name != "in" => Form::Name(name),
            Word::Sign("(") => {
                self.next += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Word::Sign("[") => {
                self.next += 1;
                let items = self.items("]")?;
                return self.node(at, Form::List(items));
            }
            Word::Sign("{") => {
                let why = "an expression gives a text, a list of texts, a whole number or true and false; no maps";
                return Err(BadExpression::at(at, why));
            }
            _ => return Err(self.unexpected("a value")),
        };
        self.next += 1;
        match form {
            Form::Name(name) if self.takes("(") => {
                let arguments = self.items(")")?;
                self.node(at, Form::Call { name, arguments })
            }
            form => self.node(at, form),
        }
    }

    /// Up to and with the closing bracket.
    fn items(&mut self, close: &str) -> Result<Vec<Ast>, BadExpression> {
        let mut items = Vec::new();
        while !self.takes(close) {
            if !items.is_empty() {
                self.expect(",")?;
                // CEL allows a comma before the closing bracket of a list.
                if close == "]" && self.takes(close) {
                    break;
                }
            }
            items.push(self.expression()?);
        }
        Ok(items)
    }

    fn name(&mut self, wanted: &str) -> Result<String, BadExpression> {
        match self.peek().clone() {
            Word::Name(name) => {
                self.next += 1;
                Ok(name)
            }
            _ => Err(self.unexpected(wanted)),
        }
    }
}
