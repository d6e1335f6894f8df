//! The file of a recording: read without waiting for long. Must not import anything.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// A file that was opened without waiting.
pub(super) struct Source {
    file: File,
    /// How long it may be silent.
    patience: Duration,
}

impl Source {
    pub(super) fn new(file: File, patience: Duration) -> Self {
        Self { file, patience }
    }

    /// Waits until there is something to read, or its end.
    fn wait(&self) -> io::Result<()> {
        let limit = Timespec::try_from(self.patience).ok();
        match poll(&mut [PollFd::new(&self.file, PollFlags::IN)], limit.as_ref()) {
            Ok(0) => Err(io::Error::other(format!("nothing comes for {} s", self.patience.as_secs_f64()))),
            Err(error) if error != Errno::INTR => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait()?,
                result => return result,
            }
        }
    }
}
