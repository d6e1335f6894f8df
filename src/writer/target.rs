//! Where records go.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::own_file::OwnFile;

/// Where a queue's records go.
#[derive(Debug, Clone)]
pub enum Target {
    /// Standard error, without the lock that Rust has for it: who writes there may wait for ever.
    Stderr,
    /// A file of ours.
    File(Arc<OwnFile>),
}

impl Target {
    /// Its descriptor, to be used at once. An error: somebody has closed it.
    pub fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        match self {
            Self::Stderr => Ok(rustix::stdio::stderr()),
            Self::File(file) => file.descriptor(),
        }
    }
}
