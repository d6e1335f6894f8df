//! What is known about the handler files, and how a look at them brings it up to date.
//!
//! [`registry`](super::registry) loads and publishes. Must not import pyo3 or tokio.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use super::file_state::{self, Examined, FileState, Load};
use super::helpers::Helpers;
use super::loader::Loader;
use super::loading::Loading;
use super::map_file::MapFile;
use super::report::ReloadReport;
use super::resource::{self, Candidate, Content, HandlerTree};
use crate::deadline;

/// When a file is looked at again that could not be read because the system had nothing left to do it with.
pub(super) const SHORTAGE: Duration = Duration::from_millis(250);

/// What is known about the files.
pub(super) struct Files<L: Loader> {
    pub(super) handlers: BTreeMap<PathBuf, FileState<L::Suite>>,
    /// The directories that could not be read, with the reason.
    pub(super) unreadable: Vec<(PathBuf, String)>,
    pub(super) map: MapState,
    pub(super) helpers: Helpers,
    /// The loads that run at this moment, without anybody waiting for them.
    pub(super) loading: Loading,
    /// Since when files are not there that were, and may be again in a moment.
    away: BTreeMap<PathBuf, Instant>,
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
            loading: Loading::default(),
            away: BTreeMap::new(),
            stale: BTreeSet::new(),
            again: BTreeSet::new(),
            gone: BTreeSet::new(),
            renewals: Vec::new(),
        }
    }

    /// Takes in what came of a task that was called `path`.
    pub(super) fn take_in(&mut self, path: PathBuf, finished: Finished<L::Suite>, report: &mut ReloadReport) {
        match finished {
            Finished::File { state, since, number: _ } => {
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
                if state.is_to_be_tried_again {
                    self.again.insert(path.clone());
                    report.look_again(deadline::after(SHORTAGE));
                }
                self.handlers.insert(path, *state);
            }
            // The files that need a helper are still stale.
            Finished::Nothing => {}
            Finished::TooEarly { imported, number: _ } => {
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
        let earliest = self.loading.ordered().fold(since, SystemTime::min);
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
                let found = tree.scan();
                (candidates, self.unreadable) = (found.candidates, found.unreadable);
                report.looks_at_everything_again |= found.is_incomplete;
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
                        let found = tree.scan_below(path);
                        candidates.extend(found.candidates);
                        self.unreadable.retain(|(directory, _)| !directory.starts_with(path));
                        self.unreadable.extend(found.unreadable);
                        report.looks_at_everything_again |= found.is_incomplete;
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
            if !self.is_away(&candidate) && self.examine(candidate, &mut loads, report) {
                missing.remove(&path);
            } else {
                missing.insert(path);
            }
        }
        (loads, missing)
    }

    /// Looks for files that were not found, and takes those for gone that have not been there for as long as `patience`.
    pub(super) fn look_again(
        &mut self,
        tree: &HandlerTree,
        missing: BTreeSet<PathBuf>,
        patience: Duration,
        report: &mut ReloadReport,
    ) -> Vec<Load<L::Suite>> {
        let mut loads = Vec::new();
        for path in missing {
            let candidate = tree.candidate(&path);
            let is_away = candidate.as_ref().is_none_or(|candidate| self.is_away(candidate));
            // Another tree is another file.
            if is_away && path.starts_with(tree.scan_dir()) && self.is_waited_for(&path, patience, report) {
                continue;
            }
            if candidate.is_some_and(|candidate| self.examine(candidate, &mut loads, report)) {
                if !is_away {
                    self.away.remove(&path);
                }
            } else {
                self.away.remove(&path);
                self.remove(&path);
            }
        }
        loads
    }

    /// Whether what was served from the file is nowhere at this moment.
    fn is_away(&self, candidate: &Candidate) -> bool {
        let serves = self.handlers.get(&candidate.path).is_some_and(|state| state.handler.is_some());
        serves && matches!(candidate.content, Content::Away(_))
    }

    /// Whether a file that is not there may still be back in time.
    fn is_waited_for(&mut self, path: &Path, patience: Duration, report: &mut ReloadReport) -> bool {
        if self.handlers.get(path).is_none_or(|state| state.handler.is_none()) {
            return false;
        }
        let since = *self.away.entry(path.to_owned()).or_insert_with(Instant::now);
        let waits = since.elapsed() < patience;
        if waits {
            self.again.insert(path.to_owned());
            report.look_again(deadline::from(since, patience));
        }
        waits
    }

    /// Whether the file is there.
    fn examine(
        &mut self,
        candidate: Candidate,
        loads: &mut Vec<Load<L::Suite>>,
        report: &mut ReloadReport,
    ) -> bool {
        let path = candidate.path.clone();
        let is_away = matches!(candidate.content, Content::Away(_));
        if !is_away {
            self.away.remove(&path);
        }
        let stale = self.stale.contains(&path);
        match file_state::examine(candidate, self.handlers.get(&path), stale) {
            // Its load runs; what is not there has not changed.
            Examined::Gone => return self.loading.contains(&path),
            Examined::Load(load) => {
                if self.loading.is_outdated_by(&load) {
                    loads.push(load);
                }
            }
            Examined::Known(known, failed) => {
                if let (true, Some(error)) = (failed, &known.error) {
                    report.failed.push((path.clone(), error.clone()));
                }
                if known.is_to_be_tried_again {
                    self.again.insert(path.clone());
                    report.look_again(deadline::after(SHORTAGE));
                }
                self.loading.abandon(&path, known.digest());
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
    /// A handler file was loaded by the load of this number, which was decided on at `since`.
    File { state: Box<FileState<S>>, since: SystemTime, number: u64 },
    /// Helper modules were imported anew, or what is gone was told so.
    Nothing,
    /// A handler file waits for its helper modules. If it was loaded nevertheless: what it imports, and when its load
    /// was ordered.
    TooEarly { imported: Option<(Vec<PathBuf>, SystemTime)>, number: u64 },
}

impl<S: Send + Sync + 'static> Finished<S> {
    pub(super) fn run<L: Loader<Suite = S>>(load: Load<S>, number: u64, loader: &L) -> Self {
        let since = load.since;
        Self::File { state: Box::new(load.run(loader)), since, number }
    }

    /// The number of the load, if it was one.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::File { number, .. } | Self::TooEarly { number, .. } => Some(*number),
            Self::Nothing => None,
        }
    }

    /// Not to be served: one of its helpers was being renewed.
    pub(super) fn too_early(self) -> Self {
        match self {
            Self::File { state, since, number } => {
                Self::TooEarly { imported: Some((state.depends_on, since)), number }
            }
            other => other,
        }
    }

    /// Whether it is a file that imports one of `helpers`.
    pub(super) fn depends_on_any(&self, helpers: &[PathBuf]) -> bool {
        match self {
            Self::File { state, .. } => state.depends_on.iter().any(|helper| helpers.contains(helper)),
            Self::Nothing | Self::TooEarly { .. } => false,
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
