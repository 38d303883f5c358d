//! Runs a checked expression over one user. Total: it ends in a value or in a fault of this one field (G-11), after a
//! bounded amount of work, whatever the user holds.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::MAX_WORK;
use super::check::{Each, Node, Operator};
use super::function::Run;
use super::value::{Fault, Value};
use crate::attribute::Attribute;
use crate::profile::Profile;

/// What came of it.
pub(super) struct Ran<'a> {
    pub value: Value<'a>,
    /// Graph had not said anything about a property that was looked at: the value is not what Entra says.
    pub unsaid: bool,
}

pub(super) fn run<'a>(node: &'a Node, profile: &'a Profile) -> Result<Ran<'a>, Fault> {
    let mut machine = Machine { profile, item: Cow::Borrowed(""), work: 0, unsaid: false };
    let value = machine.value(node)?;
    Ok(Ran { value, unsaid: machine.unsaid })
}

struct Machine<'a> {
    profile: &'a Profile,
    /// The text that `filter`, `map`, `exists` or `all` has at hand.
    item: Cow<'a, str>,
    work: usize,
    unsaid: bool,
}

/// The work of one step besides the bytes it makes.
const STEP: usize = 16;

impl<'a> Machine<'a> {
    /// Every step and every byte made is paid for here, before it is done where it could be much.
    fn pay(&mut self, work: usize) -> Result<(), Fault> {
        self.work = self.work.saturating_add(work);
        if self.work > MAX_WORK { Err("the expression does too much with this user's values") } else { Ok(()) }
    }

    fn value(&mut self, node: &'a Node) -> Result<Value<'a>, Fault> {
        self.pay(STEP)?;
        let value = match node {
            Node::Text(text) => Value::Text(Cow::Borrowed(text)),
            Node::Number(number) => Value::Number(*number),
            Node::Flag(flag) => Value::Flag(*flag),
            Node::Null => Value::Null,
            Node::Property(attribute) => self.property(attribute)?,
            Node::Item => Value::Text(self.item.clone()),
            Node::List(items) => {
                Value::List(items.iter().map(|item| self.value(item)?.text()).collect::<Result<_, _>>()?)
            }
            Node::Index(list, index) => self.index(list, index)?,
            Node::Not(of) => Value::Flag(!self.value(of)?.flag()?),
            Node::Negate(of) => Value::Number(self.value(of)?.number()?.checked_neg().ok_or(OVERFLOW)?),
            Node::Binary(operator, left, right) => self.binary(*operator, left, right)?,
            Node::Conditional(condition, then, otherwise) => {
                let taken = if self.value(condition)?.flag()? { then } else { otherwise };
                self.value(taken)?
            }
            Node::Call(function, arguments) => self.call(function.run, arguments)?,
            Node::Each(each, list, body) => self.each(*each, list, body)?,
        };
        self.pay(value.size())?;
        Ok(value)
    }

    /// Texts come trimmed, blank entries of a list are left out.
    fn property(&mut self, attribute: &Attribute) -> Result<Value<'a>, Fault> {
        if self.profile.dropped.contains(attribute.property) {
            return Err("the value of a property is longer than is kept, or of another shape");
        }
        let Some(value) = self.profile.properties.get(attribute.property) else {
            self.unsaid = true;
            return Ok(Value::Null);
        };
        match value {
            serde_json::Value::Null => Ok(Value::Null),
            serde_json::Value::Bool(flag) => Ok(Value::Flag(*flag)),
            serde_json::Value::String(text) => Ok(Value::Text(Cow::Borrowed(text.trim()))),
            serde_json::Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(str::trim).ok_or(OTHER_KIND));
                let kept = texts.filter(|text| *text != Ok("")).map(|text| text.map(Cow::Borrowed));
                Ok(Value::List(kept.collect::<Result<_, _>>()?))
            }
            serde_json::Value::Number(_) | serde_json::Value::Object(_) => Err(OTHER_KIND),
        }
    }

    /// A place that is not there is blank.
    fn index(&mut self, list: &'a Node, index: &'a Node) -> Result<Value<'a>, Fault> {
        let items = self.value(list)?.list()?;
        let place = usize::try_from(self.value(index)?.number()?).ok();
        let found = place.and_then(|place| items.into_iter().nth(place));
        Ok(found.map_or(Value::Null, Value::Text))
    }

    fn binary(&mut self, operator: Operator, left: &'a Node, right: &'a Node) -> Result<Value<'a>, Fault> {
        if let Operator::And | Operator::Or = operator {
            return self.either(operator == Operator::Or, left, right).map(Value::Flag);
        }
        let (a, b) = (self.value(left)?, self.value(right)?);
        self.pay(a.size() + b.size())?;
        let value = match operator {
            Operator::Equal => Value::Flag(same(a, b)),
            Operator::NotEqual => Value::Flag(!same(a, b)),
            Operator::In => {
                let (text, list) = (a.text()?, b.list()?);
                Value::Flag(list.contains(&text))
            }
            Operator::Less => Value::Flag(ordered(a, b)? == Ordering::Less),
            Operator::LessEqual => Value::Flag(ordered(a, b)? != Ordering::Greater),
            Operator::Greater => Value::Flag(ordered(a, b)? == Ordering::Greater),
            Operator::GreaterEqual => Value::Flag(ordered(a, b)? != Ordering::Less),
            Operator::Add => add(a, b)?,
            _ => Value::Number(count(operator, a.number()?, b.number()?)?),
        };
        Ok(value)
    }

    /// As CEL has it: what decides alone decides, also beside a fault on its left.
    fn either(&mut self, decides: bool, left: &'a Node, right: &'a Node) -> Result<bool, Fault> {
        let left = self.value(left).and_then(|value| value.flag());
        if left == Ok(decides) {
            return Ok(decides);
        }
        let right = self.value(right)?.flag()?;
        if right == decides { Ok(decides) } else { left }
    }

    fn call(&mut self, run: Run, arguments: &'a [Node]) -> Result<Value<'a>, Fault> {
        match run {
            Run::FirstNonEmpty => self.first_non_empty(arguments),
            Run::Has => {
                let value = arguments.first().map_or(Ok(Value::Null), |argument| self.value(argument))?;
                Ok(Value::Flag(!value.is_blank()))
            }
            Run::Plain(run) => {
                let values = self.values(arguments)?;
                run(&values)
            }
            Run::Growing(size, run) => {
                let values = self.values(arguments)?;
                self.pay(size(&values))?;
                run(&values)
            }
        }
    }

    fn values(&mut self, arguments: &'a [Node]) -> Result<Vec<Value<'a>>, Fault> {
        arguments.iter().map(|argument| self.value(argument)).collect()
    }

    /// What stands after the first one that is not blank is not looked at: its faults do not matter then.
    fn first_non_empty(&mut self, arguments: &'a [Node]) -> Result<Value<'a>, Fault> {
        for argument in arguments {
            let text = match self.value(argument)? {
                Value::List(items) => items.into_iter().find(|item| !item.trim().is_empty()),
                value => Some(value.text()?),
            };
            if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
                return Ok(Value::Text(text));
            }
        }
        Ok(Value::Null)
    }

    fn each(&mut self, each: Each, list: &'a Node, body: &'a Node) -> Result<Value<'a>, Fault> {
        let items = self.value(list)?.list()?;
        match each {
            Each::Exists => return self.any(true, items, body).map(Value::Flag),
            Each::All => return self.any(false, items, body).map(Value::Flag),
            Each::Map | Each::Filter => {}
        }
        let mut kept = Vec::new();
        for item in items {
            self.item = item.clone();
            let value = self.value(body)?;
            match each {
                Each::Map => kept.push(value.text()?),
                _ if value.flag()? => kept.push(item),
                _ => {}
            }
        }
        Ok(Value::List(kept))
    }

    /// `exists` is a row of `||`, `all` one of `&&`: see [`Self::either`].
    fn any(&mut self, decides: bool, items: Vec<Cow<'a, str>>, body: &'a Node) -> Result<bool, Fault> {
        let mut undecided = Ok(!decides);
        for item in items {
            self.item = item;
            match self.value(body).and_then(|value| value.flag()) {
                Ok(flag) if flag == decides => return Ok(decides),
                Ok(_) => {}
                Err(fault) => undecided = Err(fault),
            }
        }
        undecided
    }
}

const OVERFLOW: Fault = "the expression counts beyond 64 bits";
const OTHER_KIND: Fault = "the value is not of the kind this property has";

/// What is blank is the same as `null`, whatever its kind.
fn same(a: Value<'_>, b: Value<'_>) -> bool {
    match (&a, &b) {
        (Value::Null, other) | (other, Value::Null) => other.is_blank(),
        _ => a == b,
    }
}

fn ordered(a: Value<'_>, b: Value<'_>) -> Result<Ordering, Fault> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => Ok(a.cmp(&b)),
        (a, b) => Ok(a.text()?.cmp(&b.text()?)),
    }
}

fn add<'a>(a: Value<'a>, b: Value<'a>) -> Result<Value<'a>, Fault> {
    match (a, b) {
        (Value::Number(a), b) => Ok(Value::Number(a.checked_add(b.number()?).ok_or(OVERFLOW)?)),
        (Value::List(mut a), b) => {
            a.extend(b.list()?);
            Ok(Value::List(a))
        }
        (Value::Null, Value::List(b)) => Ok(Value::List(b)),
        (a, b) => Ok(Value::from(format!("{}{}", a.text()?, b.text()?))),
    }
}

fn count(operator: Operator, a: i64, b: i64) -> Result<i64, Fault> {
    let counted = match operator {
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide | Operator::Modulo if b == 0 => return Err("the expression divides by zero"),
        Operator::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    counted.ok_or(OVERFLOW)
}
