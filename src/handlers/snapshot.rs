//! What is loaded at one moment: an immutable map from resources to handlers.
//!
//! Connections resolve their handler in a snapshot and keep it; a reload makes a new snapshot and leaves the
//! old one as it is. Must not import pyo3 or tokio.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::handler::{Broken, Handler, Slow};
use super::map_file::MapProblem;
use super::resource;
use crate::handover::UriFragmentError;

/// Every handler at one moment. Never changes.
#[derive(Debug)]
pub struct Snapshot<S> {
    pub(super) generation: u64,
    pub(super) handlers: BTreeMap<String, Arc<Handler<S>>>,
    pub(super) broken: Vec<Broken>,
    /// Files of which a version takes long to load.
    pub(super) loading: BTreeMap<PathBuf, Slow>,
    pub(super) warnings: Vec<String>,
    pub(super) map_problems: Vec<MapProblem>,
}

impl<S> Snapshot<S> {
    pub(crate) fn empty() -> Self {
        Self {
            generation: 0,
            handlers: BTreeMap::new(),
            broken: Vec::new(),
            loading: BTreeMap::new(),
            warnings: Vec::new(),
            map_problems: Vec::new(),
        }
    }

    /// How many snapshots the registry published up to this one; from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The handler for a request's resource, whose query and fragment do not count. `Ok(None)`: no handler.
    ///
    /// pywebsocket: a fragment is an error only where there is a handler.
    pub fn resolve(&self, resource: &str) -> Result<Option<Arc<Handler<S>>>, UriFragmentError> {
        let (key, fragment) = resource::lookup_key(resource);
        match self.handlers.get(key) {
            Some(_) if fragment => Err(UriFragmentError),
            handler => Ok(handler.map(Arc::clone)),
        }
    }

    /// A snapshot in which `alias` is served by what serves `existing` now, as pywebsocket's
    /// `Dispatcher.add_resource_path_alias` does it: both are taken literally, and the alias hides a handler of
    /// its name. `None`: nothing serves `existing`.
    ///
    /// [`Registry::add_alias`](super::registry::Registry::add_alias) does this so that it outlives reloads.
    #[must_use]
    pub(super) fn with_alias(&self, alias: &str, existing: &str) -> Option<Self> {
        let mut handlers = self.handlers.clone();
        insert_alias(&mut handlers, alias, existing).then(|| Self {
            generation: self.generation + 1,
            handlers,
            broken: self.broken.clone(),
            loading: self.loading.clone(),
            warnings: self.warnings.clone(),
            map_problems: self.map_problems.clone(),
        })
    }

    /// Why files gave no handler when they last should have, as pywebsocket's `source_warnings()`:
    /// `PATH: reason`, after it the traceback if there is one.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What is wrong in the alias file.
    #[must_use]
    pub fn map_problems(&self) -> &[MapProblem] {
        &self.map_problems
    }

    /// Every resource that is served, aliases included, with its handler; by name.
    pub fn handlers(&self) -> impl Iterator<Item = (&str, &Arc<Handler<S>>)> {
        self.handlers.iter().map(|(resource, handler)| (resource.as_str(), handler))
    }

    /// The handler whose file is `path`.
    #[must_use]
    pub(super) fn by_path(&self, path: &Path) -> Option<&Arc<Handler<S>>> {
        self.handlers.values().find(|handler| handler.path == path)
    }

    /// Whether `other` serves the same objects under the same names and complains of the same things.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.handlers.len() == other.handlers.len()
            && self.handlers.iter().zip(&other.handlers).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
            && self.warnings == other.warnings
            && self.loading == other.loading
            && self.map_problems == other.map_problems
    }

    /// Logs everything that is wrong, in pywebsocket's words and under the name that it logs them
    /// (the root logger). For the start of a server.
    pub fn log_problems(&self) {
        log_map_problems(&self.map_problems);
        for warning in &self.warnings {
            tracing::warn!(target: "root", "Warning in source loading: {warning}");
        }
    }
}

/// Logs what is wrong in the alias file as pywebsocket does.
pub(super) fn log_map_problems(problems: &[MapProblem]) {
    for problem in problems {
        match problem {
            MapProblem::Line(text) => tracing::warn!(target: "root", "{text}"),
            MapProblem::Target(text) => tracing::error!(target: "root", "{text}"),
        }
    }
}

/// Puts an alias into `handlers`; `false` when nothing serves `existing`.
pub(super) fn insert_alias<S>(
    handlers: &mut BTreeMap<String, Arc<Handler<S>>>,
    alias: &str,
    existing: &str,
) -> bool {
    let Some(handler) = handlers.get(existing).map(Arc::clone) else { return false };
    handlers.insert(alias.to_owned(), handler);
    true
}
