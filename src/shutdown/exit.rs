//! Ends the process, whatever its threads are doing: at once, or when a stop must be over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::children;

/// How long a stop may take beyond the grace, whatever happens.
pub const LAST_TIME: Duration = Duration::from_secs(3);

/// What the thread says that ends a process which does not end by itself.
const TOO_LONG: &str =
    "wshost: The stop takes longer than --grace and 3 seconds; ending without waiting any longer\n";

/// When the stop that a signal has asked for has to be over, in milliseconds of [`clock`]; 0: nobody has asked.
static DEADLINE: AtomicU64 = AtomicU64::new(0);

/// Milliseconds since this was first asked; never 0.
fn clock(time: Instant) -> u64 {
    static BEGIN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let passed = time.saturating_duration_since(*BEGIN);
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// The stop that a signal has asked for has to be over at `deadline`; `None`: beyond all times.
pub(super) fn remember(deadline: Option<Instant>) {
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
        exit_too_late(code);
    };
    // Where no thread is to be had, the end takes what it takes.
    let _ = thread::Builder::new().name("wshost-exit".to_owned()).spawn(wait);
}

/// Ends the process, whose stop takes too long, and says so.
pub(super) fn exit_too_late(code: i32) -> ! {
    say(TOO_LONG);
    exit_at_once(code);
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
