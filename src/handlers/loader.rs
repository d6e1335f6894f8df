//! What makes suites from handler files: the side that `bridge` implements.
//!
//! Must not import pyo3 or tokio.

use std::path::{Path, PathBuf};

/// Makes a suite (the three functions of a handler file) from a file.
///
/// Two files may be loaded at once, when one of them takes long; so may two versions of one, of which the later one
/// counts.
pub trait Loader: Send + Sync + 'static {
    /// What a loaded file gives.
    type Suite: Send + Sync + 'static;
    /// What [`renew`](Self::renew) has begun. Dropped when the files that need the helpers have been loaded.
    type Renewal: Send + Sync + 'static;

    /// Runs the file `path`, whose bytes are `source`. May block for as long as the file's imports do.
    fn load(&self, path: &Path, source: &[u8]) -> Loaded<Self::Suite>;

    /// Makes the next loads import the helper modules in `changed` anew, and those that import them. What is
    /// loaded already keeps what it has. May block as [`load`](Self::load) does.
    fn renew(&self, changed: &[PathBuf]) -> Self::Renewal;

    /// The file `path` is gone: nothing will ask for its suite any more. Gives what tells it so, which may block as
    /// [`load`](Self::load) does.
    fn forget(&self, path: &Path) -> Box<dyn FnOnce() + Send>;
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

impl LoadError {
    /// `PATH: reason`, and the traceback after it.
    pub(super) fn describe(&self, path: &Path) -> String {
        match &self.traceback {
            Some(traceback) => format!("{}: {}\n{}", path.display(), self.message, traceback.trim_end()),
            None => format!("{}: {}", path.display(), self.message),
        }
    }
}
