//! Watches the handler files and reloads what is saved.
//!
//! One thread, `wsh-reload`, gathers the events of the file system until they pause and then lets
//! [`Registry::refresh`] find out what changed: an event only says that it is worth looking. Hence an event too
//! many costs a look, and what must not happen is one too few: directories are watched before they are read.
//! Must not import pyo3 or tokio.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use walkdir::WalkDir;

use super::Loader;
use super::registry::{Inputs, Registry};
use super::resource::is_handler_name;
use crate::config::HandlersConfig;
use crate::error::StartError;

/// A change is loaded after this many delays at the latest, even if the file system does not pause.
const MAX_DELAYS: u32 = 10;

/// How long a stop waits for a load that is under way.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Keeps a registry up to date. Dropping it ends that; a load that is under way then is waited for, up to a
/// second, so that the thread that drops it must not hold the GIL.
pub struct Watcher {
    messages: Sender<Message>,
    /// Disconnected when the thread is done.
    done: Receiver<Infallible>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // An error means that the thread is gone already.
        let _ = self.messages.send(Message::Stop);
        if matches!(self.done.recv_timeout(STOP_GRACE), Err(RecvTimeoutError::Timeout)) {
            tracing::warn!(target: "wshost.reload", "A handler file is still being loaded; not waiting for it");
        } else if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// What the thread is told.
enum Message {
    Event(notify::Result<Event>),
    Stop,
}

/// Starts to watch the files of `registry` and loads what is saved from now on, and what was since they
/// were read. An error: the system does not let us watch.
pub fn watch<L: Loader>(registry: Arc<Registry<L>>, config: &HandlersConfig) -> Result<Watcher, StartError> {
    let scan = registry.scan_dir().to_owned();
    let fail = |reason: String| StartError::Watch { path: registry.scan_dir().to_owned(), reason };
    let (messages, received) = mpsc::channel();
    let events = messages.clone();
    let notifier = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if !event.as_ref().is_ok_and(is_noise) {
            // An error means that the thread is about to end.
            let _ = events.send(Message::Event(event));
        }
    })
    .map_err(|error| fail(reason(&error)))?;
    let mut watches = Watches { notifier, scan, scan_is_watched: true, beside: BTreeSet::new() };
    watches.watch_tree(registry.scan_dir()).map_err(|error| fail(reason(&error)))?;
    let (alive, done) = mpsc::channel();
    let reloader = Reloader {
        inputs: Inputs::default(),
        registry: Arc::clone(&registry),
        watches,
        delay: config.reload_delay,
        new_directories: BTreeSet::new(),
    };
    let thread = thread::Builder::new()
        .name("wsh-reload".to_owned())
        .spawn(move || {
            // Held for as long as the thread lives.
            let _alive: Sender<Infallible> = alive;
            reloader.run(&received);
        })
        .map_err(|error| fail(error.to_string()))?;
    Ok(Watcher { messages, done, thread: Some(thread) })
}

/// Whether an event says nothing about the contents of a file. The end of writing does: what was written
/// through a memory map shows in no other way.
fn is_noise(event: &Event) -> bool {
    matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
}

/// What the system said, and what to do where it is not plain.
fn reason(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "the limit on watched directories is reached (raise fs.inotify.max_user_watches)".to_owned()
        }
        ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => format!(
            "{error}: the limit on inotify instances or open files is reached \
             (raise fs.inotify.max_user_instances or ulimit -n)"
        ),
        _ => error.to_string(),
    }
}

/// The directories that the system watches for us.
struct Watches {
    notifier: RecommendedWatcher,
    /// Watched with everything below.
    scan: PathBuf,
    /// Whether it is; not if it may have been replaced as a whole.
    scan_is_watched: bool,
    /// Watched without what is below: where links and the alias file lead to, and what `scan` lies in. For one
    /// that is not there, the nearest directory above it that is.
    beside: BTreeSet<PathBuf>,
}

impl Watches {
    /// Watches `directory` and everything below it. When this returns, whatever happens there makes an event.
    fn watch_tree(&mut self, directory: &Path) -> notify::Result<()> {
        match self.notifier.watch(directory, RecursiveMode::Recursive) {
            Err(error) if is_denied(&error) => self.watch_each(directory),
            result => result,
        }
    }

    /// As [`Self::watch_tree`], leaving out the directories that we may not read: no file there is loaded.
    fn watch_each(&mut self, directory: &Path) -> notify::Result<()> {
        let entries = WalkDir::new(directory).into_iter().filter_map(Result::ok);
        for entry in entries.filter(|entry| entry.file_type().is_dir()) {
            match self.notifier.watch(entry.path(), RecursiveMode::NonRecursive) {
                Err(error) if is_denied(&error) || is_gone(&error) => {
                    tracing::debug!(target: "wshost.reload", "{} is not watched: {error}", entry.path().display());
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Watches `scan` again if it may be another directory than before.
    fn follow_scan(&mut self) -> notify::Result<()> {
        if !self.scan_is_watched {
            // Or else the end of the old directory, reported under the same name, would end the new watch.
            let _ = self.notifier.unwatch(&self.scan);
            self.watch_tree(&self.scan.clone())?;
            self.scan_is_watched = true;
        }
        Ok(())
    }

    /// Watches the directories beside the tree that `inputs` lie in, and no others. Whether there is a new one,
    /// so that changes may have been missed there.
    fn follow(&mut self, inputs: &Inputs) -> bool {
        let outside = inputs.outside.iter().map(PathBuf::as_path).chain([self.scan.as_path()]);
        let wanted: BTreeSet<PathBuf> = outside
            .filter_map(|path| path.ancestors().skip(1).find(|directory| directory.is_dir()))
            .filter(|directory| !directory.starts_with(&self.scan))
            .map(Path::to_owned)
            .collect();
        for directory in self.beside.difference(&wanted) {
            // It may be gone, and the watch with it.
            let _ = self.notifier.unwatch(directory);
        }
        let mut watched = BTreeSet::new();
        let mut is_new = false;
        for directory in wanted {
            if self.beside.contains(&directory) {
                watched.insert(directory);
                continue;
            }
            match self.notifier.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(directory);
                    is_new = true;
                }
                Err(error) if is_gone(&error) || Some(directory.as_path()) == self.scan.parent() => {}
                Err(error) => report_unwatched(&directory, &error),
            }
        }
        self.beside = watched;
        is_new
    }
}

fn report_unwatched(directory: &Path, error: &notify::Error) {
    tracing::error!(
        target: "wshost.reload",
        "cannot watch {} for changes: {}; what is saved there is loaded late or not at all",
        directory.display(),
        reason(error)
    );
}

/// Reports that `directory` could not be watched, unless it is gone.
fn report(directory: &Path, result: notify::Result<()>) {
    match result {
        Err(error) if !is_gone(&error) => report_unwatched(directory, &error),
        _ => {}
    }
}

fn is_denied(error: &notify::Error) -> bool {
    matches!(&error.kind, ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied)
}

fn is_gone(error: &notify::Error) -> bool {
    matches!(&error.kind, ErrorKind::PathNotFound)
        || matches!(&error.kind, ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::NotFound)
}

/// What runs on the thread.
struct Reloader<L: Loader> {
    registry: Arc<Registry<L>>,
    watches: Watches,
    delay: Duration,
    /// What the registry was made of at the last look.
    inputs: Inputs,
    /// Directories that appeared since then.
    new_directories: BTreeSet<PathBuf>,
}

impl<L: Loader> Reloader<L> {
    fn run(mut self, messages: &Receiver<Message>) {
        // What changed between the first load and the first watch made no event.
        self.reload();
        while let Ok(Message::Event(event)) = messages.recv() {
            if self.notice(event) {
                if !self.settle(messages) {
                    return;
                }
                self.reload();
            }
        }
    }

    /// Waits until nothing has happened for a while. `false`: the thread is to end.
    fn settle(&mut self, messages: &Receiver<Message>) -> bool {
        let start = Instant::now();
        let mut last = start;
        loop {
            let quiet = self.delay.saturating_sub(last.elapsed());
            let left = quiet.min(self.delay.saturating_mul(MAX_DELAYS).saturating_sub(start.elapsed()));
            if left.is_zero() {
                return true;
            }
            match messages.recv_timeout(left) {
                Ok(Message::Event(event)) => {
                    if self.notice(event) {
                        last = Instant::now();
                    }
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn reload(&mut self) {
        loop {
            // Watch first, read then: the other way round, what is saved in between would be missed.
            let scan = self.watches.scan.clone();
            report(&scan, self.watches.follow_scan());
            for directory in mem::take(&mut self.new_directories) {
                report(&directory, self.watches.watch_tree(&directory));
            }
            self.registry.refresh().log(&self.registry.snapshot());
            self.inputs = self.registry.inputs();
            if !self.watches.follow(&self.inputs) {
                return;
            }
        }
    }

    /// Takes note of an event. Whether it may have changed what is served.
    fn notice(&mut self, event: notify::Result<Event>) -> bool {
        match event {
            Ok(event) if event.need_rescan() => {
                // Events were lost, those of new directories perhaps among them.
                self.watches.scan_is_watched = false;
                true
            }
            Ok(event) => {
                let mut matters = false;
                for path in &event.paths {
                    matters |= self.notice_path(event.kind, path);
                }
                matters
            }
            Err(error) => {
                let directory = error.paths.first().unwrap_or(&self.watches.scan).clone();
                report_unwatched(&directory, &error);
                true
            }
        }
    }

    fn notice_path(&mut self, kind: EventKind, path: &Path) -> bool {
        let went = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        if (went || matches!(kind, EventKind::Create(_))) && self.watches.scan.starts_with(path) {
            self.watches.scan_is_watched = false;
            return true;
        }
        if went && self.watches.beside.remove(path) {
            // Its watch went with it; the next reload watches what is there under this name then.
            return true;
        }
        // The file itself, or a directory above it that came or went.
        if first_below(&self.inputs.outside, path).is_some() {
            return true;
        }
        let Ok(relative) = path.strip_prefix(&self.watches.scan) else { return false };
        if relative.iter().any(|name| name == OsStr::new("__pycache__")) {
            return false;
        }
        let is_file = matches!(
            kind,
            EventKind::Create(CreateKind::File)
                | EventKind::Modify(ModifyKind::Data(_))
                | EventKind::Remove(RemoveKind::File)
                | EventKind::Access(_)
        );
        if !is_file && path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            self.new_directories.insert(path.to_owned());
            return true;
        }
        relative.file_name().is_some_and(is_handler_name)
            || (went && first_below(&self.inputs.files, path).is_some())
    }
}

/// The first of the `sorted` paths that is `path` or lies below it.
fn first_below<'a>(sorted: &'a [PathBuf], path: &Path) -> Option<&'a PathBuf> {
    let next = sorted.partition_point(|other| other.as_path() < path);
    sorted.get(next).filter(|other| other.starts_with(path))
}

#[cfg(test)]
mod tests;
