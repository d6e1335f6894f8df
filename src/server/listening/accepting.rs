//! The connections of a socket that listens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::descriptors;
use crate::logging::LOG_SERVER;
use crate::server::stream::Socket;

/// A socket that listens, in a tokio runtime.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// The next connection. It has none of the numbers 0, 1 and 2, whatever a handler has closed: what is printed would
    /// go to the client. A client of a Unix socket has no address and gets 127.0.0.1, port 0: handlers expect
    /// one.
    pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(listener) => {
                let (mut socket, peer) = listener.accept().await?;
                if descriptors::is_standard(&socket) {
                    let fd = descriptors::above_standard(socket.into_std()?.into())?;
                    socket = TcpStream::from_std(fd.into())?;
                }
                disable_delay(&socket);
                Ok((Socket::Tcp(socket), peer))
            }
            Self::Unix(listener) => {
                let (mut socket, _) = listener.accept().await?;
                if descriptors::is_standard(&socket) {
                    let fd = descriptors::above_standard(socket.into_std()?.into())?;
                    socket = UnixStream::from_std(fd.into())?;
                }
                Ok((Socket::Unix(socket), SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)))
            }
        }
    }
}

/// Without Nagle's delay, which would hold back small frames. An error means that the peer is gone, and shows
/// up at the next read.
fn disable_delay(socket: &TcpStream) {
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(target: LOG_SERVER, "Cannot set TCP_NODELAY: {error}");
    }
}
