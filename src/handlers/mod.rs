//! Handlers as the server sees them: which file serves which resource, and who runs it.
//!
//! No pyo3 here. `bridge` implements [`HandlerHost`] (run a connection) and [`Loader`] (make a suite from a
//! file); `server` calls the first, [`registry`] the second.

mod files;
mod helpers;
pub mod history;
pub mod map_file;
pub mod registry;
pub mod reload;
pub mod resource;
mod slow_loads;
pub mod snapshot;
pub mod status;
mod tasks;
#[cfg(test)]
mod testing;
pub mod traffic;
pub mod usage;
pub mod watcher;
mod watches;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConnection;
use socket2::Socket;

use crate::http::RequestHead;
use crate::trace::ConnectionTrace;

/// Makes what all processes share and what is made when it is first asked for: a child that is forked meanwhile would
/// wait for it for ever.
pub(crate) fn prepare_for_forks() {
    LazyLock::force(&traffic::EPOCH);
}

/// Gives this process, a forked child, its own of what each process has one of.
pub(crate) fn renew_after_fork() {
    history::HISTORY.renew();
}

/// Finds the handler of a resource. One per server.
pub trait HandlerHost: Send + Sync + 'static {
    /// The handler of `resource` (a request target, its query included), resolved once for a connection:
    /// what is loaded later does not change the value that is returned here. `Ok(None)`: no handler, the
    /// request is for a file.
    ///
    /// pywebsocket: a fragment on a handler's resource is an error, answered with 400.
    fn resolve(&self, resource: &str) -> Result<Option<Box<dyn ReadyHandler>>, FragmentError>;

    /// Ends the connections that handlers have, because the process is about to end: close frames with 1001
    /// first, the sockets are shut after `grace`. Blocks until the handlers are done, or do not end.
    fn close_connections(&self, grace: Duration);
}

/// A handler that waits for its connection.
pub trait ReadyHandler: Send {
    /// Takes the connection over, on a thread of its own, and returns at once. The socket is closed by the
    /// time the handler is done. An error: no thread could be had; the connection is dropped.
    fn start(self: Box<Self>, connection: HandlerConnection) -> io::Result<()>;
}

/// A connection at the moment when it leaves the async world.
#[derive(Debug)]
pub struct HandlerConnection {
    /// What the bytes go over.
    pub transport: Transport,
    /// What was read behind the request head.
    pub unread: Bytes,
    /// The request head, its target reduced to a resource (`ws://host/a` → `/a`).
    pub head: RequestHead,
    /// The client's address. A client of a Unix socket has none and gets 127.0.0.1, port 0: handlers index it.
    pub peer: SocketAddr,
    /// The server's name and port as configured (pywebsocket: `connection.local_addr`).
    pub local: (String, u16),
    /// Whether the client came over TLS.
    pub is_https: bool,
    /// Records the bytes, if that is wanted; those of `head` and `unread` are recorded already.
    pub trace: Option<ConnectionTrace>,
}

/// What a connection's bytes go over. Every socket is in blocking mode.
#[derive(Debug)]
pub enum Transport {
    /// TCP, without Nagle's delay (`TCP_NODELAY`).
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS on either, its handshake done. Bytes may be waiting in it.
    Tls(Socket, Box<ServerConnection>),
}

/// A request for a handler's resource had a fragment (RFC 6455 section 3: it must not).
#[derive(Debug, thiserror::Error)]
#[error("Fragment identifiers MUST NOT be used on WebSocket URIs")]
pub struct FragmentError;

/// Makes a suite (the three functions of a handler file) from a file.
///
/// No file is loaded by two threads at once; two files may be, when one of them takes long.
pub trait Loader: Send + Sync + 'static {
    /// What a loaded file gives.
    type Suite: Send + Sync + 'static;
    /// What [`renew`](Self::renew) has begun. Dropped when the files that need the helpers have been loaded.
    type Renewal: Send + Sync + 'static;

    /// Runs the file `path`. May block for as long as the file's imports do.
    fn load(&self, path: &Path) -> Loaded<Self::Suite>;

    /// Makes the next loads import the helper modules in `changed` anew, and those that import them. What is
    /// loaded already keeps what it has. May block as [`load`](Self::load) does.
    fn renew(&self, changed: &[PathBuf]) -> Self::Renewal;

    /// The file `path` is gone: nothing will ask for its suite any more.
    fn forget(&self, path: &Path);
}

/// The outcome of a load.
#[derive(Debug)]
pub struct Loaded<S> {
    /// What the file gives.
    pub suite: Result<S, LoadError>,
    /// The local files that it imports, directly or through others, sorted; after a failure also those that
    /// it looked for in vain.
    pub depends_on: Vec<PathBuf>,
}

/// Why a handler file gave no suite. Never fatal: the resource keeps its last good version or stays away.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    /// What went wrong and what to do, in one line, without the path.
    pub message: String,
    /// Python's traceback, with the real file name and line, when code of the file ran.
    pub traceback: Option<String>,
}
