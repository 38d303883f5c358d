//! The words of an expression. CEL's own, as far as texts, whole numbers, yes and no are concerned.

use super::BadExpression;

/// One word and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    /// In characters from the start of the expression.
    pub at: usize,
    pub word: Word,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Name(String),
    Text(String),
    Number(i64),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longest first, so that `<=` is not read as `<`.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")", "[", "]", ",", ".",
    "{", "}",
];

/// Words that CEL keeps for later.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

/// The words of `source`, ending with [`Word::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, BadExpression> {
    let mut reader = Reader { chars: source.chars().collect(), at: 0 };
    let mut tokens = Vec::new();
    loop {
        reader.skip_blanks();
        let at = reader.at;
        let word = reader.word()?;
        let ended = word == Word::End;
        tokens.push(Token { at, word });
        if ended {
            return Ok(tokens);
        }
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn starts_with(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, c)| self.peek(ahead) == Some(c))
    }

    fn take_while(&mut self, fits: impl Fn(char) -> bool) -> String {
        let taken: String = self.chars.iter().skip(self.at).copied().take_while(|c| fits(*c)).collect();
        self.at += taken.chars().count();
        taken
    }

    /// Blanks, line ends and `// comments`.
    fn skip_blanks(&mut self) {
        loop {
            self.take_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}'));
            if !self.starts_with("//") {
                return;
            }
            self.take_while(|c| c != '\n');
        }
    }

    fn word(&mut self) -> Result<Word, BadExpression> {
        let Some(first) = self.peek(0) else { return Ok(Word::End) };
        if let Some(raw) = self.opens_text()? {
            return self.text(raw).map(Word::Text);
        }
        if first.is_ascii_digit() {
            return self.number().map(Word::Number);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            return self.name().map(Word::Name);
        }
        match SIGNS.iter().find(|sign| self.starts_with(sign)) {
            Some(sign) => {
                self.at += sign.len();
                Ok(Word::Sign(sign))
            }
            None => Err(BadExpression::at(self.at, "this character means nothing here; texts stand in quotes")),
        }
    }

    fn name(&mut self) -> Result<String, BadExpression> {
        let at = self.at;
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        if RESERVED.contains(&name.as_str()) {
            return Err(BadExpression::at(at, format!("`{name}` is a word that CEL keeps for itself")));
        }
        Ok(name)
    }

    fn number(&mut self) -> Result<i64, BadExpression> {
        let at = self.at;
        let written = self.take_while(|c| c.is_ascii_alphanumeric());
        let fraction = self.peek(0) == Some('.') && self.peek(1).is_some_and(|c| c.is_ascii_digit());
        let number = match written.strip_prefix("0x").or(written.strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16),
            None => written.parse(),
        };
        match number {
            Ok(number) if !fraction => Ok(number),
            _ => Err(BadExpression::at(at, "numbers are whole numbers that fit into 64 bits, e.g. `10`")),
        }
    }

    /// Whether a text starts here, and if so whether a raw one (`r"…"`, without escapes). Goes past the prefix.
    fn opens_text(&mut self) -> Result<Option<bool>, BadExpression> {
        let is_quote = |c: Option<char>| matches!(c, Some('\'' | '"'));
        if is_quote(self.peek(0)) {
            return Ok(Some(false));
        }
        let prefix: String = self.chars.iter().skip(self.at).copied().take_while(char::is_ascii_alphabetic).collect();
        if !is_quote(self.peek(prefix.len())) || !["r", "b", "br", "rb"].contains(&prefix.to_lowercase().as_str()) {
            return Ok(None);
        }
        if prefix.to_lowercase().contains('b') {
            return Err(BadExpression::at(self.at, "an expression works on texts, not on bytes; remove the `b`"));
        }
        self.at += 1;
        Ok(Some(true))
    }

    fn text(&mut self, raw: bool) -> Result<String, BadExpression> {
        let opened_at = self.at;
        let quote = self.peek(0).unwrap_or('"');
        let long = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        let delimiter: String = std::iter::repeat_n(quote, if long { 3 } else { 1 }).collect();
        self.at += delimiter.len();
        let mut text = String::new();
        loop {
            match self.peek(0) {
                _ if self.starts_with(&delimiter) => {
                    self.at += delimiter.len();
                    return Ok(text);
                }
                Some('\\') if !raw => text.push(self.escape()?),
                Some('\n' | '\r') if !long => break,
                Some(c) => {
                    text.push(c);
                    self.at += 1;
                }
                None => break,
            }
        }
        Err(BadExpression::at(opened_at, "this text is not closed; write the same quote at its end"))
    }

    /// One escape sequence; the backslash stands here.
    fn escape(&mut self) -> Result<char, BadExpression> {
        let at = self.at;
        let unknown = || BadExpression::at(at, "unknown escape; a backslash itself is written `\\\\`");
        let kind = self.peek(1).ok_or_else(unknown)?;
        self.at += 2;
        let (digits, radix) = match kind {
            'x' | 'X' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='3' => {
                self.at -= 1;
                (3, 8)
            }
            other => return simple_escape(other).ok_or_else(unknown),
        };
        let written: String = self.chars.iter().skip(self.at).take(digits).collect();
        self.at += digits;
        let all_digits = written.len() == digits && written.chars().all(|c| c.is_digit(radix));
        let code = u32::from_str_radix(&written, radix).ok().filter(|_| all_digits);
        code.and_then(char::from_u32).ok_or_else(unknown)
    }
}

fn simple_escape(kind: char) -> Option<char> {
    match kind {
        '\\' | '\'' | '"' | '`' | '?' => Some(kind),
        'a' => Some('\u{7}'),
        'b' => Some('\u{8}'),
        'f' => Some('\u{c}'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\u{b}'),
        _ => None,
    }
}
