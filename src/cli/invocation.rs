//! What a command line asks for. Must not import anything but its neighbours.

use std::path::{Path, PathBuf};

use super::options::Options;
use super::probe::ProbeOptions;
use super::replay::ReplayOptions;

/// What the command line asks for.
#[derive(Debug, Clone)]
pub enum Invocation {
    /// Serve.
    Serve(Options),
    /// Print the versions of wshost and of the Python that it would run with.
    Version {
        /// `--python`: the interpreter or virtual environment to start.
        python: Option<PathBuf>,
    },
    /// Print this: a completion script or the manual page.
    Print(Vec<u8>),
    /// Write the compatible packages into this directory.
    Vendor(PathBuf),
    /// Load every handler and say what is wrong.
    Check(CheckOptions),
    /// Have recorded connections again and compare.
    Replay(ReplayOptions),
    /// Open a connection and close it again.
    Probe(ProbeOptions),
    /// Write a handler and its test.
    New {
        /// The resource, without its leading slash.
        resource: String,
        /// The folder that gets `handlers/` and `tests/`.
        directory: PathBuf,
    },
}

/// What `wshost check` is asked for.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Those that the server would be started with.
    pub options: Options,
    /// Print JSON instead of a table.
    pub json: bool,
    /// Go on, and report again whenever a file changes.
    pub watch: bool,
    /// Show how files that are still Python 2 would be converted.
    pub fix: bool,
    /// Convert them.
    pub write: bool,
}

impl Invocation {
    /// `--python`: the interpreter or virtual environment to start Python as; relative to the directory that
    /// the program was started in. `None`: the active environment's, else the one of the build.
    #[must_use]
    pub fn python(&self) -> Option<&Path> {
        match self {
            Self::Serve(options) => options.server.python.as_deref(),
            Self::Version { python } => python.as_deref(),
            Self::Check(check) => check.options.server.python.as_deref(),
            Self::Print(_) | Self::Vendor(_) | Self::Replay(_) | Self::Probe(_) | Self::New { .. } => None,
        }
    }
}
