//! What is wrong with a command line, in one line. Must not import anything but clap.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

/// What clap says, without the usage lines: what is wrong, its suggestions, and where to read on.
pub(super) fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut line = String::new();
    for part in text.lines().map(str::trim) {
        if part.starts_with("Usage:") || part.starts_with("For more information") {
            break;
        }
        if let Some(tip) = part.strip_prefix("tip: ") {
            // clap may have found the option under its name with underscores.
            line.push_str("; ");
            line.push_str(&tip.replace('_', "-"));
        } else if !part.is_empty() {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(part.strip_prefix("error: ").unwrap_or(part));
        }
    }
    line.push_str("; see --help");
    line
}

/// The first option of `command` that was typed, as it is written.
pub(super) fn first_typed(command: &Command, matches: &ArgMatches) -> Option<String> {
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let option = command.get_arguments().find(|option| typed(option.get_id().as_str()))?;
    option.get_long().map(|long| format!("--{long}"))
}
