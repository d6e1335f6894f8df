//! What can be told of each handler file: plain data for the status page and `wshost check`.
//!
//! Must not import pyo3 or tokio.

use std::path::PathBuf;
use std::time::SystemTime;

use super::LoadError;
use super::snapshot::{Digest, Snapshot};

/// A handler file at one moment.
#[derive(Debug, Clone)]
pub struct HandlerStatus {
    /// The file, below the canonical scan directory; a link is not resolved.
    pub path: PathBuf,
    /// The resource that the file's place gives; `None`: its name makes none.
    pub resource: Option<String>,
    /// Other resources that it serves.
    pub aliases: Vec<String>,
    /// When the version that serves now was loaded; `None`: nothing is served from the file.
    pub loaded_at: Option<SystemTime>,
    /// How often the file has loaded, from 1; 0: never.
    pub version: u64,
    /// SHA-256 of the bytes that the version was made from.
    pub digest: Option<Digest>,
    /// Why the file as it is now does not load.
    pub error: Option<LoadError>,
    /// Connections that run the version that serves now.
    pub open_connections: usize,
    /// Connections that run earlier versions.
    pub old_connections: usize,
    /// The helper modules that the file imports, directly or through others: their files, sorted.
    pub depends_on: Vec<PathBuf>,
}

/// A handler file from which nothing is served.
#[derive(Debug, Clone)]
pub(super) struct Broken {
    pub(super) path: PathBuf,
    pub(super) resource: Option<String>,
    pub(super) error: LoadError,
    pub(super) depends_on: Vec<PathBuf>,
}

impl<S> Snapshot<S> {
    /// Every handler file, by path. The numbers of connections are those of now.
    #[must_use]
    pub fn status(&self) -> Vec<HandlerStatus> {
        let mut all: Vec<HandlerStatus> = Vec::new();
        for (resource, handler) in &self.handlers {
            if let Some(known) = all.iter_mut().find(|known| known.path == handler.path) {
                known.aliases.extend((*resource != handler.resource).then(|| resource.clone()));
                continue;
            }
            all.push(HandlerStatus {
                path: handler.path.clone(),
                resource: Some(handler.resource.clone()),
                aliases: (*resource != handler.resource).then(|| resource.clone()).into_iter().collect(),
                loaded_at: Some(handler.loaded_at),
                version: handler.version,
                digest: Some(handler.digest),
                error: handler.error.clone(),
                open_connections: handler.usage.current(),
                old_connections: handler.usage.earlier(),
                depends_on: handler.depends_on.clone(),
            });
        }
        all.extend(self.broken.iter().map(|broken| HandlerStatus {
            path: broken.path.clone(),
            resource: broken.resource.clone(),
            aliases: Vec::new(),
            loaded_at: None,
            version: 0,
            digest: None,
            error: Some(broken.error.clone()),
            open_connections: 0,
            old_connections: 0,
            depends_on: broken.depends_on.clone(),
        }));
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }
}
