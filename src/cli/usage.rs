//! What is wrong with a command line. Must not import anything but clap and its neighbours.

use std::fmt;
use std::io::{self, Write as _};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::config_file::ConfigFileError;
use super::names::{self, PROGRAM};

/// Why a command line cannot be used. Also how `--help` comes back.
#[derive(Debug)]
pub enum UsageError {
    /// What was typed is wrong, or asks for help.
    Typed(clap::Error),
    /// The file of options cannot be used.
    ConfigFile(ConfigFileError),
}

impl UsageError {
    /// The exit code: 0 for help, 2 for wrong usage, 1 for a file of options that cannot be read (as
    /// pywebsocket).
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Typed(error) => u8::try_from(error.exit_code()).unwrap_or(2),
            Self::ConfigFile(ConfigFileError::Option { .. } | ConfigFileError::NoFileOption { .. }) => 2,
            Self::ConfigFile(_) => 1,
        }
    }

    /// Prints help to stdout, and everything else to stderr.
    pub fn print(&self) {
        match self {
            Self::Typed(error) if error.exit_code() == 0 => drop(error.print()),
            Self::Typed(error) => tell(&one_line(error)),
            Self::ConfigFile(error) => tell(error),
        }
    }
}

/// Says on stderr, which may be closed, why there is no start.
fn tell(error: &dyn fmt::Display) {
    drop(writeln!(io::stderr(), "{PROGRAM}: {error}"));
}

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

/// What clap says, in one line, and where to read on.
pub(super) fn one_line(error: &clap::Error) -> String {
    format!("{}; see --help", said(error))
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

/// The first option of `command` that was typed, as it is written.
pub(super) fn first_typed(command: &Command, matches: &ArgMatches) -> Option<String> {
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let option = command.get_arguments().find(|option| typed(option.get_id().as_str()))?;
    option.get_long().map(|long| format!("--{long}"))
}
