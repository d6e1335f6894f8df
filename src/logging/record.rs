//! The form of a record. What comes from peers may stand in any part of it, so no part can begin a line that
//! looks like another record, nor steer a terminal.

use std::env;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::config::{LogFormat, LogLevel};

/// The time of a record, as Python's `logging` writes it: local, the milliseconds after a comma.
const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second],[subsecond digits:3]");
/// What every line of a record but the first begins with; the first begins with a bracket.
const CONTINUATION: &str = "  ";

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// pywebsocket's lines.
    Text {
        /// Whether levels are coloured.
        colours: bool,
    },
    /// One object a line.
    Json,
}

impl Style {
    /// pywebsocket's lines without colours.
    pub(super) const PLAIN: Self = Self::Text { colours: false };

    /// The style for records that a terminal shows, or does not show. `NO_COLOR` with any value, or a terminal
    /// that says it can do nothing, means no colours.
    pub(super) fn new(format: LogFormat, is_terminal: bool) -> Self {
        let refused = || {
            env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
                || env::var_os("TERM").is_some_and(|terminal| terminal == "dumb")
        };
        match format {
            LogFormat::Text => Self::Text { colours: is_terminal && !refused() },
            LogFormat::Json => Self::Json,
        }
    }
}

/// A record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) time: OffsetDateTime,
    pub(super) level: LogLevel,
    pub(super) logger: &'a str,
    pub(super) message: &'a str,
    pub(super) fields: &'a [(&'static str, Value)],
}

impl Record<'_> {
    /// The record's bytes, its end of line included.
    pub(super) fn format(&self, style: Style) -> String {
        match style {
            Style::Text { colours } => self.text(colours),
            Style::Json => self.json(),
        }
    }

    /// pywebsocket: `[time] [LEVEL] logger: message`.
    fn text(&self, colours: bool) -> String {
        let time = self.time.format(TIME).unwrap_or_default();
        let (on, off) = if colours { (colour(self.level), "\u{1b}[0m") } else { ("", "") };
        let mut text = format!("[{time}] [{on}{}{off}] ", self.level.label());
        push_escaped(&mut text, self.logger, "\\n");
        text.push_str(": ");
        text.push_str(&self.text_alone());
        text.push('\n');
        text
    }

    /// The message and the fields. The lines after the first are indented.
    pub(super) fn text_alone(&self) -> String {
        let mut text = String::new();
        push_escaped(&mut text, self.message.trim_end_matches('\n'), &format!("\n{CONTINUATION}"));
        for (name, value) in self.fields {
            // Writing to a String cannot fail.
            let _ = write!(text, " {name}=");
            push_escaped(&mut text, &value.to_string(), "\\n");
        }
        text
    }

    /// `{"time": ..., "level": ..., "logger": ..., "message": ..., "fields": {...}}`, the fields if there are any.
    fn json(&self) -> String {
        let mut record = json!({
            "time": self.time.format(&Rfc3339).unwrap_or_default(),
            "level": self.level.label(),
            "logger": self.logger,
            "message": self.message.trim_end_matches('\n'),
        });
        if !self.fields.is_empty() {
            let fields = self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            record["fields"] = Value::Object(fields.collect::<Map<_, _>>());
        }
        // JSON leaves some control characters as they are. They stand in strings only.
        let mut line = String::new();
        for character in record.to_string().chars() {
            if is_unsafe(character) {
                // Writing to a String cannot fail.
                let _ = write!(line, "\\u{:04x}", u32::from(character));
            } else {
                line.push(character);
            }
        }
        line.push('\n');
        line
    }
}

/// The start of a level's colour.
fn colour(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Fine | LogLevel::Debug => "\u{1b}[2m",
        LogLevel::Info => "\u{1b}[32m",
        LogLevel::Warning => "\u{1b}[33m",
        LogLevel::Error | LogLevel::Critical => "\u{1b}[31m",
    }
}

/// Whether a character steers a terminal, ends a line for some reader, or turns the direction of text around.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Appends `part` with unsafe characters written as Python's `repr` writes them, and `line_end` for the ends of
/// its lines.
fn push_escaped(text: &mut String, part: &str, line_end: &str) {
    for character in part.chars() {
        match character {
            '\n' => text.push_str(line_end),
            '\t' => text.push('\t'),
            '\r' => text.push_str("\\r"),
            _ if is_unsafe(character) => {
                let code = u32::from(character);
                // Writing to a String cannot fail.
                let _ =
                    if code < 0x100 { write!(text, "\\x{code:02x}") } else { write!(text, "\\u{code:04x}") };
            }
            _ => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn record<'a>(logger: &'a str, message: &'a str, fields: &'a [(&'static str, Value)]) -> Record<'a> {
        let time = datetime!(2026-11-23 23:07:25.123_999 +1);
        Record { time, level: LogLevel::Info, logger, message, fields }
    }

    #[test]
    fn a_line_is_pywebsockets() {
        let table = [
            (LogLevel::Fine, "FINE"),
            (LogLevel::Debug, "DEBUG"),
            (LogLevel::Info, "INFO"),
            (LogLevel::Warning, "WARNING"),
            (LogLevel::Error, "ERROR"),
            (LogLevel::Critical, "CRITICAL"),
        ];
        for (level, label) in table {
            let record = Record { level, ..record("a.b", "text", &[]) };
            assert_eq!(
                record.format(Style::PLAIN),
                format!("[2026-11-23 23:07:25,123] [{label}] a.b: text\n")
            );
            let coloured = record.format(Style::Text { colours: true });
            let (before, after) = coloured.split_once(label).unwrap();
            assert!(
                before.starts_with("[2026-11-23 23:07:25,123] [\u{1b}[") && before.ends_with('m'),
                "{coloured:?}"
            );
            assert_eq!(after, "\u{1b}[0m] a.b: text\n");
        }
        let time = datetime!(2026-01-02 03:04:05.006 UTC);
        let short = Record { time, ..record("l", "", &[]) };
        assert_eq!(short.format(Style::PLAIN), "[2026-01-02 03:04:05,006] [INFO] l: \n");
    }

    #[test]
    fn no_part_can_forge_a_record_or_steer_a_terminal() {
        let forged =
            "x\n[2026-11-23 23:07:25,123] [INFO] a.b: ok\r\u{1b}[2J\u{9b}31m\0\u{7f}\u{85}\u{2028}\u{202e}é";
        let escaped =
            "[2026-11-23 23:07:25,123] [INFO] a.b: ok\\r\\x1b[2J\\x9b31m\\x00\\x7f\\x85\\u2028\\u202eé";
        let start = "[2026-11-23 23:07:25,123] [INFO] ";
        assert_eq!(record("l", forged, &[]).format(Style::PLAIN), format!("{start}l: x\n  {escaped}\n"));
        assert_eq!(record(forged, "m", &[]).format(Style::PLAIN), format!("{start}x\\n{escaped}: m\n"));
        let fields = [("peer", Value::from(forged))];
        let with_field = record("l", "m", &fields).format(Style::PLAIN);
        assert!(with_field.starts_with(&format!("{start}l: m peer=\"x\\n[")), "{with_field}");
        for text in [
            record("l", forged, &[]).format(Style::PLAIN),
            with_field,
            record(forged, forged, &fields).format(Style::Json),
        ] {
            assert!(text.lines().skip(1).all(|line| line.starts_with("  ")), "{text:?}");
            assert!(!text.contains(|c: char| c != '\n' && is_unsafe(c)), "{text:?}");
        }
    }

    #[test]
    fn a_traceback_stays_readable() {
        let message = "Exception in processing\nTraceback (most recent call last):\n\n  File \"a\"\n\tE: x\n";
        assert_eq!(
            record("l", message, &[]).format(Style::PLAIN),
            "[2026-11-23 23:07:25,123] [INFO] l: Exception in processing\n  Traceback (most recent call last):\n  \n    File \"a\"\n  \tE: x\n"
        );
    }

    #[test]
    fn json_is_one_object_a_line() {
        let fields = [("port", Value::from(9998)), ("name", Value::from("x"))];
        let line = record("a.b", "two\nlines\t\u{85}\n", &fields).format(Style::Json);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.contains("\\u0085"), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value,
            json!({
                "time": "2026-11-23T23:07:25.123999+01:00", "level": "INFO", "logger": "a.b",
                "message": "two\nlines\t\u{85}", "fields": {"port": 9998, "name": "x"},
            })
        );
        let bare: Value = serde_json::from_str(&record("a", "m", &[]).format(Style::Json)).unwrap();
        assert_eq!(bare.get("fields"), None);
    }
}
