//! What is wrong with a command line. Must not import anything but clap and its neighbours.

use std::fmt;
use std::io::{self, Write as _};

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::config_file::ConfigFileError;
use super::explained::said;
use super::names::PROGRAM;

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

/// What clap says, in one line, and where to read on.
pub(super) fn one_line(error: &clap::Error) -> String {
    format!("{}; see --help", said(error))
}

/// The first option of `command` that was typed, as it is written.
pub(super) fn first_typed(command: &Command, matches: &ArgMatches) -> Option<String> {
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let option = command.get_arguments().find(|option| typed(option.get_id().as_str()))?;
    option.get_long().map(|long| format!("--{long}"))
}
