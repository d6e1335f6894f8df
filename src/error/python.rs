//! Why Python cannot be started. Must not import anything of the crate.

use std::path::PathBuf;

/// Why Python cannot be started, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// There is no interpreter.
    #[error("{option} {}: no interpreter there; name an interpreter or a virtual environment", path.display())]
    NoInterpreter {
        /// Where the path is from: an option or a variable.
        option: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The interpreter is of another version than the library that this program is linked with.
    #[error(
        "{option} {}: is for Python {version}, but this wshost is built for Python {built}; \
         name another one with --python, or build wshost with PYO3_PYTHON={}",
        path.display(), path.display()
    )]
    OtherVersion {
        /// Where the path is from: an option or a variable.
        option: &'static str,
        /// The interpreter.
        path: PathBuf,
        /// Its version, as `3.11`.
        version: String,
        /// The version of the library.
        built: &'static str,
    },
    /// C cannot be told the path.
    #[error("the interpreter's path has a NUL")]
    Nul,
    /// `--python` where Python runs already.
    #[error("--python: this wshost runs inside the Python that started it; call that interpreter instead")]
    RunsAlready,
    /// `CPython` did not start, or raised an exception: what it said.
    #[error("{0}")]
    Refused(String),
}
