//! Handlers as files: which one serves which resource, and what is loaded from it.
//!
//! No pyo3 here. `bridge` implements [`Loader`] (make a suite from a file); [`registry`] calls it.

mod files;
mod helpers;
pub mod history;
pub mod map_file;
pub mod registry;
pub mod reload;
pub mod resource;
mod slow_loads;
pub mod snapshot;
pub mod status;
mod tasks;
#[cfg(test)]
mod testing;
pub mod traffic;
pub mod usage;
pub mod watcher;
mod watches;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Makes what all processes share and what is made when it is first asked for: a child that is forked meanwhile would
/// wait for it for ever.
pub(crate) fn prepare_for_forks() {
    LazyLock::force(&traffic::EPOCH);
}

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    history::HISTORY.renew();
}

/// Makes a suite (the three functions of a handler file) from a file.
///
/// No file is loaded by two threads at once; two files may be, when one of them takes long.
pub trait Loader: Send + Sync + 'static {
    /// What a loaded file gives.
    type Suite: Send + Sync + 'static;
    /// What [`renew`](Self::renew) has begun. Dropped when the files that need the helpers have been loaded.
    type Renewal: Send + Sync + 'static;

    /// Runs the file `path`. May block for as long as the file's imports do.
    fn load(&self, path: &Path) -> Loaded<Self::Suite>;

    /// Makes the next loads import the helper modules in `changed` anew, and those that import them. What is
    /// loaded already keeps what it has. May block as [`load`](Self::load) does.
    fn renew(&self, changed: &[PathBuf]) -> Self::Renewal;

    /// The file `path` is gone: nothing will ask for its suite any more.
    fn forget(&self, path: &Path);
}

/// The outcome of a load.
#[derive(Debug)]
pub struct Loaded<S> {
    /// What the file gives.
    pub suite: Result<S, LoadError>,
    /// The local files that it imports, directly or through others, sorted; after a failure also those that
    /// it looked for in vain.
    pub depends_on: Vec<PathBuf>,
}

/// Why a handler file gave no suite. Never fatal: the resource keeps its last good version or stays away.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    /// What went wrong and what to do, in one line, without the path.
    pub message: String,
    /// Python's traceback, with the real file name and line, when code of the file ran.
    pub traceback: Option<String>,
}
