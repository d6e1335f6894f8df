//! The end of the server: signals ask for it, a grace period limits it, and a thread that needs nothing but memory
//! sees to it that it comes. And the signal that asks for a fresh look at files.
//!
//! Must not import pyo3.

mod signals;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libc::{SIGHUP, SIGINT, SIGTERM};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::children;
use crate::logging::LOG_SERVER;
use signals::Taken;

/// How long a stop may take beyond the grace, whatever happens.
pub const LAST_TIME: Duration = Duration::from_secs(3);

/// What the thread says that ends a process which does not end by itself.
const TOO_LONG: &str =
    "wshost: The stop takes longer than --grace and 3 seconds; ending without waiting any longer\n";

/// When the stop that a signal has asked for has to be over, in milliseconds of [`clock`]; 0: nobody has asked.
static DEADLINE: AtomicU64 = AtomicU64::new(0);

/// The signals that ask for the end, and for a fresh look at files, until this is dropped.
///
/// SIGINT and SIGTERM cancel [`stop`](Self::stop). A second signal ends the process at once, with the exit code that
/// shells give to it: 130 or 143. A stop that is not over [`LAST_TIME`] after the grace ends the process with 0: this
/// must work when a handler has closed the runtime's descriptors, or when a thread never comes back from a system call.
///
/// A signal that is ignored already stays so.
pub struct Signals {
    stop: CancellationToken,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Signals {
    /// Takes the signals. `end` is called on the first SIGINT or SIGTERM, and `reload` on SIGHUP, one call at a time;
    /// each on a thread of its own that may wait. The threads are there from the start: a process that may have no
    /// more of them can still stop.
    pub fn take(
        grace: Duration,
        end: impl FnOnce() + Send + 'static,
        reload: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let (asked, asks) = sync_channel(1);
        let ends = move || {
            // An error: the server has ended by itself.
            if let Ok(number) = asks.recv() {
                tracing::info!(target: LOG_SERVER, "Stopping on signal {number}; once more ends the process at once");
                end();
            }
        };
        spawn("wshost-end", ends)?;
        // One that waits stands for all that come meanwhile.
        let (hangup, hangups) = sync_channel(1);
        let reloads = move || {
            while hangups.recv().is_ok() {
                tracing::info!(target: LOG_SERVER, "Reading handlers and certificates again on SIGHUP");
                reload();
            }
        };
        spawn("wshost-hangup", reloads)?;
        let (stop, is_over) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let (token, over) = (stop.clone(), Arc::clone(&is_over));
        let given_back = Taken::new()?;
        let work = move || {
            // When nobody looks at them any more.
            let _given_back = given_back;
            watch(grace, &token, &over, &asked, &hangup);
        };
        let thread = spawn("wshost-signals", work)?;
        Ok(Self { stop, is_over, thread: Some(thread) })
    }

    /// Cancelled when the server is to end.
    #[must_use]
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        signals::wake();
        if let Some(thread) = self.thread.take() {
            // It waits for nothing but this.
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Does what signals ask for. It takes no lock and writes to no log: those may be held by one that never comes back.
fn watch(
    grace: Duration,
    stop: &CancellationToken,
    is_over: &AtomicBool,
    asked: &SyncSender<i32>,
    changed: &SyncSender<()>,
) {
    let mut deadline: Option<Option<Instant>> = None;
    loop {
        let seen = signals::changes();
        if is_over.load(Ordering::Acquire) {
            return;
        }
        for number in [SIGINT, SIGTERM] {
            if !signals::has_arrived(number) {
                continue;
            }
            if deadline.is_some() {
                exit_at_once(128 + number);
            }
            // `None`: beyond all times.
            let end = grace.checked_add(LAST_TIME).and_then(|time| Instant::now().checked_add(time));
            deadline = Some(end);
            remember(end);
            // Errors: it was told already.
            let _ = asked.try_send(number);
            cancel(stop);
        }
        if signals::has_arrived(SIGHUP) {
            let _ = changed.try_send(());
        }
        let left = deadline.flatten().map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            say(TOO_LONG);
            exit_at_once(0);
        }
        signals::wait(seen, left);
    }
}

/// Cancels `stop`. With a runtime whose descriptors somebody has closed, tokio panics where it would wake it; nobody
/// is there to be woken.
pub fn cancel(stop: &CancellationToken) {
    // The panic hook has reported it.
    let _ = catch_unwind(AssertUnwindSafe(|| stop.cancel()));
}

/// Milliseconds since this was first asked; never 0.
fn clock(time: Instant) -> u64 {
    static BEGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let passed = time.saturating_duration_since(*BEGIN);
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

fn remember(deadline: Option<Instant>) {
    DEADLINE.store(deadline.map_or(u64::MAX, clock), Ordering::Release);
}

/// From now on the process ends with `code` when the stop that a signal has asked for must be over. For those who have
/// nothing left to do but to end, which can take long, too: Python waits for threads that handlers have left.
pub fn exit_in_time(code: i32) {
    let deadline = DEADLINE.load(Ordering::Acquire);
    if deadline == 0 {
        return;
    }
    let wait = move || {
        thread::sleep(Duration::from_millis(deadline.saturating_sub(clock(Instant::now()))));
        say(TOO_LONG);
        exit_at_once(code);
    };
    // Where no thread is to be had, the end takes what it takes.
    let _ = spawn("wshost-exit", wait);
}

/// Waits until the tracked connections are done, but no longer than `grace`. Returns whether they all were.
pub async fn wait_for(connections: TaskTracker, grace: Duration) -> bool {
    connections.close();
    tokio::time::timeout(grace, connections.wait()).await.is_ok()
}

/// Ends the process, and CGI scripts, without waiting for anything: `exit` would run what waits for handler threads.
pub fn exit_at_once(code: i32) -> ! {
    children::kill_all();
    // SAFETY: `_exit` touches no memory of the process.
    unsafe { libc::_exit(code) }
}

/// Writes `text`, which is short, to stderr if that takes it at once. Takes no lock.
fn say(text: &str) {
    // SAFETY: it is only used to write, which fails if it is not open.
    let stderr = unsafe { std::os::fd::BorrowedFd::borrow_raw(libc::STDERR_FILENO) };
    let mut writable = [PollFd::new(&stderr, PollFlags::OUT)];
    if poll(&mut writable, Some(&Timespec::default())) == Ok(1)
        && writable[0].revents().contains(PollFlags::OUT)
    {
        // Nobody reads stderr when this fails.
        let _ = rustix::io::write(stderr, text.as_bytes());
    }
}

/// Before a fork: signals wait, so that the child gets none before [`restore_in_child`].
pub fn before_fork() {
    signals::hold();
}

/// After a fork, in the parent.
pub fn after_fork() {
    signals::let_go();
}

/// Gives a child that was forked the signals as they were before [`Signals::take`]: the thread that would look at them
/// is the parent's alone. To be called in the child; it takes no lock and no memory. A signal may end the child at once.
pub fn restore_in_child() {
    signals::give_back();
    signals::let_go();
}

/// Ignores what would end the process when a write fails: nobody reads a pipe any more (SIGPIPE), or a file has
/// reached the limit on sizes (SIGXFSZ). The write's error is enough. Python does the same where it is the program; to be
/// called before it starts, so that it knows.
pub fn ignore_failed_writes() {
    for number in FAILED_WRITES {
        // They are signals that may be ignored.
        let _ = signals::ignore(number);
    }
}

/// What [`ignore_failed_writes`] ignores.
const FAILED_WRITES: [i32; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// The program that `command` starts gets those signals as programs expect them, as with Python's `subprocess`. What is
/// handled becomes the default by itself; what is ignored would stay so.
pub fn restore_for_program(command: &mut tokio::process::Command) {
    let restore = || {
        for number in FAILED_WRITES {
            // SAFETY: changes what the signal does in the child, which runs nothing else.
            unsafe { libc::signal(number, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: in the child, `restore` calls `signal` only, which may be called there.
    unsafe { command.pre_exec(restore) };
}
