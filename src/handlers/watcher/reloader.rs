//! What runs on the thread: wait for changes, let them settle, have them looked at, watch what is there now.
//!
//! Must not import pyo3 or tokio.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::super::loader::Loader;
use super::super::registry::{Inputs, Registry};
use super::super::resource::is_handler_name;
use super::super::watches::{Change, Event, Refused, Watches};
use super::silent::{Silent, report_polling};
use crate::config::HandlersConfig;
use crate::deadline;
use crate::platform::Mounts;

/// A change is loaded after this many delays at the latest, even if the file system does not pause.
const MAX_DELAYS: u32 = 10;

/// How often files are looked at where there are no events.
pub(super) const FALLBACK_POLL: Duration = Duration::from_secs(1);

/// Looking at the files takes at most this share of the time: 1 in 20.
const POLL_SHARE: u32 = 20;

/// How often the known files are looked at while nothing is watched.
const MEANWHILE: Duration = Duration::from_millis(50);

/// How long folders that go one after the other are let go before the rest is watched again.
const CALM: Duration = Duration::from_millis(100);

/// To make watches takes at most this share of the time, 1 in 5, and no pause is longer than [`LONGEST_PAUSE`].
const REBUILD_SHARE: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the thread is told.
pub(super) enum Message {
    /// To end.
    Stop,
    /// A load is done that took long.
    Loaded,
    /// The watches have events.
    Events,
}

/// Why the thread woke up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// There may be events.
    Events,
    /// A load is done that took long.
    Loaded,
    /// Nothing happened for as long as it was to wait.
    Timeout,
    /// It is to end.
    Stop,
}

/// How changes are found.
pub(super) enum Watching {
    /// The system tells.
    Events(Watches),
    /// By watches that are made anew at this time. Until then the known files are looked at.
    Anew(Instant),
    /// All files are looked at from time to time. When watches may be had again, if they may.
    Polling { retry_at: Option<Instant> },
}

/// What runs on the thread.
pub(super) struct Reloader<L: Loader> {
    pub(super) registry: Arc<Registry<L>>,
    /// For what wakes the thread, and the other end.
    messages: Sender<Message>,
    inbox: Receiver<Message>,
    pub(super) watching: Watching,
    /// When the watches were made, and how long that took.
    built: (Instant, Duration),
    /// How long the last storm of folders was let go.
    calm: Duration,
    /// What of it makes no events.
    silent: Silent,
    /// Folders that we may not read.
    denied: BTreeSet<PathBuf>,
    /// The canonical scan directory.
    pub(super) scan: PathBuf,
    pub(super) delay: Duration,
    /// How often the files are looked at, if they are.
    poll: Duration,
    /// What the registry was made of at the last look.
    pub(super) inputs: Inputs,
    /// Whether folders of the tree came, which may not be watched yet.
    pub(super) has_new_folders: bool,
    /// What changed since the last look.
    pub(super) dirty: BTreeSet<PathBuf>,
    /// Whether anything may have changed since then.
    pub(super) everything: bool,
    /// When the registry wants another look.
    again_at: Option<Instant>,
}

impl<L: Loader> Reloader<L> {
    /// Watches nothing yet.
    pub(super) fn new(
        registry: Arc<Registry<L>>,
        config: &HandlersConfig,
        (messages, inbox): (Sender<Message>, Receiver<Message>),
    ) -> Self {
        let now = Instant::now();
        Self {
            inputs: Inputs::default(),
            scan: registry.scan_dir(),
            registry,
            messages,
            inbox,
            watching: match config.reload_poll {
                Some(_) => Watching::Polling { retry_at: None },
                None => Watching::Anew(now),
            },
            built: (now, Duration::ZERO),
            calm: CALM,
            silent: Silent::default(),
            denied: BTreeSet::new(),
            delay: config.reload_delay,
            poll: config.reload_poll.unwrap_or(FALLBACK_POLL),
            has_new_folders: false,
            dirty: BTreeSet::new(),
            everything: true,
            again_at: None,
        }
    }

    pub(super) fn run(mut self) {
        // What changed between the first load and the first watch made no event. What is still being saved does.
        self.rebuild_if_due();
        let mut going = self.settle(Instant::now());
        while going {
            let took = self.reload();
            going = self.wait_for_changes(took);
        }
        self.registry.on_late(None);
    }

    /// Waits until another look is worth it; the last one `took` so long. `false`: the thread is to end.
    fn wait_for_changes(&mut self, took: Duration) -> bool {
        let now = Instant::now();
        let pause = |least: Duration| deadline::after(least.max(took.saturating_mul(POLL_SHARE)));
        let poll_at = match &self.watching {
            Watching::Events(_) if self.silent.places.is_empty() => None,
            Watching::Events(_) | Watching::Polling { .. } => Some(pause(self.poll)),
            Watching::Anew(at) => Some(pause(MEANWHILE).min((*at).max(now))),
        };
        loop {
            match self.wait_until(poll_at.into_iter().chain(self.again_at).min()) {
                Woken::Events => {
                    if let Some(at) = self.notice_events() {
                        return self.settle(at);
                    }
                }
                Woken::Loaded => return true,
                Woken::Timeout => {
                    if poll_at.is_some_and(|at| at <= Instant::now()) {
                        self.note_unwatched();
                    }
                    return true;
                }
                Woken::Stop => return false,
            }
        }
    }

    /// Takes note of what may have changed without an event.
    fn note_unwatched(&mut self) {
        match &self.watching {
            Watching::Polling { .. } => self.everything = true,
            Watching::Anew(_) => {
                self.dirty.extend(self.inputs.files.iter().chain(&self.inputs.outside).cloned());
            }
            Watching::Events(_) => {}
        }
        self.dirty.extend(self.silent.places.iter().cloned());
    }

    /// Waits for something to happen; `None`: without end.
    pub(super) fn wait_until(&mut self, end: Option<Instant>) -> Woken {
        let message = match end {
            Some(end) => self.inbox.recv_timeout(end.saturating_duration_since(Instant::now())),
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match message {
            Ok(Message::Events) => Woken::Events,
            Ok(Message::Loaded) => Woken::Loaded,
            Err(RecvTimeoutError::Timeout) => Woken::Timeout,
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => Woken::Stop,
        }
    }

    /// Waits until nothing has happened for a while since `start`. `false`: the thread is to end.
    pub(super) fn settle(&mut self, start: Instant) -> bool {
        let mut last = start;
        loop {
            let quiet = self.delay.saturating_sub(last.elapsed());
            let left = quiet.min(self.delay.saturating_mul(MAX_DELAYS).saturating_sub(start.elapsed()));
            if left.is_zero() {
                return true;
            }
            match self.wait_until(Some(deadline::after(left))) {
                Woken::Events => {
                    last = self.notice_events().unwrap_or(last);
                }
                Woken::Loaded => {}
                Woken::Timeout => return true,
                Woken::Stop => return false,
            }
        }
    }

    /// Brings the registry up to date. Gives how long that took.
    pub(super) fn reload(&mut self) -> Duration {
        let started = Instant::now();
        loop {
            // Watch first, read then: the other way round, what is saved in between would be missed.
            self.rebuild_if_due();
            if let (true, Watching::Events(watches)) =
                (mem::take(&mut self.has_new_folders), &mut self.watching)
            {
                watches.catch_up();
            }
            let dirty = mem::take(&mut self.dirty);
            let scope = if mem::take(&mut self.everything) { None } else { Some(&dirty) };
            let report = self.registry.refresh_patiently(scope);
            report.log(&self.registry.snapshot());
            self.again_at = report.again_at;
            self.everything |= report.looks_at_everything_again;
            let inputs = self.registry.inputs();
            let scan = self.registry.scan_dir();
            if scope.is_none() || inputs != self.inputs || scan != self.scan {
                let has_other_scan = mem::replace(&mut self.scan, scan) != self.scan;
                self.inputs = inputs;
                self.silent.find(&Mounts::now(), &self.scan, &self.inputs, self.poll);
                if has_other_scan && !matches!(self.watching, Watching::Polling { .. }) {
                    self.watching = Watching::Anew(Instant::now());
                    continue;
                }
            }
            if !self.follow() {
                return started.elapsed();
            }
        }
    }

    /// Watches what the registry is made of now. Whether something may have changed before it was watched.
    fn follow(&mut self) -> bool {
        let Watching::Events(watches) = &mut self.watching else { return false };
        match watches.follow(&self.inputs) {
            Ok(None) => {
                self.watching = Watching::Anew(Instant::now());
                true
            }
            Ok(Some(new)) => {
                // It may have come before what it lies in was watched.
                if !watches.has_scan() && !new.is_empty() && fs::read_dir(&self.scan).is_ok() {
                    self.watching = Watching::Anew(Instant::now());
                    return true;
                }
                let is_complete = new.is_empty();
                self.dirty.extend(new);
                !is_complete
            }
            Err(refused) => {
                self.refuse(&refused);
                true
            }
        }
    }

    /// Makes the watches anew, if it is time, and has everything looked at then.
    pub(super) fn rebuild_if_due(&mut self) {
        let now = Instant::now();
        let (is_retry, is_due) = match self.watching {
            Watching::Polling { retry_at } => (true, retry_at.is_some_and(|at| at <= now)),
            Watching::Anew(at) => (false, at <= now),
            Watching::Events(_) => return,
        };
        if !is_due {
            return;
        }
        let is_silent = Mounts::now().silent(&self.scan).is_some();
        let messages = self.messages.clone();
        let wake = move || {
            // An error: the thread is about to end.
            let _ = messages.send(Message::Events);
        };
        self.everything = true;
        self.denied.clear();
        match Watches::open(&self.scan, is_silent, wake) {
            Ok(watches) => {
                if is_retry {
                    tracing::info!(target: "wshost.reload", "Handler files are watched again");
                }
                self.watching = Watching::Events(watches);
            }
            Err(refused) => self.refuse(&refused),
        }
        self.built = (now, now.elapsed());
    }

    /// From now on all files are looked at, until watches may be had.
    fn refuse(&mut self, refused: &Refused) {
        if !matches!(self.watching, Watching::Polling { .. }) {
            report_polling(&refused.reason, self.poll);
        }
        let retry_at = refused.is_passing.then(|| deadline::after(self.poll));
        self.watching = Watching::Polling { retry_at };
        self.everything = true;
    }

    /// It is not certain any more what is watched: it is watched anew, but not before `calm` is over.
    fn doubt(&mut self, calm: Duration) {
        let (at, took) = self.built;
        let pause = took.saturating_mul(REBUILD_SHARE).min(LONGEST_PAUSE);
        let next = deadline::after(calm).max(at.checked_add(pause).unwrap_or(at));
        tracing::debug!(target: "wshost.reload", "Handler files are watched anew");
        self.watching = Watching::Anew(next);
        self.dirty.extend(self.inputs.files.iter().chain(&self.inputs.outside).cloned());
    }

    /// Takes note of the events that there are. If one may have changed what is served: when the last one came.
    pub(super) fn notice_events(&mut self) -> Option<Instant> {
        let Watching::Events(watches) = &mut self.watching else { return None };
        let mut events = Vec::new();
        let latest = watches.read(|event| events.push(event));
        let mut matters = false;
        for event in events {
            matters |= self.notice(event);
        }
        latest.filter(|_| matters)
    }

    /// Takes note of an event. Whether it may have changed what is served.
    pub(super) fn notice(&mut self, event: Event) -> bool {
        match event {
            Event::Changed { path, change } => {
                // The tree itself is another one, or what it lies in.
                if matches!(change, Change::Came | Change::Went) && self.scan.starts_with(&path) {
                    self.doubt(Duration::ZERO);
                    return true;
                }
                let matters = self.concerns_a_file(&path, change);
                if matters {
                    self.dirty.insert(path);
                }
                matters
            }
            Event::Lost => {
                self.doubt(Duration::ZERO);
                true
            }
            Event::Storm => {
                // One that goes on is given twice as long each time.
                let goes_on = self.built.0.elapsed() < LONGEST_PAUSE + self.calm;
                self.calm = if goes_on { self.calm.saturating_mul(2).min(LONGEST_PAUSE) } else { CALM };
                self.doubt(self.calm);
                true
            }
            Event::Full { reason } => {
                self.refuse(&Refused { reason, is_passing: false });
                true
            }
            Event::Denied { path } => {
                self.denied.insert(path);
                false
            }
        }
    }

    fn concerns_a_file(&mut self, path: &Path, change: Change) -> bool {
        // The file itself, or a directory above it that came or went.
        if first_below(&self.inputs.outside, path).is_some() {
            return true;
        }
        let Ok(relative) = path.strip_prefix(&self.scan) else { return false };
        if relative.iter().any(|name| name == OsStr::new("__pycache__")) {
            return false;
        }
        let is_directory = match change {
            // What went can be a directory with handlers; of a moved one, what lies below makes no event.
            Change::Went => return first_below(&self.inputs.files, path).is_some() || is_handler(path),
            Change::Written => false,
            Change::Came | Change::Touched => path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()),
        };
        if is_directory && change == Change::Touched && self.denied.contains(path) {
            // We may read it now, perhaps.
            self.doubt(Duration::ZERO);
        }
        self.has_new_folders |= is_directory;
        is_directory || is_handler(path)
    }
}

fn is_handler(path: &Path) -> bool {
    path.file_name().is_some_and(is_handler_name)
}

/// The first of the `sorted` paths that is `path` or lies below it.
fn first_below<'a>(sorted: &'a [PathBuf], path: &Path) -> Option<&'a PathBuf> {
    let next = sorted.partition_point(|other| other.as_path() < path);
    sorted.get(next).filter(|other| other.starts_with(path))
}
