//! A file whose number others may close, such as a handler that closes all descriptors: the system gives the number to
//! the next file or client then, and nothing of ours may be written there. Must not import anything of this crate but `platform`.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Stat, fstat};

use crate::platform;

/// A file that is written to as long as its number leads to it. The number stays the same.
#[derive(Debug)]
pub struct OwnFile {
    /// Closed in `drop`, if it is ours by then.
    file: ManuallyDrop<File>,
    /// The [`identity`] of the file, and of the one before it: a child that is forked while the file is replaced may have
    /// that one.
    known: [AtomicU64; 2],
}

impl OwnFile {
    /// Takes a file that was just opened.
    pub fn new(file: File) -> io::Result<Self> {
        let identity = identity(&fstat(&file)?);
        let known = [AtomicU64::new(identity), AtomicU64::new(identity)];
        Ok(Self { file: ManuallyDrop::new(file), known })
    }

    /// What the file is like now. An error: somebody has closed it.
    pub fn stat(&self) -> io::Result<Stat> {
        let stat = fstat(&*self.file)?;
        let is_known = self.known.iter().any(|known| known.load(Ordering::Relaxed) == identity(&stat));
        if is_known { Ok(stat) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
    }

    /// Its descriptor, to be used at once. An error: somebody has closed it.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.stat().map(|_| self.file.as_fd())
    }

    /// Goes on with `file` under the number of the old one. By one thread only.
    pub fn replace(&self, file: &File) -> io::Result<()> {
        let (new, old) = (identity(&fstat(file)?), identity(&self.stat()?));
        let [now, before] = &self.known;
        // First: a child has descriptors that may be older than its memory, and never newer ones.
        before.store(old, Ordering::Relaxed);
        now.store(new, Ordering::Relaxed);
        // Those who know the number want to write to this file, whichever it is.
        platform::replace(self.file.as_fd(), file.as_fd()).inspect_err(|_| now.store(old, Ordering::Relaxed))
    }
}

impl Drop for OwnFile {
    fn drop(&mut self) {
        if self.stat().is_ok() {
            // SAFETY: it is not used any more.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// What tells a file from all others that are open, in one number, which is read and written in one step. Devices have small
/// numbers.
fn identity(stat: &Stat) -> u64 {
    stat.st_dev.rotate_left(40) ^ stat.st_ino
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

    use super::*;

    #[test]
    fn a_number_that_somebody_else_got_is_left_alone() {
        let (own, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let (own, other_identity) = (OwnFile::new(own).unwrap(), identity(&fstat(&other).unwrap()));
        let number = own.file.as_raw_fd();
        assert!(own.descriptor().is_ok());
        // As when it was closed, and the next file got the number; in one step, because other tests run.
        // SAFETY: both numbers are open; the second is that of a file which is used no more.
        assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
        assert_eq!(own.descriptor().unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert!(own.replace(&tempfile::tempfile().unwrap()).is_err());
        drop(own);
        // SAFETY: `own` has left it open, and nobody else has it.
        let left = unsafe { OwnedFd::from_raw_fd(number) };
        assert_eq!(identity(&fstat(&left).unwrap()), other_identity);
    }

    #[test]
    fn the_number_stays_when_the_file_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let open = |name| File::create(directory.path().join(name)).unwrap();
        let own = OwnFile::new(open("a")).unwrap();
        let number = own.file.as_raw_fd();
        for name in ["b", "c"] {
            own.replace(&open(name)).unwrap();
            File::from(own.descriptor().unwrap().try_clone_to_owned().unwrap()).write_all(b"x").unwrap();
            assert_eq!(std::fs::read(directory.path().join(name)).unwrap(), b"x");
        }
        assert_eq!(own.file.as_raw_fd(), number);
    }
}
