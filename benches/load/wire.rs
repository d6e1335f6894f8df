//! Connections of the load generator: the opening handshake, and frames as the bytes that they are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wshost::cli::Trust;
use wshost::replay::client_config;
use wshost::websocket::frame::{FrameHeader, opcode};
use wshost::websocket::mask::apply_mask;

use crate::{Failure, Target};

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A socket, plain or TLS.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    async fn connect(target: &Target) -> Result<Self, Failure> {
        let socket = TcpStream::connect(("127.0.0.1", target.port)).await?;
        socket.set_nodelay(true)?;
        if !target.tls {
            return Ok(Self::Plain(socket));
        }
        let config = client_config(&Trust::Anybody)?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        Ok(Self::Tls(Box::new(stream)))
    }

    /// Connects and shakes hands. A response's bytes behind the head would be a server's first frames; there are none.
    pub async fn open(target: &Target, deflate: bool) -> Result<Self, Failure> {
        let mut stream = Self::connect(target).await?;
        let extension = if deflate {
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
        } else {
            ""
        };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extension}\r\n",
            target.resource, target.port
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::with_capacity(512);
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut head).await? == 0 {
                return Err("the server closed the connection in the opening handshake".into());
            }
        }
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if !text.starts_with("http/1.1 101 ") {
            return Err(format!("no 101: {text}").into());
        }
        if deflate && !text.contains("permessage-deflate") {
            return Err("the server does not speak permessage-deflate".into());
        }
        Ok(stream)
    }

    /// Reads exactly these bytes.
    pub async fn expect(&mut self, expected: &[u8]) -> Result<(), Failure> {
        let mut got = vec![0; expected.len()];
        self.read_exact(&mut got).await?;
        if got == expected { Ok(()) } else { Err("wrong echo".into()) }
    }

    /// The closing handshake, and the end of the stream.
    pub async fn close(&mut self) -> Result<(), Failure> {
        self.write_all(&masked(opcode::CLOSE, false, &1000_u16.to_be_bytes())).await?;
        let mut answer = Vec::with_capacity(64);
        while self.read_buf(&mut answer).await? > 0 {}
        if answer.first() == Some(&(0x80 | opcode::CLOSE)) { Ok(()) } else { Err("no close frame".into()) }
    }
}

fn header(opcode: u8, rsv1: bool, mask: Option<[u8; 4]>, length: usize) -> Vec<u8> {
    let header = FrameHeader {
        fin: true,
        rsv1,
        rsv2: false,
        rsv3: false,
        opcode,
        mask,
        payload_length: length as u64,
        minimal_length: true,
    };
    header.encode().to_vec()
}

/// A frame as a client sends it.
pub fn masked(opcode: u8, rsv1: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, rsv1, Some(KEY), payload.len());
    let start = frame.len();
    frame.extend_from_slice(payload);
    apply_mask(&mut frame[start..], KEY, 0);
    frame
}

/// A frame as a server sends it.
pub fn plain(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, false, None, payload.len());
    frame.extend_from_slice(payload);
    frame
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => match Pin::new(stream).poll_read(context, buffer) {
                // Python's servers end TLS connections without a close_notify.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Poll::Ready(Ok(()))
                }
                other => other,
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, data),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, data),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
