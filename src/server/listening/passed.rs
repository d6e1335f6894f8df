//! Sockets that others opened and passed to this process by number.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, FromRawFd as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use socket2::{SockRef, Socket, Type};

use crate::error::{PassedError, StartError};

/// A socket that was passed, and where clients reach it.
pub(super) enum Passed {
    Tcp(TcpListener, SocketAddr),
    /// Without a path where it has no name, or an abstract one.
    Unix(UnixListener, Option<PathBuf>),
}

/// Takes over the socket `fd`, if it listens.
pub(super) fn take_over(fd: i32) -> Result<Passed, StartError> {
    let take_over = || {
        let socket = listening_socket(fd)?;
        let address = socket.local_addr()?;
        if let Some(address) = address.as_socket() {
            Ok(Passed::Tcp(socket.into(), address))
        } else if address.is_unix() {
            Ok(Passed::Unix(socket.into(), address.as_pathname().map(Into::into)))
        } else {
            Err(PassedError::OtherFamily)
        }
    };
    take_over().map_err(|problem| StartError::Descriptor { fd, problem })
}

/// The socket `fd`, which was passed to this process, if it listens.
fn listening_socket(fd: i32) -> Result<Socket, PassedError> {
    check_listening(fd)?;
    // SAFETY: it is open, and who passed it by number has given it away. `check_passed` has found it open before the
    // server opened anything, so the number is none of ours; and a command line names it once.
    Ok(unsafe { Socket::from_raw_fd(fd) })
}

/// Whether `fds` are sockets that listen, to be asked before the server opens anything: a number that is open
/// only later is one of our own.
pub fn check_passed(fds: &[i32]) -> Result<(), StartError> {
    for &fd in fds {
        check_listening(fd).map_err(|problem| StartError::Descriptor { fd, problem })?;
    }
    Ok(())
}

/// Whether `fd` is a socket that listens. Makes it one that does not block and that programs do not get.
fn check_listening(fd: i32) -> Result<(), PassedError> {
    // SAFETY: `fcntl` touches no memory; a descriptor that is not open is an error.
    if fd < 0 || unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(PassedError::NotOpen);
    }
    // SAFETY: it is open, and whoever passed it by number gave it to us.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let socket = SockRef::from(&borrowed);
    match (socket.r#type(), socket.is_listener()) {
        (Ok(Type::STREAM), Ok(true)) => {}
        (Err(_), _) => return Err(PassedError::NoSocket),
        _ => return Err(PassedError::NotListening),
    }
    Ok(socket.set_nonblocking(true)?)
}
