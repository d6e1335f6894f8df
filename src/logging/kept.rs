//! Records for a program around us that has a log of its own: they are kept until a thread that may wait for its log
//! takes them.
//!
//! One thread at a time gives a record to that log. Others wait for it for a while, so that records stand in order with
//! what handlers log, but not for a log that stands still.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::names::LOG_SERVER;
use crate::config::LogLevel;
use crate::deadline;
use crate::per_process::PerProcess;

/// How many records are kept, and how many bytes of text; beyond that the newest are dropped and counted, because nobody
/// takes any.
const MAX_KEPT: usize = 10_000;
const MAX_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Whether records are kept; otherwise they are written.
static IS_KEEPING: AtomicBool = AtomicBool::new(false);
static KEPT: PerProcess<Kept> = PerProcess::new(Kept::new(), Kept::new);

struct Kept {
    state: Mutex<State>,
    /// Notified of each record that is kept or given.
    changed: Condvar,
}

struct State {
    /// Those that were not taken yet.
    records: VecDeque<KeptRecord>,
    /// What their texts take.
    bytes: usize,
    /// How many were dropped after them.
    dropped: u64,
    /// How many were kept and how many given or dropped, ever.
    kept: u64,
    given: u64,
    /// The thread that has taken a record and gives it, and since when.
    giving: Option<(ThreadId, Instant)>,
}

impl Kept {
    const fn new() -> Self {
        let state = State { records: VecDeque::new(), bytes: 0, dropped: 0, kept: 0, given: 0, giving: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl State {
    /// The oldest record, which this thread is to give.
    fn take(&mut self) -> Option<KeptRecord> {
        let record = match self.records.pop_front() {
            Some(record) => {
                self.bytes -= record.message.len();
                record
            }
            None if self.dropped > 0 => {
                let count = std::mem::take(&mut self.dropped);
                self.kept += 1;
                let message = format!("{count} records were dropped: the log did not take them");
                KeptRecord { level: LogLevel::Warning, logger: LOG_SERVER.to_owned(), message }
            }
            None => return None,
        };
        self.giving = Some((thread::current().id(), Instant::now()));
        Some(record)
    }
}

/// A record for the log of the program around us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// How severe it is.
    pub level: LogLevel,
    /// The logger's name.
    pub logger: String,
    /// Its text, fields included, in which nothing can begin a line that looks like another record.
    pub message: String,
}

/// Gives this process, a forked child, records of its own.
pub(super) fn renew_after_fork() {
    KEPT.renew();
}

/// From now on records are kept, or not.
pub(super) fn switch(is_on: bool) {
    IS_KEEPING.store(is_on, Ordering::Relaxed);
}

/// Whether records are kept.
#[must_use]
pub fn is_keeping() -> bool {
    IS_KEEPING.load(Ordering::Relaxed)
}

/// Keeps `record` if that is what is done with records.
pub(super) fn keep(record: impl FnOnce() -> KeptRecord) -> bool {
    if !is_keeping() {
        return false;
    }
    let record = record();
    let kept = KEPT.get();
    let mut state = kept.state.lock();
    // Behind a gap only once all before it are taken, so that the gap is told of in its place.
    if state.dropped > 0 || state.records.len() >= MAX_KEPT || state.bytes >= MAX_KEPT_BYTES {
        state.dropped += 1;
    } else {
        state.kept += 1;
        state.bytes += record.message.len();
        state.records.push_back(record);
    }
    drop(state);
    kept.changed.notify_all();
    true
}

/// The oldest record that was kept, for this thread to give and then to call [`given`]. Waits while another thread gives
/// one, for `patience` at most. `None`: there is none now, or this thread is giving one already (a log handler starts a
/// server).
#[must_use]
pub fn next_kept(patience: Duration) -> Option<KeptRecord> {
    let kept = KEPT.get();
    let end = deadline::after(patience);
    let mut state = kept.state.lock();
    while let Some((other, _)) = state.giving {
        if other == thread::current().id() || kept.changed.wait_until(&mut state, end).timed_out() {
            return None;
        }
    }
    state.take()
}

/// As [`next_kept`], but waits until there is one, or until `is_over` and there is none.
#[must_use]
pub fn wait_for_kept(is_over: &AtomicBool) -> Option<KeptRecord> {
    let kept = KEPT.get();
    let mut state = kept.state.lock();
    loop {
        if state.giving.is_none()
            && let Some(record) = state.take()
        {
            return Some(record);
        }
        if is_over.load(Ordering::Relaxed) {
            return None;
        }
        kept.changed.wait(&mut state);
    }
}

/// Has those look again who wait in [`wait_for_kept`].
pub fn wake() {
    // With the lock: one of them may be about to wait.
    drop(KEPT.get().state.lock());
    KEPT.get().changed.notify_all();
}

/// The log has the record that this thread took.
pub fn given() {
    let kept = KEPT.get();
    let mut state = kept.state.lock();
    state.giving = None;
    state.given += 1;
    drop(state);
    kept.changed.notify_all();
}

/// Whether the log has everything that was kept until now.
#[must_use]
pub fn is_settled() -> bool {
    let state = KEPT.get().state.lock();
    state.given == state.kept && state.dropped == 0
}

/// Waits until the log has everything that was kept until now, for `patience` at most, and not for a record that it did
/// not take in that time. It does not wait for itself either.
pub fn settle(patience: Duration) {
    let kept = KEPT.get();
    let end = deadline::after(patience);
    let mut state = kept.state.lock();
    let wanted = state.kept;
    while state.given < wanted {
        let until = match state.giving {
            Some((thread, _)) if thread == thread::current().id() => return,
            Some((_, since)) => end.min(since + patience),
            None => end,
        };
        if kept.changed.wait_until(&mut state, until).timed_out() {
            return;
        }
    }
}
