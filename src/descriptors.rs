//! File descriptors whose numbers mean something: 0, 1 and 2, which everybody reads and writes without asking what they
//! are, and those that others pass to us by number.
//!
//! Must not import anything of this crate.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};

/// Standard input, output and error are below this.
const FIRST_FREE: RawFd = 3;

/// Sees to it that 0, 1 and 2 are open: what is not becomes `/dev/null`. Else the next file or client would get the
/// number, and what handlers print, or the log, with it. One system call where all is well.
pub fn keep_standard() {
    // SAFETY: these three are only asked about, by `poll`, which says so of what is not open.
    let standard = [0, 1, 2].map(|number| unsafe { BorrowedFd::borrow_raw(number) });
    let mut states = standard.each_ref().map(|fd| PollFd::new(fd, PollFlags::empty()));
    let asked = poll(&mut states, Some(&Timespec::default()));
    if asked.is_ok() && !states.iter().any(|state| state.revents().contains(PollFlags::NVAL)) {
        return;
    }
    // The system takes the lowest number that is free. An error: there is no such file here, or nothing is free.
    while let Ok(null) = null() {
        if null.as_raw_fd() >= FIRST_FREE {
            return;
        }
        keep_open(null);
    }
}

/// Leaves it open for good, for children, too.
fn keep_open(null: File) {
    // An error would mean that somebody has closed it meanwhile.
    let _ = rustix::io::fcntl_setfd(&null, rustix::io::FdFlags::empty());
    let _ = null.into_raw_fd();
}

fn null() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}

/// `fd`, or the same under another number if it has one of a standard stream, which is `/dev/null` from then on.
pub fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST_FREE {
        return Ok(fd);
    }
    let above = rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_FREE)?;
    if let Ok(null) = null() {
        let number = fd.into_raw_fd();
        // SAFETY: the number is that of a descriptor which is ours and which nothing uses any more; it is replaced by
        // another one at once, so that it is not free in between.
        unsafe { libc::dup2(null.as_raw_fd(), number) };
    }
    keep_standard();
    Ok(above)
}

/// Why a descriptor that was passed cannot be written to, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum NotWritable {
    /// It is 0, 1 or 2.
    #[error("it is a standard stream; pass another descriptor")]
    Standard,
    /// Nobody has opened it.
    #[error("it is not open in this process; pass one that is")]
    NotOpen,
    /// It can be read only.
    #[error("it is open for reading only; pass one that can be written")]
    ReadOnly,
    /// It is a folder, a socket that listens, or another thing that bytes do not go to.
    #[error("it is no pipe, file, terminal or connected socket; pass one that is")]
    OtherKind,
}

/// Takes the descriptor `number`, which somebody has passed to this process to be written to.
///
/// To be called before the server opens anything, for a number that is open by then is none of its own.
pub fn take_writable(number: RawFd) -> Result<File, NotWritable> {
    if number < FIRST_FREE {
        return Err(NotWritable::Standard);
    }
    // SAFETY: it is only asked about, which is an error if it is not open.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfl(fd).map_err(|_| NotWritable::NotOpen)?;
    if flags & OFlags::RWMODE == OFlags::RDONLY || flags.contains(OFlags::PATH) {
        return Err(NotWritable::ReadOnly);
    }
    let kind = fstat(fd).map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode));
    let is_written =
        matches!(kind, FileType::Fifo | FileType::RegularFile | FileType::CharacterDevice | FileType::Socket);
    let listens = kind == FileType::Socket && rustix::net::sockopt::socket_acceptconn(fd).unwrap_or(false);
    if !is_written || listens {
        return Err(NotWritable::OtherKind);
    }
    // An error would mean that it is not open.
    let _ = rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC);
    // SAFETY: it is open, and who passed it by number has given it away. Nothing of ours has this number: what is opened
    // later gets others for as long as this is open. (Python's own, and those of a program around us, are theirs to name.)
    Ok(unsafe { File::from_raw_fd(number) })
}

/// Whether `fd` has the number of a standard stream.
pub fn is_standard(fd: impl AsFd) -> bool {
    fd.as_fd().as_raw_fd() < FIRST_FREE
}
