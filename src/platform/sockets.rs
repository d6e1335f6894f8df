//! Flags of single calls, and what the system knows of a connection. On Linux.

use std::os::fd::{AsFd, AsRawFd as _};

use libc::c_int;

/// A call that would have to wait is `WouldBlock`.
pub const NO_WAIT: c_int = libc::MSG_DONTWAIT;

/// A peer that is gone is an error, and no SIGPIPE for the process.
pub const NO_SIGNAL: c_int = libc::MSG_NOSIGNAL;

/// More will be sent at once: what is sent may be kept back for it.
pub const MORE_TO_COME: c_int = libc::MSG_MORE;

/// How many bytes that were written to `socket` its peer's system has not taken yet; 0 where nobody can tell.
pub fn unsent_bytes(socket: &impl AsFd) -> usize {
    let mut unsent: c_int = 0;
    // SAFETY: TIOCOUTQ writes one int to where the pointer leads; the descriptor is open while it is borrowed.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut unsent) };
    if result == 0 { usize::try_from(unsent).unwrap_or(0) } else { 0 }
}
