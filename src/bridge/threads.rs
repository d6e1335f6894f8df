//! The threads of handlers. One whose connection has ended waits for the next connection for a moment: to make a thread
//! and to throw it away is a good part of what a short connection costs.
//!
//! Must not import pyo3.

use std::collections::VecDeque;
use std::ffi::CString;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::process::getpriority_process;
use rustix::thread::{sched_getaffinity, set_name};

use super::stack;
use crate::per_process::PerProcess;

/// As much as Python gives its own threads: handlers may recurse. Untouched pages cost nothing.
const STACK_SIZE: usize = 8 << 20;

/// How long a thread waits for its next connection.
const PATIENCE: Duration = Duration::from_secs(1);

/// So many threads wait at most.
const MOST_WAITING: usize = 32;

/// The name of a thread that waits.
const WAITING: &str = "wsh-waiting";

pub(super) static THREADS: PerProcess<Threads> = PerProcess::new(&FIRST_THREADS, Threads::new);

static FIRST_THREADS: Threads = Threads::new();

/// The threads that wait.
pub(super) struct Threads {
    state: Mutex<State>,
    more: Condvar,
}

struct State {
    waiting: usize,
    /// What they will do next; never more than there are threads.
    work: VecDeque<Work>,
}

struct Work {
    /// The thread's name meanwhile.
    name: String,
    run: Box<dyn FnOnce() + Send>,
}

impl Work {
    /// Names this thread; gives what is to be run. Only that stays on the stack of a connection that waits.
    #[inline(never)]
    #[allow(clippy::boxed_local, reason = "by value it would lie on the caller's stack")]
    fn begin(self: Box<Self>) -> Box<dyn FnOnce() + Send> {
        rename(&self.name);
        self.run
    }
}

/// Runs `run` on a thread called `name`, which has no NUL: on one that waits, else on a new one.
pub fn start(name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    THREADS.get().start(name, Box::new(run))
}

impl Threads {
    const fn new() -> Self {
        Self { state: Mutex::new(State { waiting: 0, work: VecDeque::new() }), more: Condvar::new() }
    }

    fn start(&'static self, name: String, run: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let work = Work { name, run };
        let mut state = self.state.lock();
        if state.waiting > state.work.len() {
            state.work.push_back(work);
            self.more.notify_one();
            return Ok(());
        }
        drop(state);
        let work = Box::new(work);
        // The name that Rust keeps could not be changed later.
        thread::Builder::new().stack_size(STACK_SIZE).spawn(|| self.live(work)).map(drop)
    }

    /// The life of a thread: work after work, as long as none has changed what the next one would find.
    fn live(&self, first: Box<Work>) {
        stack::mark();
        let before = attributes();
        first.begin()();
        while attributes() == before
            && let Some(work) = self.wait()
        {
            work.begin()();
        }
    }

    /// The next work. `None`: there is none, or enough threads wait for it.
    #[inline(never)]
    fn wait(&self) -> Option<Box<Work>> {
        rename(WAITING);
        let mut state = self.state.lock();
        if state.waiting == MOST_WAITING {
            return None;
        }
        state.waiting += 1;
        self.more.wait_while_for(&mut state, |state| state.work.is_empty(), PATIENCE);
        state.waiting -= 1;
        state.work.pop_front().map(Box::new)
    }
}

/// Gives this thread a name as far as the system keeps it, which is 15 bytes.
fn rename(name: &str) {
    // Only for people who look; a name that the system does not take does no harm.
    let _ = CString::new(name).map(|name| set_name(&name));
}

/// What a handler may change of its thread: its niceness, the processors that it may use, the signals that it blocks.
/// Their hash: more would lie on the stack of each connection that waits.
#[inline(never)]
fn attributes() -> u64 {
    let mut hasher = DefaultHasher::new();
    getpriority_process(None).ok().hash(&mut hasher);
    sched_getaffinity(None).ok().hash(&mut hasher);
    blocked_signals().hash(&mut hasher);
    hasher.finish()
}

/// The signals that this thread blocks.
fn blocked_signals() -> u64 {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call only writes the set, and it is read if there was no error.
    unsafe {
        if libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), set.as_mut_ptr()) != 0 {
            return 0;
        }
        (1..=64)
            .filter(|&signal| libc::sigismember(set.as_ptr(), signal) == 1)
            .map(|signal| 1 << (signal - 1))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, channel};
    use std::time::Instant;

    use rustix::process::setpriority_process;
    use rustix::thread::CpuSet;

    use super::*;

    fn threads() -> &'static Threads {
        Box::leak(Box::new(Threads::new()))
    }

    /// Runs `work` as `name`; gives what it gave, and the thread's number, once the thread waits or has ended.
    fn run<T: Send + 'static>(
        threads: &'static Threads,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> (T, i32) {
        let (told, answer) = channel();
        let run = move || told.send((work(), rustix::thread::gettid().as_raw_nonzero().get())).unwrap();
        threads.start(name.to_owned(), Box::new(run)).unwrap();
        let (value, number) = answer.recv().unwrap();
        until(|| comm(number).is_none_or(|found| found == WAITING && threads.state.lock().waiting > 0));
        (value, number)
    }

    /// Waits until something is so; not for ever.
    fn until(is_so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !is_so() {
            assert!(begin.elapsed() < Duration::from_secs(20), "waited in vain");
            thread::yield_now();
        }
    }

    /// The name of a thread as the system knows it.
    fn comm(number: i32) -> Option<String> {
        let comm = std::fs::read_to_string(format!("/proc/self/task/{number}/comm")).ok()?;
        Some(comm.trim_end().to_owned())
    }

    fn own_comm() -> Option<String> {
        comm(rustix::thread::gettid().as_raw_nonzero().get())
    }

    #[test]
    fn a_thread_runs_one_work_after_the_other_under_their_names() {
        let threads = threads();
        let (first, thread) = run(threads, "wsh-1 /a", own_comm);
        let (second, same) = run(threads, "wsh-2 /a/long/resource", own_comm);
        assert_eq!(first.as_deref(), Some("wsh-1 /a"));
        assert_eq!(second.as_deref(), Some("wsh-2 /a/long/r"));
        assert_eq!(thread, same);
    }

    #[test]
    fn a_thread_that_was_changed_is_not_used_again() {
        let changes: [fn(); 3] = [
            || setpriority_process(None, 19).unwrap(),
            || {
                let mut fewer = CpuSet::new();
                let all = sched_getaffinity(None).unwrap();
                let first = (0..CpuSet::MAX_CPU).find(|&processor| all.is_set(processor)).unwrap();
                fewer.set(first);
                rustix::thread::sched_setaffinity(None, &fewer).unwrap();
            },
            || {
                let mut set = MaybeUninit::uninit();
                // SAFETY: the first call fills the set.
                unsafe {
                    libc::sigemptyset(set.as_mut_ptr());
                    libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR1);
                    libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), ptr::null_mut());
                }
            },
        ];
        let is_single = sched_getaffinity(None).unwrap().count() == 1;
        for (number, change) in changes.into_iter().enumerate() {
            let threads = threads();
            run(threads, "wsh-1 /a", change);
            let expected = usize::from(number == 1 && is_single);
            assert_eq!(threads.state.lock().waiting, expected, "change {number}");
        }
    }

    #[test]
    fn no_more_threads_wait_than_are_wanted() {
        let threads = threads();
        let (told, ended) = channel::<()>();
        let release: Vec<_> = (0..MOST_WAITING + 5)
            .map(|number| {
                let (release, wait): (_, Receiver<()>) = channel();
                let told = told.clone();
                let run = move || {
                    wait.recv().unwrap();
                    drop(told);
                };
                threads.start(format!("wsh-{number}"), Box::new(run)).unwrap();
                release
            })
            .collect();
        drop(told);
        for release in release {
            release.send(()).unwrap();
        }
        assert!(ended.recv().is_err());
        until(|| threads.state.lock().waiting >= MOST_WAITING);
        assert_eq!(threads.state.lock().waiting, MOST_WAITING);
    }

    #[test]
    fn a_thread_that_waits_in_vain_ends() {
        let threads = threads();
        let ((), thread) = run(threads, "wsh-1 /a", || ());
        assert_eq!(threads.state.lock().waiting, 1);
        until(|| comm(thread).is_none());
        assert_eq!(threads.state.lock().waiting, 0);
    }
}
