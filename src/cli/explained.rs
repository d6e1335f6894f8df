//! What clap says is wrong, in one line and, where clap does not know, in words of ours. Must not import anything but clap
//! and its neighbours.

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::names;

/// What clap says of a command line that `command` does not take, or something better: of the beginning of more than one
/// option, and of a word that is no subcommand.
pub(super) fn explained(command: &Command, error: clap::Error) -> clap::Error {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.as_str()),
        _ => None,
    };
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(typed) = word(ContextKind::InvalidArg)
        && let Some(name) = typed.strip_prefix("--").filter(|name| !name.is_empty())
        && let longs @ [_, _, ..] = &names::fitting(command, name)[..]
    {
        let text = format!("'{typed}' could be --{}; type more of it", longs.join(" or --"));
        return command.clone().error(ErrorKind::UnknownArgument, text);
    }
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(typed) = word(ContextKind::InvalidSubcommand)
        && error.get(ContextKind::SuggestedSubcommand).is_none()
    {
        let text = format!("'{typed}' is no subcommand; to serve the folder {typed}, type -d {typed}");
        return command.clone().error(ErrorKind::InvalidSubcommand, text);
    }
    error
}

/// What clap says, in one line: what is wrong, and its suggestions.
pub(super) fn said(error: &clap::Error) -> String {
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
    line
}
