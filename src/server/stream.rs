//! What a connection's bytes go over before a handler has it: TCP or a Unix socket, with TLS or without.
//!
//! Must not import `bridge` or pyo3.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::handover::Transport;
use crate::patience::Patient;

/// A socket that was accepted.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Waits for the first byte, without taking it. `None`: the client closed its side.
    pub(super) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut byte = [MaybeUninit::uninit()];
        let count = match self {
            Self::Tcp(socket) => {
                socket.async_io(Interest::READABLE, || SockRef::from(socket).peek(&mut byte)).await?
            }
            Self::Unix(socket) => {
                socket.async_io(Interest::READABLE, || SockRef::from(socket).peek(&mut byte)).await?
            }
        };
        // SAFETY: `peek` has written as many bytes as it says.
        Ok((count == 1).then(|| unsafe { byte[0].assume_init() }))
    }

    /// The same in blocking mode, for a handler without TLS.
    fn into_transport(self) -> io::Result<Transport> {
        Ok(match self {
            Self::Tcp(socket) => {
                let socket = socket.into_std()?;
                socket.set_nonblocking(false)?;
                Transport::Tcp(socket)
            }
            Self::Unix(socket) => {
                let socket = socket.into_std()?;
                socket.set_nonblocking(false)?;
                Transport::Unix(socket)
            }
        })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A socket, with TLS or without. Its peer has a time limit to take what is written; a handler's has none.
pub(super) enum Stream {
    Plain(Patient<Socket>),
    Tls(Box<TlsStream<Patient<Socket>>>),
}

impl Stream {
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The same in blocking mode, for a handler.
    pub(super) fn into_transport(self) -> io::Result<Transport> {
        match self {
            Self::Plain(socket) => socket.into_inner().into_transport(),
            Self::Tls(stream) => {
                let (socket, session) = stream.into_inner();
                let socket = match socket.into_inner().into_transport()? {
                    Transport::Tcp(socket) => socket.into(),
                    Transport::Unix(socket) => socket.into(),
                    Transport::Tls(socket, _) => socket,
                };
                Ok(Transport::Tls(socket, Box::new(session)))
            }
        }
    }
}

/// Passes the methods of `AsyncRead` and `AsyncWrite` on to what is inside the variants.
macro_rules! forward {
    ($name:ident: $($variant:ident),+) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_read(context, buffer),)+
                }
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                data: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_write(context, data),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                parts: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_write_vectored(context, parts),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $(Self::$variant(inner) => inner.is_write_vectored(),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_flush(context),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant(inner) => Pin::new(inner).poll_shutdown(context),)+
                }
            }
        }
    };
}

forward!(Socket: Tcp, Unix);
forward!(Stream: Plain, Tls);
