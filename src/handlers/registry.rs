//! The handlers that are loaded, and how they are brought up to date.
//!
//! Readers take a [`Snapshot`] and wait for nothing. [`Registry::refresh`] compares the files with what is
//! loaded and publishes one new snapshot; it is called by [`watcher`](super::watcher) and may be called by
//! anybody. Must not import pyo3 or tokio.
//!
//! Two locks: `files` is held for a whole refresh, thus while handler files run; `aliases` only for the moment
//! of a publication, and never while anything is called that could wait. Readers need neither.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::map_file::{self, MapFile};
use super::reload::{self, FileState, ReloadReport};
use super::resource::{self, Candidate, HandlerTree, cannot_be_read};
pub use super::snapshot::{Digest, Handler, Snapshot};
use super::{LoadError, Loader};
use crate::config::HandlersConfig;
use crate::error::StartError;

/// The option that names the alias file.
const MAP_FILE_OPTION: &str = "--websock-handlers-map-file";

/// Loads handler files with an `L` and keeps what it gives.
pub struct Registry<L: Loader> {
    tree: HandlerTree,
    map_path: Option<PathBuf>,
    loader: L,
    files: Mutex<Files<L::Suite>>,
    /// Aliases that were added by calls, each with what it stands for, in that order.
    aliases: Mutex<Vec<(String, String)>>,
    /// Notified with `aliases` locked, whenever `current` is another one.
    published: Condvar,
    current: ArcSwap<Snapshot<L::Suite>>,
}

/// What is known about the files.
struct Files<S> {
    handlers: BTreeMap<PathBuf, FileState<S>>,
    map: MapState,
}

/// What is known about the alias file.
#[derive(Default)]
struct MapState {
    /// What it said when it could last be read.
    file: MapFile,
    /// Why it cannot be read now.
    error: Option<String>,
}

/// The paths whose changes can change what is served.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The handler files.
    pub files: Vec<PathBuf>,
    /// What those and the alias file lead to, where they are symbolic links, and the alias file itself.
    pub outside: Vec<PathBuf>,
}

impl<L: Loader> Registry<L> {
    /// Loads every handler file and reads the alias file. Files that fail to load are warnings in the
    /// snapshot; that a directory or the alias file cannot be read is an error.
    pub fn open(config: &HandlersConfig, loader: L) -> Result<Self, StartError> {
        let tree = HandlerTree::open(config)?;
        let map_path = config.map_file.as_deref().map(readable_file).transpose()?;
        let registry = Self {
            tree,
            map_path,
            loader,
            files: Mutex::new(Files { handlers: BTreeMap::new(), map: MapState::default() }),
            aliases: Mutex::new(Vec::new()),
            published: Condvar::new(),
            current: ArcSwap::from_pointee(Snapshot::empty()),
        };
        registry.refresh();
        Ok(registry)
    }

    /// What is loaded now. Waits for nothing, not even for a reload that is under way.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot<L::Suite>> {
        self.current.load_full()
    }

    /// The directory that handler files are looked for in, in canonical form.
    #[must_use]
    pub fn scan_dir(&self) -> &Path {
        self.tree.scan_dir()
    }

    /// From now on `alias` is served by what serves `existing`, after later reloads, too (unless it is gone
    /// then). `false`, and nothing done: nothing serves `existing`.
    ///
    /// Waits for no reload, so that handlers may call it while they are loaded.
    pub fn add_alias(&self, alias: &str, existing: &str) -> bool {
        let mut aliases = self.aliases.lock();
        let Some(next) = self.current.load().with_alias(alias, existing) else { return false };
        aliases.push((alias.to_owned(), existing.to_owned()));
        let old = self.current.swap(Arc::new(next));
        self.published.notify_all();
        drop(aliases);
        drop(old);
        true
    }

    /// Waits until a snapshot of at least this generation is published; `None`: not within `timeout`.
    pub fn wait_for_generation(&self, generation: u64, timeout: Duration) -> Option<Arc<Snapshot<L::Suite>>> {
        let deadline = Instant::now() + timeout;
        let mut aliases = self.aliases.lock();
        loop {
            let snapshot = self.snapshot();
            if snapshot.generation() >= generation {
                return Some(snapshot);
            }
            if self.published.wait_until(&mut aliases, deadline).timed_out() {
                return None;
            }
        }
    }

    /// Loads what is new or has changed, forgets what is gone, and publishes it all at once; nothing is
    /// published when all is as before. A file that fails keeps its last good version, and a handler whose
    /// file did not change stays the same object.
    ///
    /// Calls wait for each other. May take as long as the imports of handler files do.
    pub fn refresh(&self) -> ReloadReport {
        let started = Instant::now();
        let mut report = ReloadReport::default();
        let mut files = self.files.lock();
        let (candidates, unreadable) = self.tree.scan();
        let mut now = BTreeMap::new();
        for candidate in candidates {
            self.update(candidate, &files.handlers, &mut now, &mut report);
        }
        // What is missing may have been on its way from one name to another: look again, now that all else
        // is done.
        for path in files.handlers.keys() {
            if !now.contains_key(path)
                && let Some(candidate) = self.tree.candidate(path)
            {
                self.update(candidate, &files.handlers, &mut now, &mut report);
            }
        }
        files.handlers = now;
        self.read_map(&mut files.map, &mut report);
        self.publish(&files, &unreadable, &mut report);
        report.took = started.elapsed();
        report
    }

    /// The paths whose changes can change what is served. Waits for a reload that is under way.
    pub fn inputs(&self) -> Inputs {
        let files = self.files.lock();
        let mut outside: Vec<PathBuf> =
            files.handlers.values().flat_map(|state| state.links.iter().cloned()).collect();
        if let Some(path) = &self.map_path {
            outside.extend(resource::link_chain(path));
            outside.push(path.clone());
        }
        outside.sort();
        outside.dedup();
        Inputs { files: files.handlers.keys().cloned().collect(), outside }
    }

    /// Puts what is known of one file into `now`, after loading it if need be.
    fn update(
        &self,
        candidate: Candidate,
        before: &BTreeMap<PathBuf, FileState<L::Suite>>,
        now: &mut BTreeMap<PathBuf, FileState<L::Suite>>,
        report: &mut ReloadReport,
    ) {
        let path = candidate.path.clone();
        let known = before.get(&path);
        let Some(examined) = reload::examine(&self.loader, candidate, known) else { return };
        if let (true, Some(error)) = (examined.failed, &examined.state.error) {
            report.failed.push((path.clone(), error.clone()));
        }
        now.insert(path, examined.state);
    }

    /// Reads the alias file; one that cannot be read leaves the aliases as they were.
    fn read_map(&self, map: &mut MapState, report: &mut ReloadReport) {
        let Some(path) = &self.map_path else { return };
        match fs::read(path) {
            Ok(bytes) => *map = MapState { file: map_file::parse(path, &bytes), error: None },
            Err(error) => {
                let message = cannot_be_read(&error);
                if map.error.as_ref() != Some(&message) {
                    let error = LoadError { message: message.clone(), traceback: None };
                    report.failed.push((path.clone(), error));
                    map.error = Some(message);
                }
            }
        }
    }

    /// Makes a snapshot of what is known and publishes it if it differs from the current one.
    fn publish(&self, files: &Files<L::Suite>, unreadable: &[(PathBuf, String)], report: &mut ReloadReport) {
        let failures = files.handlers.iter().filter_map(|(path, state)| Some((path, state.error.as_ref()?)));
        let mut warnings: Vec<String> = failures.map(|(path, error)| reload::describe(path, error)).collect();
        warnings.extend(unreadable.iter().map(|(path, reason)| format!("{}: {reason}", path.display())));
        let mut handlers: BTreeMap<_, _> = files
            .handlers
            .values()
            .filter_map(|state| state.handler.as_ref())
            .map(|handler| (handler.resource.clone(), Arc::clone(handler)))
            .collect();
        let mut map_problems = files.map.file.problems.clone();
        if let Some(path) = &self.map_path {
            for alias in &files.map.file.aliases {
                if !super::snapshot::insert_alias(&mut handlers, &alias.alias, &alias.resource) {
                    map_problems.push(map_file::unknown_target(path, alias));
                }
            }
        }
        let aliases = self.aliases.lock();
        for (alias, existing) in aliases.iter() {
            super::snapshot::insert_alias(&mut handlers, alias, existing);
        }
        let old = self.snapshot();
        let next = Snapshot { generation: old.generation + 1, handlers, warnings, map_problems };
        report.compare(&old, &next);
        if old.generation == 0 || !next.is_same(&old) {
            self.current.store(Arc::new(next));
            self.published.notify_all();
        }
        // The last reference to a suite goes with `old`: not under the lock.
        drop(aliases);
        drop(old);
    }
}

/// The absolute path of the alias file, if it can be read.
fn readable_file(path: &Path) -> Result<PathBuf, StartError> {
    let fail = |source| StartError::File { option: MAP_FILE_OPTION, path: path.to_owned(), source };
    fs::read(path).map_err(fail)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = fs::canonicalize(directory.unwrap_or(Path::new("."))).map_err(fail)?;
    let name = path.file_name().ok_or_else(|| fail(io::ErrorKind::IsADirectory.into()))?;
    Ok(directory.join(name))
}

#[cfg(test)]
mod tests;
