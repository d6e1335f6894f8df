//! Watches the handler files and reloads what is saved.
//!
//! One thread, `wsh-reload`, gathers the events of the file system until they pause and then lets
//! [`Registry::refresh`] find out what changed: an event only says that it is worth looking. Hence an event too
//! many costs a look, and what must not happen is one too few: directories are watched before they are read.
//! Must not import pyo3 or tokio.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::loader::Loader;
use super::registry::{Inputs, Registry};
use super::resource::is_handler_name;
use super::watches::{Change, Event, Watches, reason};
use crate::config::HandlersConfig;
use crate::deadline;
use crate::error::StartError;

/// A change is loaded after this many delays at the latest, even if the file system does not pause.
const MAX_DELAYS: u32 = 10;

/// How long a stop waits for a load that is under way.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How often files are looked at where there are no events.
const FALLBACK_POLL: Duration = Duration::from_secs(1);

/// Looking at the files takes at most this share of the time: 1 in 20.
const POLL_SHARE: u32 = 20;

/// Keeps a registry up to date. Dropping it ends that; a load that is under way then is waited for, up to a
/// second, so that the thread that drops it must not hold the GIL.
pub struct Watcher {
    messages: Arc<PipeWriter>,
    /// Disconnected when the thread is done.
    done: Receiver<Infallible>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        tell(&self.messages, STOP);
        if matches!(self.done.recv_timeout(STOP_GRACE), Err(RecvTimeoutError::Timeout)) {
            tracing::warn!(target: "wshost.reload", "A handler file is still being loaded; not waiting for it");
        } else if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// What the thread is told through its pipe: to end, or that a load is done which took long.
const STOP: u8 = b's';
const LOADED: u8 = b'l';

fn tell(mut messages: &PipeWriter, message: u8) {
    // An error means that the thread is gone, or about to end.
    let _ = messages.write_all(&[message]);
}

/// Keeps the files of `registry` up to date from now on, and loads what was saved since they were read. Where
/// the system gives no events, or not enough of them, it looks at the files from time to time, and says so. An
/// error: no thread could be had.
pub fn watch<L: Loader>(registry: Arc<Registry<L>>, config: &HandlersConfig) -> Result<Watcher, StartError> {
    let scan = registry.scan_dir().to_owned();
    let failed = |error: io::Error| StartError::Watch { path: scan.clone(), reason: error.to_string() };
    let (inbox, messages) = io::pipe().map_err(failed)?;
    let messages = Arc::new(messages);
    let late = Arc::clone(&messages);
    registry.on_late(Some(Box::new(move || tell(&late, LOADED))));
    let (alive, done) = mpsc::channel();
    let reloader = Reloader {
        inputs: Inputs::default(),
        registry,
        inbox,
        watches: if config.reload_poll.is_some() { None } else { open(&scan) },
        scan: scan.clone(),
        delay: config.reload_delay,
        poll: config.reload_poll.unwrap_or(FALLBACK_POLL),
        directories: BTreeSet::from([scan.clone()]),
        dirty: BTreeSet::new(),
        everything: true,
    };
    let thread = thread::Builder::new()
        .name("wsh-reload".to_owned())
        .spawn(move || {
            // Held for as long as the thread lives.
            let _alive: Sender<Infallible> = alive;
            reloader.run();
        })
        .map_err(failed)?;
    Ok(Watcher { messages, done, thread: Some(thread) })
}

/// Says once that files are looked at from time to time, and why.
fn report_polling(reason: &str, poll: Duration) {
    tracing::warn!(
        target: "wshost.reload",
        "Handler files are looked at every {} s instead of watched: {reason}",
        poll.as_secs_f64()
    );
}

/// `None`, and a warning: the files have to be looked at from time to time.
fn open(scan: &Path) -> Option<Watches> {
    let opened = match silent_file_system(scan) {
        Some(kind) => Err(format!("{} is on {kind}, which does not tell of all changes", scan.display())),
        None => Watches::open(scan).map_err(reason),
    };
    opened.inspect_err(|reason| report_polling(reason, FALLBACK_POLL)).ok()
}

/// What the file system of `path` is, if its files change without events: on another machine, or outside of
/// this one.
fn silent_file_system(path: &Path) -> Option<&'static str> {
    const SILENT: [(u64, &str); 7] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x0102_1997, "9P"),
        (0x6573_5546, "FUSE"),
        (0x786f_4256, "a VirtualBox shared folder"),
    ];
    let kind = u64::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()?;
    SILENT.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

/// Why the thread woke up.
enum Woken {
    /// There are events.
    Events,
    /// A load is done that took long.
    Loaded,
    /// Nothing happened for as long as it was to wait.
    Timeout,
    /// It is to end.
    Stop,
}

/// What runs on the thread.
struct Reloader<L: Loader> {
    registry: Arc<Registry<L>>,
    /// Its messages.
    inbox: PipeReader,
    /// `None`: the files are looked at from time to time instead.
    watches: Option<Watches>,
    /// The canonical scan directory.
    scan: PathBuf,
    delay: Duration,
    /// How often the files are looked at, if they are.
    poll: Duration,
    /// What the registry was made of at the last look.
    inputs: Inputs,
    /// Directories of the tree that came, went or may be others since then.
    directories: BTreeSet<PathBuf>,
    /// What changed since then.
    dirty: BTreeSet<PathBuf>,
    /// Whether anything may have changed since then.
    everything: bool,
}

impl<L: Loader> Reloader<L> {
    fn run(mut self) {
        // What changed between the first load and the first watch made no event. What is still being saved does.
        self.watch_new();
        let mut going = self.settle();
        while going {
            let took = self.reload();
            going = self.wait_for_changes(took);
        }
        self.registry.on_late(None);
    }

    /// Waits until another look is worth it; the last one `took` so long. `false`: the thread is to end.
    fn wait_for_changes(&mut self, took: Duration) -> bool {
        let patience = self.watches.is_none().then(|| self.poll.max(took.saturating_mul(POLL_SHARE)));
        loop {
            match self.wait(patience) {
                Woken::Events => {
                    if self.notice_events() {
                        return self.settle();
                    }
                }
                Woken::Loaded => return true,
                Woken::Timeout => {
                    self.everything = true;
                    return true;
                }
                Woken::Stop => return false,
            }
        }
    }

    /// Waits for something to happen; `None`: without end.
    fn wait(&mut self, patience: Option<Duration>) -> Woken {
        let deadline = patience.map(deadline::after);
        loop {
            let mut ready = vec![PollFd::new(&self.inbox, PollFlags::IN)];
            ready.extend(self.watches.as_ref().map(|watches| PollFd::new(watches, PollFlags::IN)));
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let result = poll(&mut ready, left.and_then(|left| Timespec::try_from(left).ok()).as_ref());
            let ready: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
            match result {
                Ok(0) => return Woken::Timeout,
                Ok(_) if ready[0] => {
                    let mut messages = [0; 64];
                    let count = (&self.inbox).read(&mut messages).unwrap_or(0);
                    let messages = &messages[..count];
                    return if messages.is_empty() || messages.contains(&STOP) {
                        Woken::Stop
                    } else {
                        Woken::Loaded
                    };
                }
                Ok(_) => return Woken::Events,
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(target: "wshost.reload", "cannot wait for changes: {error}; nothing is reloaded any more");
                    return Woken::Stop;
                }
            }
        }
    }

    /// Waits until nothing has happened for a while. `false`: the thread is to end.
    fn settle(&mut self) -> bool {
        let start = Instant::now();
        let mut last = start;
        loop {
            let quiet = self.delay.saturating_sub(last.elapsed());
            let left = quiet.min(self.delay.saturating_mul(MAX_DELAYS).saturating_sub(start.elapsed()));
            if left.is_zero() {
                return true;
            }
            match self.wait(Some(left)) {
                Woken::Events => {
                    if self.notice_events() {
                        last = Instant::now();
                    }
                }
                Woken::Loaded => {}
                Woken::Timeout => return true,
                Woken::Stop => return false,
            }
        }
    }

    /// Brings the registry up to date. Gives how long that took.
    fn reload(&mut self) -> Duration {
        let started = Instant::now();
        loop {
            // Watch first, read then: the other way round, what is saved in between would be missed.
            self.watch_new();
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
                Err(error) => self.give_up_watching(error),
            }
        }
        started.elapsed()
    }

    fn watch_new(&mut self) {
        let mut above: Option<PathBuf> = None;
        for directory in mem::take(&mut self.directories) {
            // What lies below a directory comes after it, and is done with it.
            if above.as_ref().is_some_and(|above| directory.starts_with(above)) {
                continue;
            }
            let Some(watches) = &mut self.watches else { return };
            if let Err(error) = watches.renew(&directory) {
                self.give_up_watching(error);
            }
            above = Some(directory);
        }
    }

    fn give_up_watching(&mut self, error: Errno) {
        report_polling(&reason(error), self.poll);
        self.watches = None;
        self.everything = true;
    }

    /// Takes note of some of the events that there are. Whether one may have changed what is served.
    fn notice_events(&mut self) -> bool {
        let mut events = Vec::new();
        let Some(watches) = &mut self.watches else { return false };
        if let Err(error) = watches.read(|event| events.push(event)) {
            self.give_up_watching(error);
            return true;
        }
        let mut matters = false;
        for event in events {
            matters |= self.notice(event);
        }
        matters
    }

    /// Takes note of an event. Whether it may have changed what is served.
    fn notice(&mut self, event: Event) -> bool {
        let Event::Changed { path, change, is_directory } = event else {
            // Those of new directories may be among the lost ones.
            self.look_at_everything();
            return true;
        };
        if change != Change::Written && self.scan.starts_with(&path) {
            self.look_at_everything();
            return true;
        }
        let matters = self.concerns_a_file(&path, change, is_directory);
        if matters {
            self.dirty.insert(path);
        }
        matters
    }

    fn look_at_everything(&mut self) {
        self.everything = true;
        self.directories.insert(self.scan.clone());
    }

    fn concerns_a_file(&mut self, path: &Path, change: Change, is_directory: bool) -> bool {
        let went = change == Change::Went;
        if went && is_directory && self.watches.as_mut().is_some_and(|watches| watches.leave(path)) {
            // The next reload watches what is there under this name then.
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
        if is_directory {
            self.directories.insert(path.to_owned());
        }
        // What goes can be a directory with handlers; of a moved one, what lies below makes no event.
        let has_files = went && first_below(&self.inputs.files, path).is_some();
        has_files || (is_directory && !went) || relative.file_name().is_some_and(is_handler_name)
    }
}

/// The first of the `sorted` paths that is `path` or lies below it.
fn first_below<'a>(sorted: &'a [PathBuf], path: &Path) -> Option<&'a PathBuf> {
    let next = sorted.partition_point(|other| other.as_path() < path);
    sorted.get(next).filter(|other| other.starts_with(path))
}

#[cfg(test)]
mod tests;
