//! Records that wait for the thread that writes them.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::direct;
use super::target::Target;
use crate::deadline;
use crate::per_process::PerProcess;

/// What a record takes beside its bytes, roughly: many short ones count, too.
const OVERHEAD: usize = 64;
/// How long [`flush`] waits for a write that does not end.
const STALL: Duration = Duration::from_secs(1);
/// How long it waits in any case: a reader may be about to go on.
const LEAST_WAIT: Duration = Duration::from_millis(100);
/// How long the thread lets records come together after it has written, before it sleeps until there is one: to wake it
/// costs who logs more than all the rest. Who flushes does not wait for that.
const DOZE: Duration = Duration::from_micros(500);
/// Files and formats take little.
const STACK_SIZE: usize = 256 * 1024;

/// How often this process is the child of a fork since the first queue was made.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The queues of this process, for [`flush`].
static QUEUES: PerProcess<Mutex<Vec<Weak<Shared>>>> =
    PerProcess::new(Mutex::new(Vec::new()), || Mutex::new(Vec::new()));

/// Tells this process, a forked child, that it has none of its parent's threads. Takes no lock.
pub(super) fn renew_after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    QUEUES.renew();
}

/// What writes records, on the thread of a queue. It may wait.
pub trait Sink: Send + 'static {
    /// Writes a whole record. One that fails is counted as dropped.
    fn write(&mut self, record: &[u8]) -> io::Result<()>;
}

/// Makes the record which says that so many were dropped.
type Note = Box<dyn Fn(u64) -> Vec<u8> + Send + Sync>;

/// A bounded queue and the thread that writes what is in it. When it is dropped, the thread writes the rest and ends.
pub struct Queue {
    shared: Arc<Shared>,
    /// [`FORKS`] when it was made.
    born: u32,
}

struct Shared {
    state: Mutex<State>,
    /// Notified when there is something to do for the thread.
    arrived: Condvar,
    /// Notified when somebody waits for it.
    hurry: Condvar,
    /// Notified when the thread has written something, or begins to.
    moved: Condvar,
    /// How many bytes may wait.
    limit: usize,
    /// [`DOZE`].
    doze: Duration,
    target: Target,
    note: Note,
}

#[derive(Default)]
struct State {
    records: VecDeque<Item>,
    /// What they take. The record that is being written does not count.
    bytes: usize,
    /// It was full, and is not half empty yet.
    is_dropping: bool,
    /// How many were dropped after those that wait.
    dropped: u64,
    /// How many records were put in, and how many are done with.
    put: u64,
    done: u64,
    /// When the write that is under way began.
    writing: Option<Instant>,
    is_closed: bool,
}

/// A record that waits; empty: there is only a gap to be noted.
struct Item {
    record: Vec<u8>,
    /// How many were dropped before it.
    dropped: u64,
}

impl Queue {
    /// Starts the thread `name`. At most `limit` bytes wait, and one record more, so that one that is longer than
    /// the limit is written, too. `note` makes the record for those that were dropped.
    pub fn start(
        name: &str,
        limit: usize,
        target: Target,
        sink: impl Sink,
        note: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::start_dozing(name, limit, target, sink, note, DOZE)
    }

    fn start_dozing(
        name: &str,
        limit: usize,
        target: Target,
        sink: impl Sink,
        note: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
        doze: Duration,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            arrived: Condvar::new(),
            hurry: Condvar::new(),
            moved: Condvar::new(),
            limit,
            doze,
            target,
            note: Box::new(note),
        });
        let thread = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK_SIZE)
            .spawn(move || thread.write_all(sink))?;
        let mut queues = QUEUES.get().lock();
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(Arc::downgrade(&shared));
        Ok(Self { shared, born: FORKS.load(Ordering::Relaxed) })
    }

    /// Puts a record in, which is made only if there is room for it. Never waits for who reads it.
    pub fn put(&self, record: impl FnOnce() -> Vec<u8>) {
        if self.born != FORKS.load(Ordering::Relaxed) {
            direct::write(&self.shared.target, &record(), &self.shared.note);
            return;
        }
        let mut state = self.shared.state.lock();
        if !state.has_room(self.shared.limit) {
            state.dropped += 1;
            return;
        }
        drop(state);
        let record = record();
        self.shared.state.lock().put(record);
        self.shared.arrived.notify_one();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.born == FORKS.load(Ordering::Relaxed) {
            self.shared.state.lock().is_closed = true;
            self.shared.wake();
        }
    }
}

impl State {
    /// Whether a record may be put in. Once it is full, that begins again at half of the limit: one gap with a number
    /// says more than many.
    fn has_room(&mut self, limit: usize) -> bool {
        let most = if self.is_dropping { limit / 2 } else { limit };
        self.is_dropping = self.bytes >= most;
        !self.is_dropping
    }

    fn put(&mut self, record: Vec<u8>) {
        self.bytes += record.len() + OVERHEAD;
        self.put += 1;
        let dropped = mem::take(&mut self.dropped);
        self.records.push_back(Item { record, dropped });
    }

    /// Has those noted that were dropped, though no record follows.
    fn note_dropped(&mut self) {
        self.put(Vec::new());
    }
}

impl Shared {
    /// The life of the thread.
    fn write_all(&self, mut sink: impl Sink) {
        let mut lost = 0;
        while let Some(item) = self.next() {
            lost += item.dropped;
            if lost > 0 && sink.write(&(self.note)(lost)).is_ok() {
                lost = 0;
            }
            if !item.record.is_empty() && sink.write(&item.record).is_err() {
                lost += 1;
            }
        }
    }

    /// The next record. `None`: there is nothing any more.
    fn next(&self) -> Option<Item> {
        let mut state = self.state.lock();
        let mut may_doze = state.writing.take().is_some();
        if may_doze {
            state.done += 1;
        }
        loop {
            if state.records.is_empty() && state.dropped > 0 {
                state.note_dropped();
            }
            if let Some(item) = state.records.pop_front() {
                state.bytes -= item.record.len() + OVERHEAD;
                state.writing = Some(Instant::now());
                self.moved.notify_all();
                return Some(item);
            }
            self.moved.notify_all();
            if state.is_closed {
                return None;
            }
            if mem::take(&mut may_doze) {
                self.hurry.wait_for(&mut state, self.doze);
            } else {
                self.arrived.wait(&mut state);
            }
        }
    }

    /// Has the thread look for what there is to do, at once.
    fn wake(&self) {
        self.arrived.notify_one();
        self.hurry.notify_one();
    }

    /// Waits until all that was put in before is done with; not after `end`, and not for a write that stands still.
    fn flush(&self, end: Instant) {
        let mut state = self.state.lock();
        if state.dropped > 0 {
            state.note_dropped();
        }
        self.wake();
        let (begin, wanted) = (Instant::now(), state.put);
        while state.done < wanted {
            let stalled = state.writing.map_or(end, |begun| (begun + STALL).max(begin + LEAST_WAIT));
            let until = stalled.min(end);
            if Instant::now() >= until {
                return;
            }
            self.moved.wait_until(&mut state, until);
        }
    }
}

/// Waits until everything that all queues hold is written, but no longer than `limit`, and not for a descriptor that
/// takes nothing. A child that was forked has nothing to wait for.
pub fn flush(limit: Duration) {
    let end = deadline::after(limit);
    let queues: Vec<_> = QUEUES.get().lock().iter().filter_map(Weak::upgrade).collect();
    for queue in queues {
        queue.flush(end);
    }
}

/// Writes a record at once, for those who have no queue: waits for the reader for a moment only.
pub fn write_now(target: &Target, record: &[u8]) {
    direct::write(target, record, &|_| Vec::new());
}
