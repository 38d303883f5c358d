//! `$filter`, as far as Graph's identity part answers it: equality, `in`, `any`, `startswith`,
//! joined by `and` and `or`.

use serde_json::Value;
use uuid::Uuid;

use crate::directory::Seen;
use crate::graph::answer::Failure;

/// Graph takes at most 15 comparisons in one filter.
const MAX_COMPARISONS: usize = 15;

/// A parsed filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Filter {
    Equal(String, Value),
    In(String, Vec<Value>),
    Any(String, String),
    StartsWith(String, String),
    All(Vec<Filter>),
    Some(Vec<Filter>),
}

impl Filter {
    /// Reads a filter of at most 15 comparisons.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        Self::parse_up_to(text, MAX_COMPARISONS)
    }

    /// Reads a filter of at most this many comparisons.
    pub fn parse_up_to(text: &str, limit: usize) -> Result<Self, Failure> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens, at: 0 };
        let filter = parser.some()?;
        if parser.at < tokens.len() {
            return Err(unsupported());
        }
        if filter.comparisons() > limit {
            return Err(Failure::unsupported(format!(
                "Too many child clauses specified in search filter expression containing 'OR' operators: {}. Max allowed: {limit}.",
                filter.comparisons()
            )));
        }
        Ok(filter)
    }

    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        match self {
            Self::Equal(field, wanted) => equal(&field_of(seen, field), wanted),
            Self::In(field, wanted) => wanted.iter().any(|wanted| equal(&field_of(seen, field), wanted)),
            Self::Any(field, wanted) => seen.properties.texts(field).any(|text| text.eq_ignore_ascii_case(wanted)),
            Self::StartsWith(field, start) => {
                let start = start.to_lowercase();
                field_of(seen, field).as_str().is_some_and(|text| text.to_lowercase().starts_with(&start))
            }
            Self::All(parts) => parts.iter().all(|part| part.matches(seen)),
            Self::Some(parts) => parts.iter().any(|part| part.matches(seen)),
        }
    }

    /// The ids asked for, if the filter asks by id alone.
    pub fn ids(&self) -> Option<Vec<Uuid>> {
        let id = |value: &Value| value.as_str().and_then(|text| Uuid::parse_str(text).ok());
        match self {
            Self::Equal(field, wanted) if field == "id" => Some(id(wanted).into_iter().collect()),
            Self::In(field, wanted) if field == "id" => Some(wanted.iter().filter_map(id).collect()),
            Self::Some(parts) => Some(parts.iter().map(Self::ids).collect::<Option<Vec<_>>>()?.concat()),
            _ => None,
        }
    }

    /// The addresses asked for, if the filter asks by address alone, so that an index can answer.
    pub fn addresses(&self) -> Option<Vec<&str>> {
        let indexed = |field: &str| ["mail", "userPrincipalName", "proxyAddresses"].contains(&field);
        match self {
            Self::Equal(field, wanted) if indexed(field) => Some(vec![wanted.as_str()?]),
            Self::In(field, wanted) if indexed(field) => wanted.iter().map(Value::as_str).collect(),
            Self::Any(field, wanted) if indexed(field) => Some(vec![wanted]),
            Self::Some(parts) => Some(parts.iter().map(Self::addresses).collect::<Option<Vec<_>>>()?.concat()),
            _ => None,
        }
    }

    fn comparisons(&self) -> usize {
        match self {
            Self::All(parts) | Self::Some(parts) => parts.iter().map(Self::comparisons).sum(),
            Self::In(_, wanted) => wanted.len(),
            _ => 1,
        }
    }

    /// The properties the filter looks at.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::All(parts) | Self::Some(parts) => parts.iter().flat_map(Self::fields).collect(),
            Self::Equal(field, _) | Self::In(field, _) | Self::Any(field, _) | Self::StartsWith(field, _) => {
                vec![field]
            }
        }
    }
}

fn field_of(seen: &Seen<'_>, field: &str) -> Value {
    match field {
        "id" => Value::String(seen.id.to_string()),
        field => seen.properties.get(field).cloned().unwrap_or(Value::Null),
    }
}

fn equal(have: &Value, wanted: &Value) -> bool {
    match (have.as_str(), wanted.as_str()) {
        (Some(have), Some(wanted)) => have.eq_ignore_ascii_case(wanted),
        _ => have == wanted,
    }
}

fn unsupported() -> Failure {
    Failure::unsupported("Unsupported or invalid query filter clause specified.")
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

/// Words, quoted texts (`''` is a quote inside one), and the marks `( ) , / :`.
fn tokens(text: &str) -> Result<Vec<Token>, Failure> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(&next) = rest.peek() {
        match next {
            ' ' => {
                rest.next();
            }
            '(' | ')' | ',' | '/' | ':' => tokens.extend(rest.next().map(Token::Mark)),
            '\'' => {
                rest.next();
                tokens.push(Token::Text(quoted(&mut rest)?));
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = rest.next_if(|c| !" (),/:'".contains(*c)) {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

fn quoted(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, Failure> {
    let mut text = String::new();
    loop {
        match rest.next() {
            Some('\'') if rest.next_if_eq(&'\'').is_some() => text.push('\''),
            Some('\'') => return Ok(text),
            Some(c) => text.push(c),
            None => return Err(unsupported()),
        }
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn some(&mut self) -> Result<Filter, Failure> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Some(parts) })
    }

    fn all(&mut self) -> Result<Filter, Failure> {
        let mut parts = vec![self.one()?];
        while self.word("and") {
            parts.push(self.one()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
    }

    fn one(&mut self) -> Result<Filter, Failure> {
        if self.mark('(') {
            let inner = self.some()?;
            self.expect(')')?;
            return Ok(inner);
        }
        if self.word("startswith") {
            self.expect('(')?;
            let field = self.name()?;
            self.expect(',')?;
            let start = self.text()?;
            self.expect(')')?;
            return Ok(Filter::StartsWith(field, start));
        }
        let field = self.name()?;
        if self.mark('/') {
            return self.any(field);
        }
        if self.word("eq") {
            return Ok(Filter::Equal(field, self.literal()?));
        }
        if self.word("in") {
            return self.list(field);
        }
        Err(unsupported())
    }

    /// `any(p:p eq 'x')`, after `field/`.
    fn any(&mut self, field: String) -> Result<Filter, Failure> {
        if !self.word("any") {
            return Err(unsupported());
        }
        self.expect('(')?;
        let variable = self.name()?;
        self.expect(':')?;
        if !self.word(&variable) || !self.word("eq") {
            return Err(unsupported());
        }
        let wanted = self.text()?;
        self.expect(')')?;
        Ok(Filter::Any(field, wanted))
    }

    fn list(&mut self, field: String) -> Result<Filter, Failure> {
        self.expect('(')?;
        let mut wanted = vec![self.literal()?];
        while self.mark(',') {
            wanted.push(self.literal()?);
        }
        self.expect(')')?;
        Ok(Filter::In(field, wanted))
    }

    fn literal(&mut self) -> Result<Value, Failure> {
        for (word, value) in [("true", Value::Bool(true)), ("false", Value::Bool(false)), ("null", Value::Null)] {
            if self.word(word) {
                return Ok(value);
            }
        }
        self.text().map(Value::String)
    }

    fn word(&mut self, word: &str) -> bool {
        let here = matches!(self.tokens.get(self.at), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(here);
        here
    }

    fn mark(&mut self, mark: char) -> bool {
        let here = self.tokens.get(self.at) == Some(&Token::Mark(mark));
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, mark: char) -> Result<(), Failure> {
        self.mark(mark).then_some(()).ok_or_else(unsupported)
    }

    fn name(&mut self) -> Result<String, Failure> {
        match self.tokens.get(self.at) {
            Some(Token::Word(name)) => {
                self.at += 1;
                Ok(name.clone())
            }
            _ => Err(unsupported()),
        }
    }

    fn text(&mut self) -> Result<String, Failure> {
        match self.tokens.get(self.at) {
            Some(Token::Text(text)) => {
                self.at += 1;
                Ok(text.clone())
            }
            _ => Err(unsupported()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_for_everyone_with_an_address_parses() {
        let filter = Filter::parse(
            "mail eq 'a@x.example' or userPrincipalName eq 'a@x.example' or proxyAddresses/any(p:p eq 'smtp:a@x.example')",
        )
        .expect("parses");
        assert_eq!(filter.addresses().map(|found| found.len()), Some(3));
        assert_eq!(filter.ids(), None);
    }

    #[test]
    fn quotes_inside_a_text_are_doubled() {
        let filter = Filter::parse("displayName eq 'O''Brien'").expect("parses");
        assert_eq!(filter, Filter::Equal("displayName".to_owned(), Value::String("O'Brien".to_owned())));
    }

    #[test]
    fn more_than_15_ids_are_refused() {
        let ids = |count: u128| {
            let ids: Vec<_> = (0..count).map(|id| format!("'{}'", Uuid::from_u128(id))).collect();
            format!("id in ({})", ids.join(","))
        };
        assert_eq!(Filter::parse(&ids(15)).ok().and_then(|filter| filter.ids()).map(|ids| ids.len()), Some(15));
        assert!(Filter::parse(&ids(16)).is_err());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in
            ["mail ne 'x'", "mail eq 'x", "endswith(mail,'x')", "mail eq 'x' mail eq 'y'", "", "not (mail eq 'x')"]
        {
            assert!(Filter::parse(text).is_err(), "{text}");
        }
    }
}
