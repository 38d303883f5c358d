//! What the demo looks like: a table that grows, coloured on a terminal only.

use std::io::IsTerminal as _;

use super::script::Shown;
use crate::failure::Outcome;
use crate::output::{self, Format, visible};

const WHAT: usize = 42;
const RECORD: usize = 32;
const RULE: usize = 13;
const SOURCE: usize = 19;

/// Where the demo is shown. Silent when a program reads the result.
pub struct Screen {
    silent: bool,
    colours: bool,
}

/// One line of the table.
pub struct Row<'a> {
    pub shown: &'a Shown,
    pub rule: Option<String>,
    pub source: Option<String>,
    pub waited_for: Option<&'a str>,
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Green,
    Red,
    Cyan,
}

impl Screen {
    /// Colours are for terminals, unless `NO_COLOR` says otherwise (no-color.org).
    pub fn open(format: Format) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { silent: format == Format::Json, colours: std::io::stdout().is_terminal() && !no_colour }
    }

    /// The head line.
    pub fn title(&self) -> Outcome {
        self.say(&format!(
            "\n  {}  a simulated Microsoft tenant and all of Lockstep in this process\n",
            self.ink(Ink::Bold, "Lockstep")
        ))
    }

    /// Something was set up.
    pub fn step(&mut self, name: &str, text: &str) -> Outcome {
        self.say(&format!("  {} {} {text}", self.ink(Ink::Green, "✓"), self.ink(Ink::Bold, &pad(name, 14))))
    }

    /// The head of the table.
    pub fn heading(&self) -> Outcome {
        let columns = format!(
            "  {}   {}{}{}{:>9}",
            pad("in Microsoft", WHAT),
            pad("the record", RECORD),
            pad("by rule", RULE),
            pad("source", SOURCE),
            "ms"
        );
        self.say(&format!(
            "\n{}\n  {}",
            self.ink(Ink::Dim, &columns),
            self.ink(Ink::Dim, &"─".repeat(columns.chars().count() - 2))
        ))
    }

    /// One change and what followed.
    pub fn row(&mut self, row: &Row<'_>) -> Outcome {
        self.say(&self.cells(row))?;
        match row.waited_for {
            Some(why) => self.say(&self.ink(Ink::Dim, &format!("  {}   {why}", pad("", WHAT)))),
            None => Ok(()),
        }
    }

    fn cells(&self, row: &Row<'_>) -> String {
        let observed = row.shown.observed.as_deref().unwrap_or("nothing yet");
        let (ink, mark) = match (row.shown.arrived(), observed.starts_with("inactive")) {
            (false, _) => (Ink::Red, "✗"),
            (true, true) => (Ink::Cyan, "→"),
            (true, false) => (Ink::Green, "→"),
        };
        format!(
            "  {} {} {}{}{}{:>9}",
            pad(&row.shown.what, WHAT),
            self.ink(ink, mark),
            self.ink(ink, &pad(observed, RECORD)),
            pad(row.rule.as_deref().unwrap_or("-"), RULE),
            self.ink(Ink::Dim, &pad(row.source.as_deref().unwrap_or("-"), SOURCE)),
            row.shown.milliseconds
        )
    }

    /// A change that somebody else made, as it showed here.
    pub fn yours(&mut self, name: &str, observed: &str) -> Outcome {
        self.say(&format!(
            "  {} {} {}",
            pad(&format!("(you) {name}"), WHAT),
            self.ink(Ink::Bold, "→"),
            visible(observed)
        ))
    }

    /// Any other text.
    pub fn say(&self, text: &str) -> Outcome {
        if self.silent { Ok(()) } else { output::line(text) }
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        if !self.colours {
            return text.to_owned();
        }
        let code = match ink {
            Ink::Bold => 1,
            Ink::Dim => 2,
            Ink::Green => 32,
            Ink::Red => 31,
            Ink::Cyan => 36,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Exactly this many characters, a space at the end at least.
fn pad(text: &str, width: usize) -> String {
    let text = visible(text);
    let cut: String =
        if text.chars().count() < width { text } else { text.chars().take(width - 2).chain(['…']).collect() };
    format!("{cut}{}", " ".repeat(width - cut.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(colours: bool) -> Screen {
        Screen { silent: false, colours }
    }

    fn shown(observed: Option<&str>) -> Shown {
        Shown {
            what: "Katherine Johnson is disabled".to_owned(),
            expected: "inactive: upstream_disabled".to_owned(),
            observed: observed.map(str::to_owned),
            milliseconds: 42,
        }
    }

    #[test]
    fn columns_stand_under_each_other_whatever_is_in_them() {
        for text in ["", "short", &"long ".repeat(30), "漢字 Zoë"] {
            assert_eq!(pad(text, 20).chars().count(), 20, "{text}");
        }
    }

    #[test]
    fn a_change_that_did_not_arrive_is_marked() {
        let line = |observed| {
            let shown = shown(observed);
            screen(false).cells(&Row { shown: &shown, rule: None, source: None, waited_for: None })
        };
        assert!(line(Some("inactive: upstream_disabled")).contains('→'));
        assert!(line(Some("active employee, Technician")).contains('✗'));
        assert!(line(None).contains("nothing yet"));
    }

    #[test]
    fn without_a_terminal_there_is_no_escape_code() {
        assert_eq!(screen(false).ink(Ink::Red, "x"), "x");
        assert!(screen(true).ink(Ink::Red, "x").contains('\u{1b}'));
    }
}
