//! The handlers that are loaded, and how they are brought up to date.
//!
//! Readers take a [`Snapshot`] and wait for nothing. [`Registry::refresh`] compares the files with what is
//! loaded and publishes one new snapshot; it is called by [`watcher`](super::watcher) and may be called by
//! anybody. Must not import pyo3 or tokio.
//!
//! Two locks: `files` is held for a whole refresh, thus while handler files run; `aliases` only for the moment
//! of a publication, and never while anything is called that could wait. Readers need neither.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{self, Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

use super::file_state::{FileState, Load};
use super::files::{Files, Finished, MapState, Pending, SHORTAGE, Scope};
use super::handler::Broken;
use super::helpers::Changes;
use super::loader::{LoadError, Loader};
use super::loading::Running;
use super::main_thread::MainThread;
use super::map_file::{self, MapFile};
use super::report::ReloadReport;
use super::resource::{self, HandlerTree, cannot_be_read};
use super::slow_loads::SlowLoads;
use super::snapshot::{Snapshot, insert_alias};
use super::tasks::{self, Task};
use crate::config::HandlersConfig;
use crate::deadline;
use crate::error::StartError;
use crate::http::{read_pipe, read_regular};

/// The option that names the alias file.
const MAP_FILE_OPTION: &str = "--websock-handlers-map-file";

/// A file that is not there keeps its last version for so long: editors rename it, wait, and write a new one.
const AWAY: Duration = Duration::from_millis(100);

/// Loads handler files with an `L` and keeps what it gives.
pub struct Registry<L: Loader> {
    tree: Mutex<HandlerTree>,
    map_path: Option<PathBuf>,
    /// Whether that is a pipe, which can be read but once.
    map_is_pipe: bool,
    loader: Arc<L>,
    files: Mutex<Files<L>>,
    /// What loads gave that no refresh waited for.
    late: Mutex<Vec<(PathBuf, Finished<L::Suite>)>>,
    /// Loads files while it has nothing else to do.
    main: OnceLock<Arc<MainThread>>,
    /// Called when there is something in `late`.
    on_late: Mutex<Option<Box<dyn Fn() + Send>>>,
    /// Aliases that were added by calls, each with what it stands for, in that order.
    aliases: Mutex<Vec<(String, String)>>,
    /// Notified with `aliases` locked, whenever `current` is another one.
    published: Condvar,
    current: ArcSwap<Snapshot<L::Suite>>,
}

/// The paths whose changes can change what is served.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The handler files.
    pub files: Vec<PathBuf>,
    /// Every place on the way to those, where they are symbolic links; to helper modules, to the alias file, and to the
    /// tree.
    pub outside: Vec<PathBuf>,
}

impl<L: Loader> Registry<L> {
    /// Loads every handler file and reads the alias file. Files that fail to load are warnings in the
    /// snapshot; that a directory or the alias file cannot be read is an error.
    pub fn open(config: &HandlersConfig, loader: L) -> Result<Self, StartError> {
        Self::open_showing(config, loader, |_, _| {})
    }

    /// As [`Self::open`]; `show` is told how many files have been tried, and of how many, before the first one and
    /// after each.
    pub fn open_showing(
        config: &HandlersConfig,
        loader: L,
        show: impl FnMut(usize, usize),
    ) -> Result<Self, StartError> {
        let tree = HandlerTree::open(config)?;
        let mut files = Files::new();
        let (mut map_path, mut map_is_pipe) = (None, false);
        if let Some(path) = &config.map_file {
            let opened = open_map(path, &mut files.map).map_err(|source| StartError::File {
                option: MAP_FILE_OPTION,
                path: path.clone(),
                source,
            });
            map_is_pipe = opened?;
            map_path = Some(path::absolute(path).unwrap_or_else(|_| path.clone()));
        }
        let registry = Self {
            tree: Mutex::new(tree),
            map_path,
            map_is_pipe,
            loader: Arc::new(loader),
            files: Mutex::new(files),
            late: Mutex::new(Vec::new()),
            main: OnceLock::new(),
            on_late: Mutex::new(None),
            aliases: Mutex::new(Vec::new()),
            published: Condvar::new(),
            current: ArcSwap::from_pointee(Snapshot::empty()),
        };
        registry.load_first(show);
        Ok(registry)
    }

    /// Loads everything on this thread: handlers of the start may set signal handlers, and nothing is served
    /// before all have been tried.
    fn load_first(&self, mut show: impl FnMut(usize, usize)) {
        let mut files = self.files.lock();
        let mut report = ReloadReport::default();
        let notice = SlowLoads::new();
        let (loads, _) = files.look(&self.tree.lock(), &Scope::Everything, &mut report);
        let total = loads.len();
        show(0, total);
        for (done, load) in (1..).zip(loads) {
            let path = load.path().to_owned();
            notice.begins(&path);
            let number = files.loading.number();
            files.take_in(path, Finished::run(load, number, &*self.loader), &mut report);
            show(done, total);
        }
        self.conclude(&mut files, &mut report);
    }

    /// From now on files are loaded by `main`, as they were at the start, while it is free.
    pub fn load_on(&self, main: Arc<MainThread>) {
        // One that was told before stays.
        let _ = self.main.set(main);
    }

    /// What is loaded now. Waits for nothing, not even for a reload that is under way.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot<L::Suite>> {
        self.current.load_full()
    }

    /// The directory that handler files are looked for in, in canonical form.
    #[must_use]
    pub fn scan_dir(&self) -> PathBuf {
        self.tree.lock().scan_dir().to_owned()
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
        let deadline = deadline::after(timeout);
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
    /// Calls wait for each other. Returns within a moment also when the code of a handler file does not: that
    /// file is published when it is done.
    pub fn refresh(self: &Arc<Self>) -> ReloadReport {
        self.update(Scope::Everything, Duration::ZERO)
    }

    /// As [`Self::refresh`], looking only at what lies at or below the `changed` paths or is linked to there, at
    /// helper modules and at the alias file. Costs nothing for the rest of the tree.
    pub fn refresh_at(self: &Arc<Self>, changed: &BTreeSet<PathBuf>) -> ReloadReport {
        self.update(Scope::At(changed), Duration::ZERO)
    }

    /// As the two above (`None`: everything) for who asks again: a file that is not there may be back in a moment, and
    /// keeps its last version for [`AWAY`].
    pub(super) fn refresh_patiently(self: &Arc<Self>, changed: Option<&BTreeSet<PathBuf>>) -> ReloadReport {
        self.update(changed.map_or(Scope::Everything, Scope::At), AWAY)
    }

    fn update(self: &Arc<Self>, scope: Scope<'_>, patience: Duration) -> ReloadReport {
        let started = Instant::now();
        let mut files = self.files.lock();
        let mut report = ReloadReport::default();
        self.collect_late(&mut files, &mut report);
        let (tree, scope) = self.tree_now(scope);
        let Changes { files: changed, unusable, is_incomplete } = files.helpers.take_changed();
        report.failed.extend(
            unusable.into_iter().map(|(path, message)| (path, LoadError { message, traceback: None })),
        );
        if is_incomplete {
            report.look_again(deadline::after(SHORTAGE));
        }
        let needs = |state: &FileState<_>| state.depends_on.iter().any(|helper| changed.contains(helper));
        let dependants = files.handlers.iter().filter(|(_, state)| needs(state));
        let dependants: Vec<_> = dependants.map(|(path, _)| path.clone()).collect();
        files.stale.extend(dependants);
        let renewal = Arc::new(OnceLock::new());
        if !changed.is_empty() {
            files.renewals.push(Pending { changed: changed.clone().into(), renewal: Arc::clone(&renewal) });
        }
        let (loads, mut missing) = files.look(&tree, &scope, &mut report);
        self.load(&mut files, changed, &renewal, loads, &mut report);
        if renewal.get().is_some() {
            // What came too early for the helpers: if they were done before all else was, nobody calls again.
            missing.extend(files.stale.iter().cloned());
        }
        // What was missing may have been on its way from one name to another: it is looked for again now that
        // all else is done.
        let loads = files.look_again(&tree, missing, patience, &mut report);
        self.load(&mut files, Vec::new(), &renewal, loads, &mut report);
        files.renewals.retain(|pending| !pending.is_done());
        let farewells = self.farewells(&mut files);
        self.conclude(&mut files, &mut report);
        if report.looks_at_everything_again {
            report.look_again(deadline::after(SHORTAGE));
        }
        drop(files);
        if let Err(error) = tasks::run(farewells, self.main(), |_, ()| {}) {
            tracing::error!(target: "wshost.reload", "cannot start a thread for wshost_unload: {error}; it is not called");
        }
        report.took += started.elapsed();
        report
    }

    fn main(&self) -> Option<&MainThread> {
        self.main.get().map(|main| &**main)
    }

    /// The tree that the names of the two directories lead to now, and what to look at: all of another one.
    fn tree_now<'a>(&self, scope: Scope<'a>) -> (HandlerTree, Scope<'a>) {
        let mut tree = self.tree.lock();
        let Some(other) = tree.switched() else { return (tree.clone(), scope) };
        tracing::info!(target: "wshost.reload", "Handlers come from {} now", other.scan_dir().display());
        *tree = other;
        (tree.clone(), Scope::Everything)
    }

    /// What tells files that they are gone, which may take as long as it likes.
    fn farewells(&self, files: &mut Files<L>) -> Vec<Task<()>> {
        let gone = mem::take(&mut files.gone).into_iter().filter(|path| !files.handlers.contains_key(path));
        gone.map(|path| Task { run: self.loader.forget(&path), path }).collect()
    }

    /// Loads on other threads, and takes in what comes back soon.
    fn load(
        self: &Arc<Self>,
        files: &mut Files<L>,
        changed: Vec<PathBuf>,
        renewal: &Arc<OnceLock<L::Renewal>>,
        loads: Vec<Load<L::Suite>>,
        report: &mut ReloadReport,
    ) {
        let mut tasks = Vec::new();
        let mut ordered = BTreeMap::new();
        if let Some(first) = changed.first().cloned() {
            let (loader, renewal) = (Arc::clone(&self.loader), Arc::clone(renewal));
            tasks.push(Task {
                path: first,
                run: Box::new(move || {
                    let _ = renewal.set(loader.renew(&changed));
                    Finished::Nothing
                }),
            });
        }
        for load in loads {
            let path = load.path().to_owned();
            // What a load of other bytes gives, which still runs, counts no more.
            files.loading.abandon(&path, None);
            let number = files.loading.number();
            ordered.insert(path.clone(), (number, Running::of(&load)));
            let (is_stale, renewals) = (files.stale.contains(&path), files.renewals.clone());
            let loader = Arc::clone(&self.loader);
            tasks.push(Task {
                path,
                run: Box::new(move || {
                    let pending: Vec<_> = renewals.iter().filter(|pending| !pending.is_done()).collect();
                    if is_stale && !pending.is_empty() {
                        return Finished::TooEarly { imported: None, number };
                    }
                    let finished = Finished::run(load, number, &*loader);
                    // What a new file imports is known now: it may have got a module that is being renewed.
                    if pending.iter().any(|pending| finished.depends_on_any(&pending.changed)) {
                        return finished.too_early();
                    }
                    finished
                }),
            });
        }
        if tasks.is_empty() {
            return;
        }
        let registry = Arc::downgrade(self);
        let late = move |path, finished| {
            if let Some(registry) = registry.upgrade() {
                registry.came_late(path, finished);
            }
        };
        match tasks::run(tasks, self.main(), late) {
            Ok(outcome) => {
                for (_, (number, running)) in
                    ordered.into_iter().filter(|(path, _)| outcome.late.contains(path))
                {
                    files.loading.runs_on(number, running);
                }
                for (path, finished) in outcome.done {
                    files.take_in(path, finished, report);
                }
                for path in &outcome.late {
                    tracing::info!(
                        target: "wshost.reload",
                        "{} takes long to load; it is served once it has, and loaded anew when it is saved",
                        path.display()
                    );
                }
            }
            Err(error) => {
                report.looks_at_everything_again = true;
                tracing::error!(
                    target: "wshost.reload",
                    "cannot start a thread to load handlers: {error}; it is tried again"
                );
            }
        }
    }

    /// A load is done that nobody waited for. Runs on its thread.
    fn came_late(self: &Arc<Self>, path: PathBuf, finished: Finished<L::Suite>) {
        self.late.lock().push((path, finished));
        let on_late = self.on_late.lock();
        if let Some(notify) = &*on_late {
            notify();
        } else {
            drop(on_late);
            self.refresh().log(&self.snapshot());
        }
    }

    /// From now on calls `notify` when a load is done that no refresh waited for; the next refresh publishes it.
    /// `None`: the registry refreshes itself.
    pub(super) fn on_late(&self, notify: Option<Box<dyn Fn() + Send>>) {
        *self.on_late.lock() = notify;
    }

    fn collect_late(&self, files: &mut Files<L>, report: &mut ReloadReport) {
        let late = mem::take(&mut *self.late.lock());
        for (path, finished) in late {
            if let Some(number) = finished.number() {
                // It may have changed since its load began. Helpers are looked at each time, and are no handlers.
                files.again.insert(path.clone());
                if !files.loading.end(number) {
                    continue;
                }
            }
            files.take_in(path, finished, report);
        }
    }

    /// Publishes what is known.
    fn conclude(&self, files: &mut Files<L>, report: &mut ReloadReport) {
        if let Some(at) = files.loading.warn() {
            report.look_again(at);
        }
        self.read_map(&mut files.map, report);
        self.publish(files, report);
    }

    /// The paths whose changes can change what is served. Waits for a reload that is under way.
    pub fn inputs(&self) -> Inputs {
        let files = self.files.lock();
        let mut outside = self.tree.lock().links();
        outside.extend(files.handlers.values().flat_map(|state| state.links.iter().cloned()));
        let helpers = files.handlers.values().flat_map(|state| &state.depends_on);
        for path in helpers.collect::<BTreeSet<_>>().into_iter().chain(&self.map_path) {
            outside.extend(resource::way(path));
        }
        outside.sort();
        outside.dedup();
        Inputs { files: files.handlers.keys().cloned().collect(), outside }
    }

    /// Reads the alias file; one that cannot be read leaves the aliases as they were.
    fn read_map(&self, map: &mut MapState, report: &mut ReloadReport) {
        let Some(path) = self.map_path.as_ref().filter(|_| !self.map_is_pipe) else { return };
        match read_regular(path) {
            Ok(bytes) => *map = MapState { file: MapFile::parse(path, &bytes), error: None },
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
    fn publish(&self, files: &Files<L>, report: &mut ReloadReport) {
        let failures = files.handlers.iter().filter_map(|(path, state)| Some((path, state.error.as_ref()?)));
        let mut warnings: Vec<String> = failures.map(|(path, error)| error.describe(path)).collect();
        warnings
            .extend(files.unreadable.iter().map(|(path, reason)| format!("{}: {reason}", path.display())));
        let broken = files.handlers.iter().filter(|(_, state)| state.handler.is_none());
        let broken = broken.filter_map(|(path, state)| {
            Some(Broken {
                path: path.clone(),
                resource: state.resource.clone(),
                error: state.error.clone()?,
                depends_on: state.depends_on.clone(),
            })
        });
        let broken = broken.collect();
        let mut handlers: BTreeMap<_, _> = files
            .handlers
            .values()
            .filter_map(|state| state.handler.as_ref())
            .map(|handler| (handler.resource.clone(), Arc::clone(handler)))
            .collect();
        let mut map_problems = files.map.file.problems.clone();
        if let Some(path) = &self.map_path {
            for alias in &files.map.file.aliases {
                if !insert_alias(&mut handlers, &alias.alias, &alias.resource) {
                    map_problems.push(map_file::unknown_target(path, alias));
                }
            }
        }
        let aliases = self.aliases.lock();
        for (alias, existing) in aliases.iter() {
            insert_alias(&mut handlers, alias, existing);
        }
        let old = self.snapshot();
        let next = Snapshot {
            generation: old.generation + 1,
            handlers,
            broken,
            loading: files.loading.slow(),
            warnings,
            map_problems,
        };
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

/// Sees that the alias file can be read, and reads it if it is a pipe, which it gives.
fn open_map(path: &Path, map: &mut MapState) -> io::Result<bool> {
    let is_pipe = fs::metadata(path)?.file_type().is_fifo();
    if is_pipe {
        map.file = MapFile::parse(path, &read_pipe(path)?);
    } else {
        read_regular(path)?;
    }
    Ok(is_pipe)
}

#[cfg(test)]
mod tests;
