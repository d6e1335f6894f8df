//! Watches the handler files and reloads what is saved.
//!
//! One thread, `wsh-reload`, gathers the events of the file system until they pause and then lets
//! [`Registry::refresh`] find out what changed: an event only says that it is worth looking. Hence an event too
//! many costs a look, and what must not happen is one too few: directories are watched before they are read.
//! Must not import pyo3 or tokio.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::mem;
use std::os::unix::ffi::OsStrExt as _;
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
    /// A load is done that took long.
    Loaded,
    Stop,
}

/// Keeps the files of `registry` up to date from now on, and loads what was saved since they were read. Where
/// the system gives no events, or not enough of them, it looks at the files from time to time, and says so. An
/// error: no thread could be had.
pub fn watch<L: Loader>(registry: Arc<Registry<L>>, config: &HandlersConfig) -> Result<Watcher, StartError> {
    let scan = registry.scan_dir().to_owned();
    let (messages, received) = mpsc::channel();
    let late = messages.clone();
    registry.on_late(Some(Box::new(move || {
        // An error means that the thread is about to end.
        let _ = late.send(Message::Loaded);
    })));
    let watches = match config.reload_poll {
        Some(_) => None,
        None => Watches::open(&scan, messages.clone()),
    };
    let (alive, done) = mpsc::channel();
    let reloader = Reloader {
        inputs: Inputs::default(),
        registry: Arc::clone(&registry),
        watches,
        scan,
        delay: config.reload_delay,
        poll: config.reload_poll.unwrap_or(FALLBACK_POLL),
        new_directories: BTreeSet::new(),
        dirty: BTreeSet::new(),
        everything: true,
    };
    let thread = thread::Builder::new()
        .name("wsh-reload".to_owned())
        .spawn(move || {
            // Held for as long as the thread lives.
            let _alive: Sender<Infallible> = alive;
            reloader.run(&received);
        })
        .map_err(|error| StartError::Watch {
            path: registry.scan_dir().to_owned(),
            reason: error.to_string(),
        })?;
    Ok(Watcher { messages, done, thread: Some(thread) })
}

/// How often files are looked at where there are no events.
const FALLBACK_POLL: Duration = Duration::from_secs(1);

/// Looking at the files takes at most this share of the time: 1 in 20.
const POLL_SHARE: u32 = 20;

/// Says once that files are looked at from time to time, and why.
fn report_polling(reason: &str, poll: Duration) {
    tracing::warn!(
        target: "wshost.reload",
        "Handler files are looked at every {} s instead of watched: {reason}",
        poll.as_secs_f64()
    );
}

/// What the file system of `path` is, if its files change without events: on another machine, or outside of
/// this one.
fn silent_file_system(path: &Path) -> Option<&'static str> {
    const SILENT: [(libc::c_long, &str); 7] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x0102_1997, "9P"),
        (0x6573_5546, "FUSE"),
        (0x786f_4256, "a VirtualBox shared folder"),
    ];
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    // SAFETY: `path` ends with NUL, and all zeros is a valid `statfs` for the call to write to.
    let kind = unsafe {
        let mut status: libc::statfs = mem::zeroed();
        (libc::statfs(path.as_ptr(), &raw mut status) == 0).then_some(status.f_type)?
    };
    SILENT.iter().find(|(magic, _)| *magic == kind as libc::c_long).map(|(_, name)| *name)
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
    /// Watches nothing yet. `None`, and a warning: the files have to be looked at from time to time.
    fn open(scan: &Path, messages: Sender<Message>) -> Option<Self> {
        if let Some(kind) = silent_file_system(scan) {
            let reason = format!("{} is on {kind}, which does not tell of all changes", scan.display());
            report_polling(&reason, FALLBACK_POLL);
            return None;
        }
        let on_event = move |event: notify::Result<Event>| {
            if !event.as_ref().is_ok_and(is_noise) {
                // An error means that the thread is about to end.
                let _ = messages.send(Message::Event(event));
            }
        };
        // The scan does not follow links to directories either.
        let config = notify::Config::default().with_follow_symlinks(false);
        match RecommendedWatcher::new(on_event, config) {
            Ok(notifier) => Some(Self {
                notifier,
                scan: scan.to_owned(),
                scan_is_watched: false,
                beside: BTreeSet::new(),
            }),
            Err(error) => {
                report_polling(&reason(&error), FALLBACK_POLL);
                None
            }
        }
    }

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

    /// Watches the directories beside the tree that `inputs` lie in, and no others. Gives the new ones: changes may
    /// have been missed there.
    fn follow(&mut self, inputs: &Inputs) -> notify::Result<Vec<PathBuf>> {
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
        let mut new = Vec::new();
        for directory in wanted {
            if self.beside.contains(&directory) {
                watched.insert(directory);
                continue;
            }
            match self.notifier.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(directory.clone());
                    new.push(directory);
                }
                Err(error) if is_gone(&error) || Some(directory.as_path()) == self.scan.parent() => {}
                Err(error) if is_limit(&error) => return Err(error),
                Err(error) => report_unwatched(&directory, &error),
            }
        }
        self.beside = watched;
        Ok(new)
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

/// Whether the system has no room for more watches.
fn is_limit(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::MaxFilesWatch => true,
        ErrorKind::Io(error) => matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EMFILE)),
        _ => false,
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
    /// `None`: the files are looked at from time to time instead.
    watches: Option<Watches>,
    /// The canonical scan directory.
    scan: PathBuf,
    delay: Duration,
    /// How often the files are looked at, if they are.
    poll: Duration,
    /// What the registry was made of at the last look.
    inputs: Inputs,
    /// Directories that appeared since then.
    new_directories: BTreeSet<PathBuf>,
    /// What changed since then.
    dirty: BTreeSet<PathBuf>,
    /// Whether anything may have changed since then.
    everything: bool,
}

impl<L: Loader> Reloader<L> {
    fn run(mut self, messages: &Receiver<Message>) {
        // What changed between the first load and the first watch made no event.
        let mut took = self.reload();
        loop {
            let message = if self.watches.is_some() {
                messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                messages.recv_timeout(self.poll.max(took * POLL_SHARE))
            };
            match message {
                Ok(Message::Event(event)) => {
                    if !self.notice(event) {
                        continue;
                    }
                    if !self.settle(messages) {
                        break;
                    }
                }
                Ok(Message::Loaded) => {}
                Err(RecvTimeoutError::Timeout) => self.everything = true,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            took = self.reload();
        }
        self.registry.on_late(None);
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
                Ok(Message::Loaded) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Brings the registry up to date. Gives how long that took.
    fn reload(&mut self) -> Duration {
        let started = Instant::now();
        loop {
            // Watch first, read then: the other way round, what is saved in between would be missed.
            if let Err(error) = self.watch_new() {
                self.give_up_watching(&error);
            }
            let dirty = mem::take(&mut self.dirty);
            let report = if mem::take(&mut self.everything) {
                self.registry.refresh()
            } else {
                self.registry.refresh_at(&dirty)
            };
            report.log(&self.registry.snapshot());
            self.inputs = self.registry.inputs();
            let Some(watches) = &mut self.watches else { break };
            match watches.follow(&self.inputs) {
                Ok(new) if new.is_empty() => break,
                Ok(new) => self.dirty.extend(new),
                Err(error) => self.give_up_watching(&error),
            }
        }
        started.elapsed()
    }

    fn watch_new(&mut self) -> notify::Result<()> {
        let new_directories = mem::take(&mut self.new_directories);
        let Some(watches) = &mut self.watches else { return Ok(()) };
        let all =
            if watches.scan_is_watched { None } else { Some((self.scan.clone(), watches.follow_scan())) };
        let each = new_directories.into_iter().map(|directory| {
            let result = watches.watch_tree(&directory);
            (directory, result)
        });
        for (directory, result) in all.into_iter().chain(each) {
            match result {
                Err(error) if is_limit(&error) => return Err(error),
                Err(error) if !is_gone(&error) => report_unwatched(&directory, &error),
                _ => {}
            }
        }
        Ok(())
    }

    fn give_up_watching(&mut self, error: &notify::Error) {
        report_polling(&reason(error), self.poll);
        self.watches = None;
        self.everything = true;
    }

    /// Takes note of an event. Whether it may have changed what is served.
    fn notice(&mut self, event: notify::Result<Event>) -> bool {
        match event {
            Ok(event) if event.need_rescan() => {
                // Events were lost, those of new directories perhaps among them.
                self.look_at_everything();
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
                if is_limit(&error) {
                    self.give_up_watching(&error);
                } else {
                    report_unwatched(error.paths.first().unwrap_or(&self.scan), &error);
                    self.look_at_everything();
                }
                true
            }
        }
    }

    fn look_at_everything(&mut self) {
        self.everything = true;
        if let Some(watches) = &mut self.watches {
            watches.scan_is_watched = false;
        }
    }

    fn notice_path(&mut self, kind: EventKind, path: &Path) -> bool {
        let went = matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        if (went || matches!(kind, EventKind::Create(_))) && self.scan.starts_with(path) {
            self.look_at_everything();
            return true;
        }
        let matters = self.concerns_a_file(kind, path, went);
        if matters {
            self.dirty.insert(path.to_owned());
        }
        matters
    }

    fn concerns_a_file(&mut self, kind: EventKind, path: &Path, went: bool) -> bool {
        if went && self.watches.as_mut().is_some_and(|watches| watches.beside.remove(path)) {
            // Its watch went with it; the next reload watches what is there under this name then.
            return true;
        }
        // The file itself, or a directory above it that came or went.
        if first_below(&self.inputs.outside, path).is_some() {
            return true;
        }
        let Ok(relative) = path.strip_prefix(&self.scan) else { return false };
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
