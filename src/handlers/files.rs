//! What is known about the handler files, and how a look at them brings it up to date.
//!
//! [`registry`](super::registry) loads and publishes. Must not import pyo3 or tokio.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use super::file_state::{self, Examined, FileState, Load};
use super::helpers::Helpers;
use super::loader::Loader;
use super::map_file::MapFile;
use super::report::ReloadReport;
use super::resource::{self, Candidate, HandlerTree};

/// What is known about the files.
pub(super) struct Files<L: Loader> {
    pub(super) handlers: BTreeMap<PathBuf, FileState<L::Suite>>,
    /// The directories that could not be read, with the reason.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    pub(super) map: MapState,
    pub(super) helpers: Helpers,
    /// The files whose code runs at this moment, without anybody waiting for it.
    /// Each with when its load was ordered.
    pub(super) loading: BTreeMap<PathBuf, SystemTime>,
    /// The files that need a helper module which has changed since they were loaded.
    pub(super) stale: BTreeSet<PathBuf>,
    /// The files to look at in the next refresh, whatever that is about.
    pub(super) again: BTreeSet<PathBuf>,
    /// The files that went away in this refresh.
    pub(super) gone: BTreeSet<PathBuf>,
    /// The helper modules that are being imported anew without anybody waiting.
    pub(super) renewals: Vec<Pending<L::Renewal>>,
}

impl<L: Loader> Files<L> {
    pub(super) fn new() -> Self {
        Self {
            handlers: BTreeMap::new(),
            unreadable: Vec::new(),
            map: MapState::default(),
            helpers: Helpers::default(),
            loading: BTreeMap::new(),
            stale: BTreeSet::new(),
            again: BTreeSet::new(),
            gone: BTreeSet::new(),
            renewals: Vec::new(),
        }
    }

    /// Takes in what came of a task that was called `path`.
    pub(super) fn take_in(&mut self, path: PathBuf, finished: Finished<L::Suite>, report: &mut ReloadReport) {
        match finished {
            Finished::File { state, since } => {
                self.learn(&state.depends_on, since);
                if self.helpers.have_changed(&state.depends_on, since) {
                    // It took so long that a helper was renewed meanwhile.
                    self.stale.insert(path.clone());
                } else {
                    self.stale.remove(&path);
                }
                if let Some(error) = &state.error {
                    report.failed.push((path.clone(), error.clone()));
                }
                self.handlers.insert(path, *state);
            }
            // The files that need it are still stale.
            Finished::Helpers => {}
            Finished::TooEarly { imported } => {
                if let Some((depends_on, since)) = imported {
                    self.learn(&depends_on, since);
                }
                self.stale.insert(path);
            }
        }
    }

    /// Takes note of the helpers of a load that was ordered at `since`. It may have got them from another one that
    /// was ordered earlier and still runs.
    fn learn(&mut self, depends_on: &[PathBuf], since: SystemTime) {
        let earliest = self.loading.values().copied().fold(since, SystemTime::min);
        self.helpers.learn(depends_on, earliest);
    }

    /// Brings what is known about the files up to date as far as that needs no code of theirs; gives the
    /// loads that are left, and the paths for [`Self::look_again`].
    pub(super) fn look(
        &mut self,
        tree: &HandlerTree,
        scope: &Scope<'_>,
        report: &mut ReloadReport,
    ) -> (Vec<Load<L::Suite>>, BTreeSet<PathBuf>) {
        let mut candidates = Vec::new();
        let mut missing = BTreeSet::new();
        match scope {
            Scope::Everything => {
                (candidates, self.unreadable) = tree.scan();
                missing.extend(self.handlers.keys().cloned());
            }
            Scope::At(changed) => {
                let is_scanned = |path: &Path| path.starts_with(tree.scan_dir()) && changed.contains(path);
                for path in *changed {
                    let is_done = path.ancestors().skip(1).any(is_scanned);
                    if is_done || !path.starts_with(tree.scan_dir()) {
                        continue;
                    }
                    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
                        let (found, unreadable) = tree.scan_below(path);
                        candidates.extend(found);
                        self.unreadable.retain(|(directory, _)| !directory.starts_with(path));
                        self.unreadable.extend(unreadable);
                    } else if path.file_name().is_some_and(resource::is_handler_name) {
                        missing.insert(path.clone());
                    }
                }
                let concerns = |place: &Path| place.ancestors().any(|above| changed.contains(above));
                let concerned = self
                    .handlers
                    .iter()
                    .filter(|(path, state)| concerns(path) || state.links.iter().any(|link| concerns(link)));
                missing.extend(concerned.map(|(path, _)| path.clone()));
            }
        }
        missing.extend(mem::take(&mut self.again));
        missing.extend(self.stale.iter().cloned());
        let found: BTreeSet<&Path> = candidates.iter().map(|candidate| candidate.path.as_path()).collect();
        let known: Vec<PathBuf> =
            missing.iter().filter(|path| !found.contains(path.as_path())).cloned().collect();
        let mut loads = Vec::new();
        for path in &known {
            candidates.extend(tree.candidate(path));
        }
        for candidate in candidates {
            let path = candidate.path.clone();
            if self.examine(candidate, &mut loads, report) {
                missing.remove(&path);
            } else {
                missing.insert(path);
            }
        }
        (loads, missing)
    }

    /// Looks for files that were not found, and takes those for gone that are not there.
    pub(super) fn look_again(
        &mut self,
        tree: &HandlerTree,
        missing: BTreeSet<PathBuf>,
        report: &mut ReloadReport,
    ) -> Vec<Load<L::Suite>> {
        let mut loads = Vec::new();
        for path in missing {
            let candidate = tree.candidate(&path);
            if !candidate.is_some_and(|candidate| self.examine(candidate, &mut loads, report)) {
                self.remove(&path);
            }
        }
        loads
    }

    /// Whether the file is there.
    fn examine(
        &mut self,
        candidate: Candidate,
        loads: &mut Vec<Load<L::Suite>>,
        report: &mut ReloadReport,
    ) -> bool {
        let path = candidate.path.clone();
        if self.loading.contains_key(&path) {
            return true;
        }
        let stale = self.stale.contains(&path);
        match file_state::examine(candidate, self.handlers.get(&path), stale) {
            Examined::Gone => return false,
            Examined::Load(load) => loads.push(load),
            Examined::Known(known, failed) => {
                if let (true, Some(error)) = (failed, &known.error) {
                    report.failed.push((path.clone(), error.clone()));
                }
                self.handlers.insert(path, known);
            }
        }
        true
    }

    fn remove(&mut self, path: &Path) {
        self.stale.remove(path);
        if self.handlers.remove(path).is_some() {
            self.gone.insert(path.to_owned());
        }
    }
}

/// Helper modules that are imported anew.
pub(super) struct Pending<R> {
    /// Their files.
    pub(super) changed: Arc<[PathBuf]>,
    /// Set once it is done.
    pub(super) renewal: Arc<OnceLock<R>>,
}

impl<R> Pending<R> {
    pub(super) fn is_done(&self) -> bool {
        self.renewal.get().is_some()
    }
}

impl<R> Clone for Pending<R> {
    fn clone(&self) -> Self {
        Self { changed: Arc::clone(&self.changed), renewal: Arc::clone(&self.renewal) }
    }
}

/// Which files a refresh looks at.
pub(super) enum Scope<'a> {
    Everything,
    At(&'a BTreeSet<PathBuf>),
}

/// What a task gives.
pub(super) enum Finished<S> {
    /// A handler file was loaded by a load that was decided on at `since`.
    File { state: Box<FileState<S>>, since: SystemTime },
    /// Helper modules were imported anew.
    Helpers,
    /// A handler file waits for its helper modules. If it was loaded nevertheless: what it imports, and when its load
    /// was ordered.
    TooEarly { imported: Option<(Vec<PathBuf>, SystemTime)> },
}

impl<S: Send + Sync + 'static> Finished<S> {
    pub(super) fn run<L: Loader<Suite = S>>(load: Load<S>, loader: &L) -> Self {
        let since = load.since;
        Self::File { state: Box::new(load.run(loader)), since }
    }

    /// Not to be served: one of its helpers was being renewed.
    pub(super) fn too_early(self) -> Self {
        match self {
            Self::File { state, since } => Self::TooEarly { imported: Some((state.depends_on, since)) },
            other => other,
        }
    }

    /// Whether it is a file that imports one of `helpers`.
    pub(super) fn depends_on_any(&self, helpers: &[PathBuf]) -> bool {
        match self {
            Self::File { state, .. } => state.depends_on.iter().any(|helper| helpers.contains(helper)),
            Self::Helpers | Self::TooEarly { .. } => false,
        }
    }
}

/// What is known about the alias file.
#[derive(Default)]
pub(super) struct MapState {
    /// What it said when it could last be read.
    pub(super) file: MapFile,
    /// Why it cannot be read now.
    pub(super) error: Option<String>,
}
