//! One handler file: what it gave when it last loaded, or why it gave nothing.
//!
//! Must not import pyo3 or tokio.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::digest::Digest;
use super::loader::LoadError;
use super::usage::Usage;

/// A handler file that loaded.
#[derive(Debug)]
pub struct Handler<S> {
    /// The resource that the file's place gives (`/a/b` for `ROOT/a/b_wsh.py`), aliases aside.
    pub resource: String,
    /// The file, below the canonical scan directory; a link is not resolved.
    pub path: PathBuf,
    /// What the file gave when it last loaded.
    pub suite: Arc<S>,
    /// How often the file has loaded since it appeared, this time included; from 1.
    pub version: u64,
    /// When the suite was ready.
    pub loaded_at: SystemTime,
    /// Of the bytes that the suite was made from.
    pub digest: Digest,
    /// Why the file as it is now could not be loaded; the suite is that of an earlier version then.
    pub error: Option<LoadError>,
    /// The helper modules that the file imports, directly or through others: their files, sorted.
    pub depends_on: Vec<PathBuf>,
    /// The connections that run this version, and earlier ones.
    pub usage: Usage,
}

impl<S> Handler<S> {
    /// The same suite, which stays in use while `error` says why the file as it is now could not be loaded.
    pub(super) fn with_error(&self, error: Option<LoadError>, depends_on: Vec<PathBuf>) -> Self {
        Self {
            resource: self.resource.clone(),
            path: self.path.clone(),
            suite: Arc::clone(&self.suite),
            version: self.version,
            loaded_at: self.loaded_at,
            digest: self.digest,
            error,
            depends_on,
            usage: self.usage.clone(),
        }
    }
}

/// A handler file from which nothing is served.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) path: PathBuf,
    pub(super) resource: Option<String>,
    pub(super) error: LoadError,
    pub(super) depends_on: Vec<PathBuf>,
}

/// A version of a handler file that takes long to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slow {
    /// What it will serve.
    pub(super) resource: Option<String>,
    pub(super) since: SystemTime,
}

/// A handler that a connection runs; counted until it is dropped.
#[derive(Debug)]
pub struct InUse<S> {
    handler: Arc<Handler<S>>,
}

impl<S> InUse<S> {
    /// Counts a connection of `handler`.
    #[must_use]
    pub fn new(handler: Arc<Handler<S>>) -> Self {
        handler.usage.begin();
        Self { handler }
    }

    /// What the connection runs.
    #[must_use]
    pub fn handler(&self) -> &Arc<Handler<S>> {
        &self.handler
    }
}

impl<S> Drop for InUse<S> {
    fn drop(&mut self) {
        self.handler.usage.end();
    }
}
