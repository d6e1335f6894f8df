//! Waiting for a number in memory to change, which needs no descriptor. On Linux, with a futex.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::thread::futex;

/// Waits while `number` is `seen`, but no longer than `time`. It may return early.
pub fn wait_while(number: &AtomicU32, seen: u32, time: Option<Duration>) {
    // More than the system takes is as good as for ever.
    let time = time.and_then(|time| time.try_into().ok());
    // An error: it is another one, or the time is over, or a signal came.
    let _ = futex::wait(number, futex::Flags::PRIVATE, seen, time.as_ref());
}

/// Wakes all who wait for `number`. A signal handler may call it.
pub fn wake_all(number: &AtomicU32) {
    // An error would mean that the address is not ours.
    let _ = futex::wake(number, futex::Flags::PRIVATE, u32::MAX >> 1);
}

/// Does `work` and leaves `errno` as it was, which a signal handler must.
pub fn keeping_errno(work: impl FnOnce()) {
    // SAFETY: it is the address of a number of this thread, for as long as the thread is.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: nobody else reads or writes it.
    let before = unsafe { *errno };
    work();
    // SAFETY: as above.
    unsafe { *errno = before };
}
