//! Where in the file something stands that is only found wrong after the file was read.

use toml::de::DeTable;

/// Where the value under this path stands, in bytes; of a text, where its opening quote stands.
pub(super) fn of_value(file: &str, path: &[&str]) -> Option<usize> {
    let table = DeTable::parse(file).ok()?;
    let (last, tables) = path.split_last()?;
    let mut current = table.get_ref();
    for name in tables {
        current = current.get(*name)?.get_ref().as_table()?;
    }
    current.get(*last).map(|value| value.span().start)
}

/// Where the key under this path stands, in bytes.
pub(super) fn of_key(file: &str, path: &[&str]) -> Option<usize> {
    let table = DeTable::parse(file).ok()?;
    let (last, tables) = path.split_last()?;
    let mut current = table.get_ref();
    for name in tables {
        current = current.get(*name)?.get_ref().as_table()?;
    }
    current.iter().find(|(key, _)| key.get_ref() == last).map(|(key, _)| key.span().start)
}

/// Where the character `position` of a text stands, in bytes of the file; `at` is where its opening quote stands.
/// Escapes of TOML, and the line end that a long text may start with, count as what they mean.
pub(super) fn within_text(file: &str, at: usize, position: usize) -> usize {
    let Some(written) = file.get(at..) else { return at };
    let Some(quote) = written.chars().next().filter(|c| matches!(c, '"' | '\'')) else { return at };
    let long = written.starts_with(&String::from_iter([quote; 3]));
    let mut place = if long { 3 } else { 1 };
    if long {
        place += line_end(written.get(place..).unwrap_or_default());
    }
    for _ in 0..position {
        let rest = written.get(place..).unwrap_or_default();
        place += if quote == '"' { meant(rest) } else { rest.chars().next().map_or(0, char::len_utf8) };
    }
    // A backslash before a line end leaves out the blanks up to the next character.
    let rest = written.get(place..).unwrap_or_default();
    at + place + if quote == '"' { left_out(rest) } else { 0 }
}

fn line_end(rest: &str) -> usize {
    ["\r\n", "\n"].into_iter().find(|end| rest.starts_with(end)).map_or(0, str::len)
}

/// How many bytes of the file stand for the next character of the text.
fn meant(rest: &str) -> usize {
    let skipped = left_out(rest);
    let rest = rest.get(skipped..).unwrap_or_default();
    let mut chars = rest.chars();
    let length = match (chars.next(), chars.next()) {
        (Some('\\'), Some('u')) => 6,
        (Some('\\'), Some('U')) => 10,
        (Some('\\'), Some('x')) => 4,
        (Some('\\'), Some(_)) => 2,
        (Some(c), _) => c.len_utf8(),
        (None, _) => 0,
    };
    skipped + length
}

/// The backslash at the end of a line, and the blanks after it.
fn left_out(rest: &str) -> usize {
    let Some(after) = rest.strip_prefix('\\') else { return 0 };
    let blanks = after.len() - after.trim_start_matches([' ', '\t', '\r', '\n']).len();
    let skips = after.get(..blanks).is_some_and(|skipped| skipped.contains('\n'));
    if skips { 1 + blanks } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character of a text is found where it is written, however it is written.
    #[test]
    fn a_place_in_a_text_is_a_place_in_the_file() {
        let cases = [
            ("x = \"abc\"", "abc"),
            ("x = 'abc'", "abc"),
            ("x = \"a\\\"b\\u00e9c\"", "a\"béc"),
            ("x = \"\"\"\nab\nc\"\"\"", "ab\nc"),
            ("x = '''\nab\nc'''", "ab\nc"),
            ("x = \"\"\"ab \\\n   c\"\"\"", "ab c"),
        ];
        for (file, text) in cases {
            let at = of_value(file, &["x"]).expect("a value");
            for (position, c) in text.chars().enumerate() {
                let found = file.get(within_text(file, at, position)..).and_then(|rest| rest.chars().next());
                assert!(found == Some(c) || found == Some('\\'), "{file}: {position} is {found:?} and not {c:?}");
            }
        }
    }
}
