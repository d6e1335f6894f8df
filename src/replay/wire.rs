//! A connection to the server, TCP or TLS on it, that never waits: reads and writes are told when they can go on.
//!
//! Must not import anything but `cli` and `error`.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::error::ConnectError;
use super::trust::client_config;
use crate::cli::ServerUrl;
use crate::error::StartError;

/// Where to connect to, and how.
pub(super) struct Target {
    url: ServerUrl,
    tls: Option<Arc<ClientConfig>>,
    limit: Duration,
}

impl Target {
    /// Reads the certificates. `limit`: how long connecting may take.
    pub(super) fn new(url: ServerUrl, limit: Duration) -> Result<Self, StartError> {
        let tls = url.tls.as_ref().map(client_config).transpose()?;
        Ok(Self { url, tls, limit })
    }

    /// A new connection, past the TLS handshake. An error says what to do.
    pub(super) fn connect(&self) -> Result<Wire, ConnectError> {
        let ServerUrl { host, port, .. } = &self.url;
        let (host, port) = (host.clone(), *port);
        let socket = match self.reach() {
            Ok(socket) => socket,
            Err(source) => return Err(ConnectError::Unreachable { host, port, source }),
        };
        self.speak(socket).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => ConnectError::Silent { host, port, limit: self.limit },
            _ => ConnectError::NoTls { host, port, source },
        })
    }

    fn speak(&self, socket: TcpStream) -> io::Result<Wire> {
        let session = self.tls.as_ref().map(|config| self.shake_hands(&socket, config)).transpose()?;
        socket.set_nonblocking(true)?;
        Ok(Wire { socket, session })
    }

    /// A socket with the first of the host's addresses that answers.
    fn reach(&self) -> io::Result<TcpStream> {
        let mut failure = io::Error::other("the name has no address");
        for address in (self.url.host.as_str(), self.url.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, self.limit) {
                Ok(socket) => {
                    socket.set_nodelay(true)?;
                    return Ok(socket);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    fn shake_hands(
        &self,
        mut socket: &TcpStream,
        config: &Arc<ClientConfig>,
    ) -> io::Result<Box<ClientConnection>> {
        socket.set_read_timeout(Some(self.limit))?;
        socket.set_write_timeout(Some(self.limit))?;
        let name = ServerName::try_from(self.url.host.clone()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Box::new(session))
    }
}

/// A connection. What would have to wait is [`io::ErrorKind::WouldBlock`].
pub(super) struct Wire {
    socket: TcpStream,
    session: Option<Box<ClientConnection>>,
}

impl Wire {
    /// One read; 0 at the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.socket.read(buffer) };
        loop {
            match session.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // As wshost, takes the end of the connection for the end of the stream.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                result => return result,
            }
            session.read_tls(&mut self.socket)?;
            session
                .process_new_packets()
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// One write: how much of `bytes` was taken.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.write(bytes),
            // Bounded by rustls's own limit; 0 when that is reached.
            Some(session) => session.writer().write(bytes),
        }
    }

    /// Sends on what `write` has taken.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(session) = &mut self.session else { return Ok(()) };
        while session.wants_write() {
            session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// Whether `flush` has something to do.
    pub(super) fn wants_flush(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.wants_write())
    }

    /// No more sending.
    pub(super) fn close(&mut self) {
        if let Some(session) = &mut self.session {
            session.send_close_notify();
        }
        // A server that is gone is no error here, and one that takes nothing sees the end without being told.
        let _ = self.flush();
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// What to wait on.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
