//! `wshost probe`: opens a connection as any client would, with a WebSocket library that is not ours.
//!
//! Must not import anything but `cli`, `error`, `logging` and `replay`, whose trust in certificates it shares.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_util::StreamExt as _;
use http::HeaderValue;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::cli::ProbeOptions;
use crate::error::StartError;
use crate::logging;
use crate::replay::client_config;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("{0}; is the server running?")]
    Unreachable(io::Error),
    #[error("no TLS: {0}")]
    Tls(io::Error),
    #[error("refused with {0}")]
    Refused(http::StatusCode),
    #[error("{0}")]
    Protocol(tungstenite::Error),
    #[error("no answer within {0} s; --timeout SECONDS waits longer")]
    Silent(f64),
}

impl From<tungstenite::Error> for ProbeError {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(response) => Self::Refused(response.status()),
            other => Self::Protocol(other),
        }
    }
}

/// Opens the connection, says how that went, and closes it; `false`: there was none.
pub fn run(options: &ProbeOptions) -> Result<bool, StartError> {
    let tls = options.server.tls.as_ref().map(client_config).transpose()?.map(TlsConnector::from);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(StartError::Runtime)?;
    let probed = runtime.block_on(async {
        let probe = timeout(options.timeout, probe(options, tls));
        probe.await.unwrap_or(Err(ProbeError::Silent(options.timeout.as_secs_f64())))
    });
    let url = &options.url;
    match probed {
        // A reader that has seen enough is no failure.
        Ok(told) => drop(writeln!(io::stdout(), "{url}: {told}")),
        Err(error) => {
            logging::tell(&format!("wshost: {url}: {error}"));
            return Ok(false);
        }
    }
    Ok(true)
}

async fn probe(options: &ProbeOptions, tls: Option<TlsConnector>) -> Result<String, ProbeError> {
    let (host, port) = (options.server.host.as_str(), options.server.port);
    let begun = Instant::now();
    let socket = TcpStream::connect((host, port)).await.map_err(ProbeError::Unreachable)?;
    let request = request(options)?;
    match tls {
        None => open(request, socket, begun).await,
        Some(tls) => {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|error| ProbeError::Tls(io::Error::other(error)))?;
            let stream = tls.connect(name, socket).await.map_err(ProbeError::Tls)?;
            open(request, stream, begun).await
        }
    }
}

fn request(options: &ProbeOptions) -> Result<Request, ProbeError> {
    let mut request = options.url.as_str().into_client_request()?;
    if !options.protocols.is_empty() {
        let offered = HeaderValue::from_str(&options.protocols.join(", "));
        let offered = offered.map_err(|error| ProbeError::Protocol(http::Error::from(error).into()))?;
        request.headers_mut().insert("Sec-WebSocket-Protocol", offered);
    }
    Ok(request)
}

/// The handshakes; what there is to tell of them.
async fn open<S>(request: Request, stream: S, begun: Instant) -> Result<String, ProbeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut socket, response) = client_async(request, Modern { stream, seen: 0 }).await?;
    let took = begun.elapsed().as_secs_f64() * 1000.0;
    let protocol = response.headers().get("Sec-WebSocket-Protocol").and_then(|name| name.to_str().ok());
    let protocol = protocol.map_or_else(String::new, |name| format!(", subprotocol {name}"));
    let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    socket.close(Some(frame)).await?;
    // What the handler says first is not asked for. An end without a close frame is one, too.
    while let Some(Ok(_)) = socket.next().await {}
    Ok(format!("open after {took:.1} ms{protocol}; closed"))
}

/// A stream whose answer to the opening handshake is HTTP/1.1: pywebsocket's refusals are HTTP/1.0, which the library
/// does not read.
struct Modern<S> {
    stream: S,
    /// How many bytes of the status line were read, up to [`VERSION`].
    seen: usize,
}

/// What a status line begins with, up to the digit that is changed.
const VERSION: &[u8] = b"HTTP/1.0";

impl<S: AsyncRead + Unpin> AsyncRead for Modern<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let last = VERSION.len() - 1;
        for byte in &mut buffer.filled_mut()[before..] {
            if self.seen == last && *byte == VERSION[last] {
                *byte = b'1';
            }
            if self.seen > last {
                break;
            }
            self.seen += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Modern<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
