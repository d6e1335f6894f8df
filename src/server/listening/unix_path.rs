//! A Unix socket, and the file that clients reach it by.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use crate::error::StartError;
use crate::per_process::Process;

/// A file that is removed when this is dropped, but not by a child that was forked: it is its parent's.
#[derive(Debug)]
pub struct RemovedAtEnd(PathBuf, Process);

impl Drop for RemovedAtEnd {
    fn drop(&mut self) {
        if self.1.is_this() {
            // It may be gone already.
            let _ = fs::remove_file(&self.0);
        }
    }
}

/// Listens on a path. What an earlier server left there is replaced, if nobody listens on it.
pub(super) fn bind(path: &Path, backlog: i32) -> Result<(UnixListener, RemovedAtEnd), StartError> {
    let fail = |source: io::Error| {
        let hint = match source.kind() {
            io::ErrorKind::AddrInUse => {
                "stop the server that uses it, remove the file, or choose another path"
            }
            _ => "choose another path with --unix",
        };
        StartError::Listen { address: path.display().to_string(), source, hint }
    };
    let is_stale = || {
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
            && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_stale() {
        fs::remove_file(path).map_err(fail)?;
    }
    let bind = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let guard = RemovedAtEnd(path.to_owned(), Process::this());
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok((UnixListener::from(socket), guard))
    };
    bind().map_err(fail)
}
