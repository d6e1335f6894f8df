//! `--config FILE`: options from a file, put before those of the command line. Must not import anything but
//! `config`, `error` and its neighbours.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Command;

use super::ini::{IniError, ini_section};
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
        wrong: String,
    },
    /// An entry is no option, or its value is wrong.
    #[error("--config {}: {wrong}", path.display())]
    Option {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        wrong: String,
    },
}

/// The options in the file, as the command line would have them. They have been looked at: none is unknown and
/// no value is wrong.
pub(super) fn arguments(path: &Path, command: &Command) -> Result<Vec<OsString>, ConfigFileError> {
    let text =
        fs::read_to_string(path).map_err(|source| ConfigFileError::Read { path: path.to_owned(), source })?;
    let form = |error: IniError| ConfigFileError::Form { path: path.to_owned(), wrong: error.to_string() };
    let entries = ini_section(&text, SECTION).map_err(form)?;
    let arguments: Vec<OsString> =
        entries.iter().map(|(key, value)| argument(command, key, value).into()).collect();
    if let Some((key, _)) = entries.iter().find(|(key, _)| names::find(command, key) == Some(names::HELP)) {
        let wrong = format!("'--{key}' is no option for a file");
        return Err(ConfigFileError::Option { path: path.to_owned(), wrong });
    }
    let program = [command.get_name().into()];
    match command.clone().try_get_matches_from(program.iter().chain(&arguments)) {
        Ok(_) => Ok(arguments),
        Err(error) => Err(ConfigFileError::Option { path: path.to_owned(), wrong: in_one_line(&error) }),
    }
}

/// One entry as an argument. A name that is no option stays, for clap to refuse it.
fn argument(command: &Command, key: &str, value: &str) -> String {
    let long = names::find(command, key).unwrap_or(key);
    let takes_value =
        command.get_arguments().any(|arg| arg.get_long() == Some(long) && arg.get_action().takes_values());
    // pywebsocket: any value switches on, `False` too.
    if takes_value { format!("--{long}={value}") } else { format!("--{long}") }
}

/// What clap says, without its usage.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let said = text.split("\n\nUsage:").next().unwrap_or(&text).split("\n\nFor more").next().unwrap_or(&text);
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ").trim_start_matches("error: ").to_owned()
}
