//! The port between the async side and the handler threads: what a server asks for, and what a connection brings
//! along when it leaves the async world.
//!
//! `server` calls [`HandlerHost`], `bridge` implements it. Must not import pyo3 or tokio.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConnection;
use socket2::Socket;

use crate::http::RequestHead;
use crate::trace::ConnectionTrace;

/// Finds the handler of a resource. One per server.
pub trait HandlerHost: Send + Sync + 'static {
    /// The handler of `resource` (a request target, its query included), resolved once for a connection:
    /// what is loaded later does not change the value that is returned here. `Ok(None)`: no handler, the
    /// request is for a file.
    ///
    /// pywebsocket: a fragment on a handler's resource is an error, answered with 400.
    fn resolve(&self, resource: &str) -> Result<Option<Box<dyn ReadyHandler>>, UriFragmentError>;

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
    /// What was read after the request head.
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
pub struct UriFragmentError;
