//! What the system told of changes, until somebody reads it; and the end of a watcher that has too much to do.
//!
//! Must not import pyo3 or tokio.

use std::io;
use std::mem;
use std::panic;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use notify::ErrorKind;
use notify::event::{EventKind, ModifyKind, RemoveKind, RenameMode};
use parking_lot::{Condvar, Mutex};

use super::refusal::{Refused, report_unwatched};

/// When more watches than this have to end at once, all of them do: `notify` looks through all of its watches for each
/// that it ends, which takes 8 s for 10,000.
pub(super) const MANY: usize = 48;

/// More than [`MANY`] folders that go, each no later than this after the one before, end the watcher.
const STORM: Duration = Duration::from_millis(100);

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Change {
    /// It is there, perhaps in the place of another file.
    Came,
    /// It is not there any more, or was not for a moment.
    Went,
    /// A file's contents are others.
    Written,
    /// Its metadata are others, or nobody knows what is.
    Touched,
}

/// Something that the system tells.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Event {
    /// Something happened to `path`, which is below the name under which it is watched.
    Changed { path: PathBuf, change: Change },
    /// Some events are missing, or it is not certain what is watched. Nothing more comes.
    Lost,
    /// Folders go, one after the other. Nothing more comes.
    Storm,
    /// There is no room for more watches. Nothing more comes.
    Full { reason: String },
    /// We may not read the folder `path`, which is not watched.
    Denied { path: PathBuf },
}

impl Event {
    fn is_last(&self) -> bool {
        matches!(self, Self::Lost | Self::Storm | Self::Full { .. })
    }
}

/// What ends the watcher's thread: no panic, nobody hears of it.
struct Ended;

/// Where events wait.
pub(super) struct Mailbox {
    state: Mutex<State>,
    /// Notified when the watcher's thread may go on, or must end.
    resumed: Condvar,
    /// Called when there are events, and none have been before.
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    events: Vec<Event>,
    /// When the last one came.
    latest: Option<Instant>,
    /// How many names went one after the other, and when the last one did.
    gone: usize,
    went_at: Option<Instant>,
    /// Whether a last event has come.
    is_over: bool,
    /// Whether the watcher has been told to end.
    is_closed: bool,
    /// How many wait for an answer of the watcher.
    waiting: usize,
    /// Whether its thread has ended without having been told to.
    has_died: bool,
}

/// Somebody waits for the watcher, whose thread must answer or end.
pub(super) struct Waiting<'a>(&'a Mailbox);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state.lock().waiting -= 1;
    }
}

impl Mailbox {
    pub(super) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self { state: Mutex::default(), resumed: Condvar::new(), wake: Box::new(wake) }
    }

    /// To be held while somebody waits for an answer of the watcher.
    pub(super) fn waiting(&self) -> Waiting<'_> {
        self.state.lock().waiting += 1;
        self.resumed.notify_all();
        Waiting(self)
    }

    /// Whether the watcher's thread has ended without having been told to.
    pub(super) fn has_died(&self) -> bool {
        self.state.lock().has_died
    }

    /// The watcher has been told to end: its thread does so at its next event.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.resumed.notify_all();
    }

    /// The events that have come, in their order, and when the last one did.
    pub(super) fn empty(&self) -> (Vec<Event>, Option<Instant>) {
        let mut state = self.state.lock();
        (mem::take(&mut state.events), state.latest)
    }

    /// Takes what the watcher's thread says, on that thread. Does not return once the watcher must end: it may have
    /// much more to say and to do, which nobody needs any more.
    pub(super) fn take(&self, said: notify::Result<notify::Event>) {
        let went = said.as_ref().is_ok_and(|event| may_be_a_folder_that_went(event.kind));
        let events = match said {
            Ok(event) => translate(event),
            Err(error) => failed(&error),
        };
        let mut state = self.state.lock();
        if !state.is_over && !events.is_empty() {
            if state.events.is_empty() {
                (self.wake)();
            }
            state.is_over = events.iter().any(Event::is_last);
            state.events.extend(events);
            state.latest = Some(Instant::now());
            if went && state.is_storm() && !state.is_over {
                state.is_over = true;
                state.events.push(Event::Storm);
            }
        }
        while state.is_over && !state.is_closed && state.waiting == 0 {
            self.resumed.wait(&mut state);
        }
        if state.is_over && !state.is_closed {
            // Who waits gets no answer. To go on until there is one might be to end thousands of watches.
            state.has_died = true;
        }
        if state.is_closed || state.has_died {
            drop(state);
            // Unwinding ends the thread at once, and closes what it has open.
            panic::resume_unwind(Box::new(Ended));
        }
    }
}

impl State {
    /// Another folder went: whether too many have.
    fn is_storm(&mut self) -> bool {
        let now = Instant::now();
        let goes_on = self.went_at.is_some_and(|before| now.saturating_duration_since(before) < STORM);
        self.gone = if goes_on { self.gone + 1 } else { 1 };
        self.went_at = Some(now);
        self.gone > MANY
    }
}

/// Whether `notify` may have watches to end. What was renamed is mostly a file that is saved.
fn may_be_a_folder_that_went(kind: EventKind) -> bool {
    matches!(kind, EventKind::Remove(RemoveKind::Folder | RemoveKind::Any))
}

/// What an event of `notify` means to us.
fn translate(event: notify::Event) -> Vec<Event> {
    if event.need_rescan() {
        return vec![Event::Lost];
    }
    let change = match event.kind {
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Change::Came,
        // What was mounted there is not any more; what lies below it is not watched.
        EventKind::Remove(RemoveKind::Other) => return vec![Event::Lost],
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Change::Went,
        // Each of the two names has had its own.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return Vec::new(),
        EventKind::Modify(ModifyKind::Name(_)) => {
            let there = |path: &PathBuf| path.symlink_metadata().is_ok();
            let change = |path: &PathBuf| if there(path) { Change::Came } else { Change::Went };
            return event
                .paths
                .into_iter()
                .map(|path| Event::Changed { change: change(&path), path })
                .collect();
        }
        EventKind::Modify(ModifyKind::Data(_)) | EventKind::Access(_) => Change::Written,
        EventKind::Modify(_) | EventKind::Any | EventKind::Other => Change::Touched,
    };
    event.paths.into_iter().map(|path| Event::Changed { path, change }).collect()
}

/// What it means that folders could not be watched.
fn failed(error: &notify::Error) -> Vec<Event> {
    match Refused::of(error) {
        Some(Refused { reason, is_passing: false }) => vec![Event::Full { reason }],
        Some(_) => vec![Event::Lost],
        None => {
            error.paths.iter().for_each(|path| report_unwatched(path, error));
            let is_denied = matches!(&error.kind, ErrorKind::Io(error) if error.kind() == io::ErrorKind::PermissionDenied);
            let denied = error.paths.iter().filter(|_| is_denied);
            denied.map(|path| Event::Denied { path: path.clone() }).collect()
        }
    }
}
