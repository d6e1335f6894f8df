//! One connection: request after request for files, until it ends or a handler takes it over.
//!
//! Must not import `bridge` or pyo3.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::access_log::{log_refusal, log_request};
use super::script::Scripts;
use super::stream::{Socket, Stream};
use super::tls::{AcceptError, Tls};
use crate::config::{LINGER_AT_STOP, LINGER_BYTES, LINGER_TIME, PolicyConfig};
use crate::handlers::{HandlerConnection, HandlerHost, ReadyHandler};
use crate::http::error_page::{error_page, python_repr};
use crate::http::files::Files;
use crate::http::head::{HeadError, HeadParser, RequestHead};
use crate::http::policy::{PolicyError, PolicySource, unauthorized};
use crate::logging::{LOG_REQUEST, LOG_SERVER};
use crate::patience::Patient;
use crate::trace::{Opening, Trace};

/// How much room there is for one read, in bytes: more than most request heads.
const READ_SIZE: usize = 4096;
/// How much is read at once from a client that sends on after the last response.
const WASTE_SIZE: usize = 16 * 1024;

/// What a client gets that speaks HTTP where TLS is spoken.
const USE_TLS: &str = "This port speaks TLS; use https:// or wss:// instead of http:// or ws://";

/// What all connections share.
pub(super) struct Context {
    /// The files that are served where there is no handler.
    pub(super) files: Files,
    /// The server's name and port as configured.
    pub(super) local: (String, u16),
    /// TLS, if that is what clients speak here.
    pub(super) tls: Option<Arc<Tls>>,
    /// How long a client may take for a request head, and for a TLS handshake.
    pub(super) head_timeout: Duration,
    /// How long a client may take nothing of a response.
    pub(super) write_timeout: Duration,
    /// Where the connections of handlers are recorded.
    pub(super) trace: Option<Arc<Trace>>,
    /// The handlers.
    pub(super) host: Arc<dyn HandlerHost>,
    /// The CGI scripts.
    pub(super) scripts: Scripts,
    /// What is demanded of each request.
    pub(super) policy: Arc<dyn PolicySource>,
    /// Cancelled when the server stops.
    pub(super) stop: CancellationToken,
}

/// Serves `socket` until it is closed or a handler has it.
pub(super) async fn serve(context: Arc<Context>, socket: Socket, peer: SocketAddr) {
    if let Err(error) = serve_fallibly(context, socket, peer).await {
        tracing::debug!(target: LOG_REQUEST, "Connection of {peer} ended: {error}");
    }
}

async fn serve_fallibly(context: Arc<Context>, socket: Socket, peer: SocketAddr) -> io::Result<()> {
    let connect =
        |socket| Connection { context: Arc::clone(&context), socket, peer, input: BytesMut::new(), skip: 0 };
    let socket = Patient::new(socket, context.write_timeout);
    let Some(tls) = &context.tls else {
        return connect(Stream::Plain(socket)).run().await;
    };
    let handshake = timeout(context.head_timeout, tls.accept(socket));
    match context.stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => connect(stream).run().await,
        Some(Ok(Err(AcceptError::Http(socket)))) => {
            tracing::warn!(target: LOG_REQUEST, "{}: a request without TLS", peer.ip());
            connect(Stream::Plain(socket)).end_with(&error_page(400, None, Some(USE_TLS), false)).await
        }
        Some(Ok(Err(AcceptError::Io(error, socket)))) => {
            tracing::info!(target: LOG_REQUEST, "{}: no TLS handshake: {error}", peer.ip());
            if let Some(socket) = socket {
                linger(socket, context.stop.clone()).await;
            }
            Ok(())
        }
        Some(Err(_)) => {
            tracing::info!(target: LOG_REQUEST, "{}: no TLS handshake within {:?}", peer.ip(), context.head_timeout);
            Ok(())
        }
        None => Ok(()),
    }
}

pub(super) struct Connection {
    pub(super) context: Arc<Context>,
    pub(super) socket: Stream,
    pub(super) peer: SocketAddr,
    /// What was received and not used yet.
    pub(super) input: BytesMut,
    /// How many bytes of the last request's body come before the next head.
    pub(super) skip: usize,
}

/// What comes next on a connection.
enum Next {
    Request(RequestHead),
    /// These bytes, and then the end; none: the end.
    End(Vec<u8>),
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        let stop = self.context.stop.clone();
        loop {
            let mut head = match self.next().await? {
                Next::Request(head) => head,
                // A stop, and nothing is under way.
                Next::End(response) if response.is_empty() && self.is_idle() && stop.is_cancelled() => {
                    return Ok(());
                }
                Next::End(response) if response.is_empty() => return self.linger().await,
                Next::End(response) => return self.end_with(&response).await,
            };
            let policy = match self.policy().await {
                Ok(policy) => policy,
                Err(error) => {
                    self.log_failure(&error);
                    return self.linger().await;
                }
            };
            if !policy.authorizes(head.header("Authorization")) {
                log_request(&head.request_line(), 401);
                tracing::info!(target: LOG_REQUEST, "Request basic authentication");
                return self.end_with(&unauthorized(&head.protocol)).await;
            }
            let reason = match policy.resource(&head.target) {
                Err(reason) => reason,
                Ok(resource) => {
                    let resolved = self.context.host.resolve(&resource);
                    head.target = resource;
                    match resolved {
                        Ok(Some(ready)) => return self.hand_over(ready, head),
                        Ok(None) => format!("No handler for resource: {}", python_repr(&head.target)),
                        Err(error) => {
                            tracing::info!(target: LOG_REQUEST, "Dispatch failed for error: {error}");
                            let page = self.refusal(&head, 400, None);
                            return self.end_with(&page).await;
                        }
                    }
                }
            };
            tracing::info!(target: LOG_REQUEST, "{reason}");
            // pywebsocket's words for files and CGI scripts.
            tracing::info!(target: LOG_REQUEST, "Fallback to CGIHTTPRequestHandler");
            match self.answer(head).await {
                Ok(true) => {}
                Ok(false) => return self.linger().await,
                Err(error) => {
                    self.linger().await?;
                    return Err(error);
                }
            }
        }
    }

    /// Whether the client has sent nothing that is not answered.
    fn is_idle(&self) -> bool {
        self.skip == 0 && self.input.is_empty()
    }

    /// Logs, in pywebsocket's words, that this request cannot be answered.
    pub(super) fn log_failure(&self, error: &dyn std::error::Error) {
        tracing::error!(target: LOG_SERVER, "Exception in processing request from {}: {error}", self.peer);
    }

    /// What is demanded of the request that just came.
    async fn policy(&self) -> Result<PolicyConfig, PolicyError> {
        if !self.context.policy.may_wait() {
            return self.context.policy.policy();
        }
        let source = Arc::clone(&self.context.policy);
        let asked = tokio::task::spawn_blocking(move || source.policy()).await;
        asked.unwrap_or_else(|error| Err(PolicyError(error.to_string())))
    }

    /// Waits for a request, for the time limit, or for the server's stop.
    async fn next(&mut self) -> io::Result<Next> {
        let stop = self.context.stop.clone();
        let limit = self.context.head_timeout;
        match stop.run_until_cancelled(timeout(limit, self.read_head())).await {
            None => Ok(Next::End(Vec::new())),
            Some(Err(_)) if self.input.is_empty() => Ok(Next::End(Vec::new())),
            Some(Err(_)) => {
                tracing::info!(target: LOG_REQUEST, "{}: no whole request within {limit:?}", self.peer.ip());
                Ok(Next::End(error_page(408, None, None, false)))
            }
            Some(Ok(next)) => next,
        }
    }

    async fn read_head(&mut self) -> io::Result<Next> {
        while self.skip > self.input.len() {
            self.skip -= self.input.len();
            self.input.clear();
            if self.receive().await? == 0 {
                return Ok(Next::End(Vec::new()));
            }
        }
        self.input.advance(std::mem::take(&mut self.skip));
        let mut parser = HeadParser::default();
        let mut at_eof = false;
        loop {
            match parser.parse(&mut self.input, at_eof) {
                Ok(Some(head)) => return Ok(Next::Request(head)),
                // At EOF, with nothing to search, there is no head to wait for.
                Ok(None) => at_eof = self.receive().await? == 0,
                Err(HeadError::Empty) => return Ok(Next::End(Vec::new())),
                Err(HeadError::Rejected(rejection)) => {
                    let reason = rejection.message.as_deref();
                    log_refusal(self.peer, &rejection.request_line, rejection.status, reason);
                    return Ok(Next::End(rejection.response()));
                }
            }
        }
    }

    /// Reads once. 0: the client closed its side.
    async fn receive(&mut self) -> io::Result<usize> {
        self.input.reserve(READ_SIZE);
        self.socket.read_buf(&mut self.input).await
    }

    /// Gives the connection to a handler.
    fn hand_over(self, ready: Box<dyn ReadyHandler>, head: RequestHead) -> io::Result<()> {
        let is_https = self.socket.is_tls();
        let transport = self.socket.into_transport()?;
        let resource = head.target.clone();
        let local = &self.context.local;
        let trace = self.context.trace.as_ref().map(|trace| {
            let opening = Opening { peer: self.peer, local, tls: is_https, resource: &resource };
            let trace = trace.connection(&opening);
            trace.received(&head.raw);
            trace.received(&self.input);
            trace
        });
        let started = ready.start(HandlerConnection {
            transport,
            unread: self.input.freeze(),
            head,
            peer: self.peer,
            local: local.clone(),
            is_https,
            trace,
        });
        if let Err(error) = started {
            tracing::error!(target: LOG_REQUEST, "Cannot start a handler thread for {resource:?}: {error}");
        }
        Ok(())
    }

    /// Writes a last response and closes the connection.
    async fn end_with(mut self, response: &[u8]) -> io::Result<()> {
        self.socket.write_all(response).await?;
        self.linger().await
    }

    /// Closes our side, and reads on for a while so that the client can read the last response.
    async fn linger(self) -> io::Result<()> {
        drop(self.input);
        linger(self.socket, self.context.stop.clone()).await;
        Ok(())
    }
}

/// Closes our side of `socket`, and reads on within the limits until the client closes its own. A stop makes it short.
async fn linger(socket: impl AsyncRead + AsyncWrite, stop: CancellationToken) {
    let (mut reader, mut writer) = tokio::io::split(socket);
    // What TLS has to say at the end may have to wait for a client that sends all it has before it reads.
    let shut = async {
        // Out of TLS or not: a client that is gone does not wait for it.
        let _ = writer.shutdown().await;
    };
    let drain = async {
        let mut waste = Vec::with_capacity(WASTE_SIZE);
        let mut left = LINGER_BYTES;
        while left > 0 {
            waste.clear();
            match reader.read_buf(&mut waste).await {
                Ok(0) | Err(_) => break,
                Ok(count) => left = left.saturating_sub(count as u64),
            }
        }
    };
    let stopped = async {
        stop.cancelled().await;
        sleep(LINGER_AT_STOP).await;
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(shut, drain) } => {}
        () = stopped => {}
        () = sleep(LINGER_TIME) => {}
    }
}
