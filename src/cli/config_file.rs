//! `--config FILE`: options from a file, put before those of the command line. Must not import anything but
//! `config`, `error` and its neighbours.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap::error::{ContextKind, ContextValue};

use super::explained::{explained, said};
use super::ini::{Entry, IniError, ini_section};
use super::names;

/// The section that is read.
const SECTION: &str = "pywebsocket";

/// Why the file of options cannot be used. One line each.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// The file cannot be read.
    #[error("--config {}: {source}; check the path and its permissions", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what Python's `configparser` takes, or has no section `[pywebsocket]`.
    #[error("--config {}: {wrong}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        wrong: IniError,
    },
    /// An entry is an option that only a command line can have.
    #[error("--config {}: line {line}: '--{key}' is no option for a file; type it", path.display())]
    NoFileOption {
        /// The file.
        path: PathBuf,
        /// The line of the entry.
        line: usize,
        /// The entry's name.
        key: String,
    },
    /// An entry is no option, its value is wrong, or it does not go together with others.
    #[error("--config {}: {}{}", path.display(), place(*line), said(error))]
    Option {
        /// The file.
        path: PathBuf,
        /// The line of the entry, if it is one.
        line: Option<usize>,
        /// What clap says of it.
        error: Box<clap::Error>,
    },
}

fn place(line: Option<usize>) -> String {
    line.map(|line| format!("line {line}: ")).unwrap_or_default()
}

/// The options in the file, as the command line would have them. They have been looked at: none is unknown and
/// no value is wrong.
pub(super) fn arguments(path: &Path, command: &Command) -> Result<Vec<OsString>, ConfigFileError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigFileError::Read { path: path.to_owned(), source })?;
    let path = || path.to_owned();
    let entries =
        ini_section(&text, SECTION).map_err(|wrong| ConfigFileError::Form { path: path(), wrong })?;
    let is_help = |entry: &&Entry| names::find(command, &entry.key) == Some(names::HELP);
    if let Some(Entry { key, line, .. }) = entries.iter().find(is_help) {
        return Err(ConfigFileError::NoFileOption { path: path(), line: *line, key: key.clone() });
    }
    let arguments: Vec<OsString> = entries.iter().map(|entry| argument(command, entry).into()).collect();
    let program = [command.get_name().into()];
    match command.clone().try_get_matches_from(program.iter().chain(&arguments)) {
        Ok(_) => Ok(arguments),
        Err(error) => {
            let line = line_of(&error, &entries, &arguments);
            let error = Box::new(explained(command, error));
            Err(ConfigFileError::Option { path: path(), line, error })
        }
    }
}

/// The line of the entry that an error is about.
fn line_of(error: &clap::Error, entries: &[Entry], arguments: &[OsString]) -> Option<usize> {
    // The option as clap shows it: `--port <PORT>`.
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return None };
    let option = shown.split([' ', '=']).next();
    let is_it = |argument: &OsString| argument.to_str().and_then(|text| text.split('=').next()) == option;
    arguments.iter().position(is_it).map(|index| entries[index].line)
}

/// One entry as an argument. A name that is no option stays, for clap to refuse it.
fn argument(command: &Command, Entry { key, value, .. }: &Entry) -> String {
    let long = names::find(command, key).unwrap_or(key);
    let takes_value =
        command.get_arguments().any(|arg| arg.get_long() == Some(long) && arg.get_action().takes_values());
    // pywebsocket: any value switches on, `False` too.
    if takes_value { format!("--{long}={value}") } else { format!("--{long}") }
}
