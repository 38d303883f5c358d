//! What commands print: tables for people, JSON for programs. JSON goes to stdout alone; hints go to stderr.

use std::fmt::Write as _;
use std::io::Write as _;

use clap::ValueEnum;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::failure::{Failure, Outcome};

/// How results are printed: tables for people; JSON for programs, a listing as one array, anything else as one object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// What can be asked for with `--output`: [`Format`], and CSV for spreadsheets where a command has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    #[default]
    Table,
    Json,
    Csv,
}

impl Output {
    /// CSV is a table without its looks.
    pub fn format(self) -> Format {
        match self {
            Self::Json => Format::Json,
            Self::Table | Self::Csv => Format::Table,
        }
    }
}

/// A listing: its rows as they go to JSON, and how each looks in a table.
pub struct Listing<'a, T> {
    /// Column names.
    pub columns: &'a [&'a str],
    /// One table row.
    pub row: fn(&T) -> Vec<String>,
    /// What to do when there is nothing to list; said on stderr.
    pub when_empty: &'a str,
}

impl<T: Serialize> Listing<'_, T> {
    /// Prints the items in the chosen format.
    pub fn print(&self, format: Format, items: &[T]) -> Outcome {
        if format == Format::Json {
            return json(&items);
        }
        if items.is_empty() {
            note(self.when_empty);
            return Ok(());
        }
        line(&table(self.columns, items.iter().map(self.row)))
    }
}

/// A table of text cells. Never wraps: ids must stay whole, so that they can be copied.
pub fn table(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Comma-separated values with a header line. What a spreadsheet would run as a formula is made text (BI-35).
pub fn csv(columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let header = columns.iter().map(|name| (*name).to_owned()).collect();
    let lines = std::iter::once(header).chain(rows).map(|row| {
        let cells: Vec<String> = row.iter().map(|cell| csv_cell(cell)).collect();
        cells.join(",")
    });
    lines.collect::<Vec<_>>().join("\r\n")
}

fn csv_cell(text: &str) -> String {
    let text = visible(text);
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text };
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// Name and value, one pair a line, the values aligned.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in pairs {
        let _ = writeln!(text, "{name:width$}  {}", visible(value));
    }
    text.trim_end().to_owned()
}

/// One value as JSON on stdout.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Outcome {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| Failure::of("writing the result as JSON", &error))?;
    line(&text)
}

/// One piece of text on stdout, with a line end. A reader that went away (`| head`) is no error.
pub fn line(text: &str) -> Outcome {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::of("writing to stdout", &error)),
        _ => Ok(()),
    }
}

/// Something for the person at the keyboard, on stderr.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// An absent value in a table.
pub fn or_dash<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// Directory values may hold anything (BI-35): what could move the cursor, colour the terminal or turn the reading
/// direction is shown as its escape.
pub fn visible(text: &str) -> String {
    text.chars().flat_map(|c| if disturbs(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bi_35_a_name_cannot_steer_the_terminal() {
        assert_eq!(visible("Ada\u{1b}[31m\u{202E}"), "Ada\\u{1b}[31m\\u{202e}");
        assert_eq!(visible("Zoë 漢字"), "Zoë 漢字");
    }

    #[test]
    fn bi_35_a_name_is_no_formula_in_a_spreadsheet_and_leaves_its_cell_to_nobody() {
        let row = vec!["=1+1".to_owned(), "Doe, \"J\"".to_owned(), "Zoë\nX".to_owned()];
        assert_eq!(csv(&["a", "b", "c"], [row].into_iter()), "a,b,c\r\n'=1+1,\"Doe, \"\"J\"\"\",Zoë\\u{a}X");
    }

    #[test]
    fn pairs_are_aligned() {
        assert_eq!(pairs(&[("id", "1".into()), ("name", "x".into())]), "id    1\nname  x");
    }

    #[test]
    fn a_table_keeps_ids_whole() {
        let id = "0198c0de-0000-7000-8000-000000000001".to_owned();
        let text = table(&["id", "name"], [vec![id.clone(), "n".repeat(200)]].into_iter());
        assert!(text.contains(&id) && text.lines().count() == 2, "{text}");
    }
}
