//! One line of an import file, read and checked.

use lockstep_core::profile::address_key;
use lockstep_core::record::Kind;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A longer line is refused unread.
const MAX_LINE: usize = 64 * 1024;
/// Longer addresses, names and ids are refused, in bytes.
const MAX_TEXT: usize = 1024;
/// The longest e-mail address there is (RFC 5321), in bytes.
const MAX_EMAIL: usize = 320;

/// What each field of a line must be.
const FIELDS: [(&str, &str); 10] = [
    ("kind", "\"employee\" or \"contact\""),
    ("email", "text or null"),
    ("username", "text or null"),
    ("display_name", "text or null"),
    ("fields", "an object"),
    ("host_id", "text or null"),
    ("in_use", "true or false"),
    ("role", "text or null"),
    ("permissions", "a list of texts"),
    ("privileged", "true or false"),
];

/// A person the application has already. No Debug: it holds personal data (G-27).
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportedRecord {
    /// Where it stands in the file, from 1.
    #[serde(skip)]
    pub line: usize,
    /// Employee or contact.
    pub kind: Kind,
    /// What Microsoft's address is compared with to find this person (M3).
    #[serde(default)]
    pub email: Option<String>,
    /// Sign-in name in the application.
    #[serde(default)]
    pub username: Option<String>,
    /// For people.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Further fields.
    #[serde(default)]
    pub fields: Map<String, Value>,
    /// The application's own id: by it the same line is known again.
    #[serde(default)]
    pub host_id: Option<String>,
    /// Other data refers to it (M8).
    #[serde(default)]
    pub in_use: bool,
    /// Role it has now.
    #[serde(default)]
    pub role: Option<String>,
    /// Module permissions it has now.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Linking it by e-mail needs an admin's yes (TH-09).
    #[serde(default)]
    pub privileged: bool,
}

/// A line that is not imported, and why. Never repeats a value of the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct RefusedLine {
    /// From 1.
    pub line: usize,
    /// With the field's name.
    pub why: String,
}

impl ImportedRecord {
    /// Reads a whole file, one JSON object a line; blank lines are passed over.
    ///
    /// # Errors
    /// Every line that cannot be read, so that a file is mended in one go.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, Vec<RefusedLine>> {
        let (mut records, mut refused) = (Vec::new(), Vec::new());
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            match Self::parse_line(index + 1, line) {
                Ok(record) => records.push(record),
                Err(line) => refused.push(line),
            }
        }
        if refused.is_empty() { Ok(records) } else { Err(refused) }
    }

    /// Reads one line.
    ///
    /// # Errors
    /// Says which field is wrong, and what it must be.
    pub fn parse_line(line: usize, text: &str) -> Result<Self, RefusedLine> {
        let refuse = |why: String| RefusedLine { line, why };
        if text.len() > MAX_LINE {
            return Err(refuse(format!("longer than {MAX_LINE} bytes")));
        }
        let object: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| refuse(format!("not a JSON object (column {})", error.column())))?;
        let mut record: Self =
            serde_json::from_value(Value::Object(object.clone())).map_err(|_| refuse(culprit(&object)))?;
        record.line = line;
        record.tidy();
        record.check().map_err(refuse)?;
        Ok(record)
    }

    /// The compared form of its e-mail address.
    pub(super) fn email_key(&self) -> Option<String> {
        self.email.as_deref().map(address_key)
    }

    /// The compared form of its username.
    pub(super) fn username_key(&self) -> Option<String> {
        self.username.as_deref().map(address_key)
    }

    /// Blank is absent, and nothing begins or ends in blanks.
    fn tidy(&mut self) {
        for text in [&mut self.email, &mut self.username, &mut self.display_name, &mut self.host_id, &mut self.role] {
            *text = text.take().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        }
    }

    fn check(&self) -> Result<(), String> {
        let texts = [
            ("email", &self.email),
            ("username", &self.username),
            ("display_name", &self.display_name),
            ("host_id", &self.host_id),
            ("role", &self.role),
        ];
        for (name, text) in texts {
            check_text(name, text.as_deref().unwrap_or_default())?;
        }
        for permission in &self.permissions {
            check_text("permissions", permission)?;
        }
        if self.email.as_deref().is_some_and(|email| !is_address(email)) {
            return Err("field `email` must be an e-mail address".to_owned());
        }
        if self.email.is_none() && self.username.is_none() && self.host_id.is_none() {
            return Err("at least one of `email`, `username` and `host_id` is needed".to_owned());
        }
        Ok(())
    }
}

/// The first field that is wrong by itself. serde's own message would name a column and repeat the value.
fn culprit(object: &Map<String, Value>) -> String {
    for (name, value) in object {
        let Some((_, expected)) = FIELDS.iter().find(|(known, _)| known == name) else {
            let known: Vec<&str> = FIELDS.iter().map(|(known, _)| *known).collect();
            return format!("field `{}` is unknown; known are {}", shortened(name), known.join(", "));
        };
        let mut alone = Map::from_iter([("kind".to_owned(), Value::from("employee"))]);
        alone.insert(name.clone(), value.clone());
        if serde_json::from_value::<ImportedRecord>(Value::Object(alone)).is_err() {
            return format!("field `{name}` must be {expected}");
        }
    }
    "field `kind` is missing: \"employee\" or \"contact\"".to_owned()
}

fn shortened(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(40).collect()
}

fn check_text(name: &str, text: &str) -> Result<(), String> {
    if text.len() > MAX_TEXT {
        return Err(format!("field `{name}` is longer than {MAX_TEXT} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("field `{name}` has a control character in it"));
    }
    Ok(())
}

/// Only what could never match is refused: the address is compared, never written to.
fn is_address(text: &str) -> bool {
    let has_parts = text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    has_parts && text.len() <= MAX_EMAIL && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(line: &str) -> String {
        match ImportedRecord::parse_line(7, line) {
            Ok(_) => "read".to_owned(),
            Err(refused) => refused.to_string(),
        }
    }

    #[test]
    fn a_bad_line_is_named_with_its_field_and_never_with_its_value() {
        assert_eq!(why("{oops"), "line 7: not a JSON object (column 2)");
        assert_eq!(why(r#"["ada"]"#), "line 7: not a JSON object (column 0)");
        assert_eq!(why(r#"{"email":"a@b.example"}"#), "line 7: field `kind` is missing: \"employee\" or \"contact\"");
        assert_eq!(why(r#"{"kind":"boss"}"#), "line 7: field `kind` must be \"employee\" or \"contact\"");
        assert_eq!(why(r#"{"kind":"contact","in_use":"secret"}"#), "line 7: field `in_use` must be true or false");
        assert_eq!(why(r#"{"kind":"contact","email":"nobody"}"#), "line 7: field `email` must be an e-mail address");
        assert_eq!(
            why(r#"{"kind":"contact","email":" "}"#),
            "line 7: at least one of `email`, `username` and `host_id` is needed"
        );
        assert_eq!(
            why(r#"{"kind":"contact","username":"a\u0007"}"#),
            "line 7: field `username` has a control character in it"
        );
        let unknown = why(r#"{"kind":"contact","root":true}"#);
        assert!(unknown.starts_with("line 7: field `root` is unknown; known are kind, email"), "{unknown}");
    }

    #[test]
    fn a_file_is_refused_with_all_its_bad_lines_at_once() {
        let text = "{\"kind\":\"contact\",\"host_id\":\"1\"}\n\n{}\n{\"kind\":5}\n";
        let refused = ImportedRecord::parse_file(text).map(|records| records.len()).expect_err("two lines are bad");
        assert_eq!(refused.iter().map(|line| line.line).collect::<Vec<_>>(), [3, 4]);
    }

    #[test]
    fn lines_are_counted_with_the_blank_ones_and_blank_texts_are_absent() {
        let text = "\u{feff}\n{\"kind\":\"employee\",\"host_id\":\" 7 \",\"email\":\"\",\"role\":null}\n";
        let records = ImportedRecord::parse_file(text).expect("a good file");
        assert_eq!((records[0].line, records[0].host_id.as_deref(), records[0].email.as_deref()), (2, Some("7"), None));
    }
}
