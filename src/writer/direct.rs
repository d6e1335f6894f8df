//! Writing on the thread of the caller, for a moment at most. Must not import anything of this crate but `deadline` and `platform`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::target::Target;
use crate::{deadline, platform};

/// How long to wait for a reader.
const READER_TIME: Duration = Duration::from_secs(1);

/// Nobody reads: the next record does not wait again.
static IS_STALLED: AtomicBool = AtomicBool::new(false);
/// How many records were dropped since.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// A child has dropped nothing yet.
pub(super) fn renew_after_fork() {
    IS_STALLED.store(false, Ordering::Relaxed);
    DROPPED.store(0, Ordering::Relaxed);
}

/// Writes `record`, and before it what `note` makes of the number of those that were dropped.
pub(super) fn write(target: &Target, record: &[u8], note: &dyn Fn(u64) -> Vec<u8>) {
    let patience = if IS_STALLED.load(Ordering::Relaxed) { Duration::ZERO } else { READER_TIME };
    let dropped = DROPPED.load(Ordering::Relaxed);
    let whole;
    let bytes = if dropped > 0 {
        whole = [&note(dropped), record].concat();
        &whole
    } else {
        record
    };
    let end = deadline::after(patience);
    let result = target.descriptor().and_then(|descriptor| write_for_a_moment(descriptor, bytes, end));
    IS_STALLED.store(result.is_err(), Ordering::Relaxed);
    match result {
        Ok(()) => DROPPED.fetch_sub(dropped, Ordering::Relaxed),
        Err(_) => DROPPED.fetch_add(1, Ordering::Relaxed),
    };
}

/// Writes all of `bytes` by `end`.
///
/// Several processes may write to one pipe: one that was ready may be full when its turn comes. So a description of
/// its own is opened that never waits; where that fails (a process that has given up its rights), what `poll` says has
/// to do.
fn write_for_a_moment(descriptor: BorrowedFd<'_>, bytes: &[u8], end: Instant) -> io::Result<()> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(descriptor)?.st_mode);
    if kind == FileType::RegularFile {
        return write_all(descriptor, bytes);
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::APPEND;
    let own = platform::open_again(descriptor, flags).map(File::from);
    let descriptor = own.as_ref().map_or(descriptor, AsFd::as_fd);
    let mut rest = bytes;
    while !rest.is_empty() {
        wait(descriptor, Some(end))?;
        let piece = &rest[..rest.len().min(libc::PIPE_BUF)];
        let written =
            if kind == FileType::Socket { send(descriptor, piece) } else { write_once(descriptor, piece) };
        match written {
            Ok(count) => rest = &rest[count..],
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < end => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Writes all of `bytes`, however long that takes.
pub fn write_all(descriptor: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    write_rest(descriptor, &mut rest)
}

/// The same; `rest` is what was not written.
fn write_rest(descriptor: BorrowedFd<'_>, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match write_once(descriptor, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *rest = &rest[count..],
            Err(Errno::INTR) => {}
            // Somebody who shares it has made it so.
            Err(Errno::AGAIN) => wait(descriptor, None)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Records of whole lines, one write each. One that there was no room for in its middle gets a line of its own.
#[derive(Debug, Default)]
pub struct Lines {
    is_torn: bool,
}

impl Lines {
    /// Writes `record`, however long that takes.
    pub fn write(&mut self, descriptor: BorrowedFd<'_>, record: &[u8]) -> io::Result<()> {
        let whole;
        let bytes = if self.is_torn {
            whole = [b"\n", record].concat();
            &whole
        } else {
            record
        };
        let mut rest = bytes;
        let result = write_rest(descriptor, &mut rest);
        if let Some(last) = bytes[..bytes.len() - rest.len()].last() {
            self.is_torn = result.is_err() && *last != b'\n';
        }
        result
    }
}

fn write_once(descriptor: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    rustix::io::write(descriptor, bytes)
}

/// Sends what a socket takes now.
fn send(socket: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize, Errno> {
    let flags = platform::NO_WAIT | platform::NO_SIGNAL;
    // SAFETY: the pointer and the length are those of a slice.
    let count = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(count).map_err(|_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
}

/// Waits until something can be written, by `end` if there is one.
fn wait(descriptor: BorrowedFd<'_>, end: Option<Instant>) -> io::Result<()> {
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let time = left.and_then(|left| Timespec::try_from(left).ok());
        let mut polled = [PollFd::new(&descriptor, PollFlags::OUT)];
        match poll(&mut polled, time.as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
